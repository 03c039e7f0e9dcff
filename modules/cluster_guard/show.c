/* show.c: culvert guard show: the facts of the cluster one is in, as lines of an ini. */
#include "guard.h"

#include <stdio.h>
#include <string.h>

static void show(enum guard_fact fact, const struct guard_found *found)
{
    if (*found->text)
        printf("%s = %s\n", guard_option(fact), found->text);
    else
        printf("; %s: %s\n", guard_option(fact), found->why.text);
}

static void told(struct guard_uid *u)
{
    event_base_loopbreak(cv_base(u->self));
}

int guard_command(struct cv_self *self, int argc, char **argv)
{
    static const enum guard_fact by_file[] = { GUARD_CA, GUARD_ISSUER, GUARD_NAMESPACE };
    if (argc != 1 || strcmp(argv[0], "show") != 0) {
        fputs("culvert guard show prints what [cluster_guard] can ask for, as it is in this cluster.\n",
              stderr);
        return 2;
    }
    bool any = false;
    printf("[cluster_guard]\n");
    for (size_t i = 0; i < sizeof(by_file) / sizeof(by_file[0]); i++) {
        struct guard_found found;
        guard_find(self->conf, by_file[i], &found);
        show(by_file[i], &found);
        any |= *found.text != '\0';
    }
    struct guard_uid uid = { .self = self, .told = told };
    guard_uid_ask(&uid, self->conf);
    event_base_dispatch(cv_base(self));
    show(GUARD_UID, &uid.found);
    guard_uid_stop(&uid);
    return any || *uid.found.text ? 0 : 1;
}
