/* guard.h: which cluster is this? Facts that can be had from inside a pod, and what an ini says they must be.
 *
 * Thread   Main alone. Files are small and read at once; the API server is asked on the loop. */
#ifndef GUARD_H
#define GUARD_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

enum { GUARD_EXIT, GUARD_WAIT };
enum { GUARD_ALL, GUARD_ANY };

struct guard_conf {
    const char *ca_sha256, *ca_file;
    const char *cluster_uid, *api;
    struct cv_ms api_limit;
    const char *issuer, *namespace, *token_file;
    const char *variable, *file, *file_value;
    const char *tunnel_id;
    int need, on_mismatch;
};

enum guard_fact {
    GUARD_CA,
    GUARD_UID,
    GUARD_ISSUER,
    GUARD_NAMESPACE,
    GUARD_VARIABLE,
    GUARD_FILE,
    GUARD_FACTS
};

/* What is found. text: "" when it cannot be told, then why says why. */
struct guard_found {
    char text[256];
    struct cv_err why;
};

/* ---- facts.c ----------------------------------------------------------------------------------------------- */

const char *guard_option(enum guard_fact); /* the option that says what it must be */
const char *guard_wanted(const struct guard_conf *,
                         enum guard_fact); /* "" for a fact that is not asked for */
/* All but GUARD_UID. */
void guard_find(const struct guard_conf *, enum guard_fact, struct guard_found *);
bool guard_agrees(enum guard_fact, const char *wanted, const char *found);

/* ---- uid.c: the UID of the namespace kube-system, by the service account ------------------------------------ */

struct guard_uid {
    const struct cv_self *self;
    struct cv_get *get;
    int64_t answered_at; /* by cv_now(); 0: not yet */
    struct guard_found found;
    void (*told)(struct guard_uid *); /* may be NULL */
};
/* Is found an answer, and a new one? */
bool guard_uid_fresh(const struct guard_uid *);
void guard_uid_ask(struct guard_uid *, const struct guard_conf *);
void guard_uid_stop(struct guard_uid *);

/* ---- show.c: culvert guard show ----------------------------------------------------------------------------- */

int guard_command(struct cv_self *, int argc, char **argv);

#endif
