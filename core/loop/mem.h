/* mem.h: moved to culvert/mem.h. */
#include "culvert/mem.h"
