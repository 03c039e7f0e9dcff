/* orchestrator.h: the configuration of each tunnel: which version is in force, and how a new one gets to the workers
 * (docs/protocol.md §16.1). Where no tunnel is named, the first is meant. Main thread. */
#ifndef CV_TUNNEL_ORCHESTRATOR_H
#define CV_TUNNEL_ORCHESTRATOR_H

#include "request/config.h"
#include "request/request.h"

struct config_outcome {
    int32_t applied;     /* the version in force now */
    struct cv_str error; /* empty: accepted, or not newer. Borrowed for the call */
};
/* NULL: the process ends first; only free `arg`. */
typedef void config_done_fn(void *arg, const struct config_outcome *);

/* workers is borrowed until orchestrator_free(). */
void orchestrator_setup(struct cv_worker *main, struct cv_worker *const *workers, size_t n_workers);
/* Rules in force until the edge sends some: all requests to one service, or a document of docs/protocol.md §16.2. */
struct tunnel_setting;
enum cv_error orchestrator_local_service(const char *url, const struct tunnel_setting *, size_t n,
                                         struct cv_err *);
enum cv_error orchestrator_local_file(const char *name, struct cv_err *);
/* There is a second tunnel: those rules are in force for it too until its edge sends some. */
void orchestrator_add_second(void);
/* From now on what is applied is kept in that file (last_config.h); what an earlier process kept there is in force at
 * once, as if the edge had sent it. No file yet: CV_OK. An error says why what is there is of no use. */
enum cv_error orchestrator_keep(const char *file, struct cv_err *);
/* Hands the rules in force to the workers; of both tunnels, as all that follows. */
void orchestrator_publish(void);
/* The local settings (request/local.h) have changed: the document in force is read again and handed out. A rule that they
 * refuse now is barred, the others serve on. */
void orchestrator_reread(void);
/* Updates wait for one another; done comes when every worker has the new rules, or at once when the update is refused
 * or old. */
void orchestrator_update(enum tunnel_id, int32_t version, struct cv_str config, config_done_fn *done,
                         void *arg);
int32_t orchestrator_version(void); /* -1: none came yet */
bool orchestrator_has_rules(void); /* of either, from the edge, or local ones: not only the 503 before them */
/* What updateLocalConfiguration tells the edge (docs/protocol.md §16.6), with flags by name. free() it. */
char *orchestrator_local_json(const struct tunnel_setting *flags, size_t n);
void orchestrator_free(void);

#endif
