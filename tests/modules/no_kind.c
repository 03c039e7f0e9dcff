/* no_kind.c: a module that is of none of the five kinds. */
#include "culvert/culvert.h"

CV_MODULE(no_kind, .summary = "A test.");
