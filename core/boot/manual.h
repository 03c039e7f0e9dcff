/* manual.h: what the pages of the manual share: a walk over every section there is. */
#ifndef BOOT_MANUAL_H
#define BOOT_MANUAL_H
#include "boot/boot.h"

struct manual {
    FILE *out;
    struct loader loader;
    /* m: NULL for a section of the core */
    void (*section)(FILE *, const struct core_section *, const struct cv_module *m);
    int status; /* exit status: 1 if some module cannot be loaded */
};
/* Prints head, then calls section for the core's sections (if there is a head), the modules that are on by default and
 * all others that are found. Returns the exit status. */
int manual_print(struct manual *, const struct command *, const char *head);
bool manual_is_default(const char *module);
/* The default as the ini would say it. */
const char *manual_default(const struct cv_option *);

#endif
