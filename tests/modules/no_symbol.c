/* no_symbol.c: a module that exports nothing. */
#include "culvert/culvert.h"

__attribute__((visibility("default"))) const int cv_module_of_another = 1;
