/* local.h: what the operator of this process adds to the remote configuration: sections [origins] and [rewrite]. */
#ifndef REQUEST_LOCAL_H
#define REQUEST_LOCAL_H
#include "culvert/culvert.h"

struct origins_conf {
    struct cv_list allow;
    int max_active_flows; /* -1: as the document says */
};
extern const struct cv_option origins_options[];
enum cv_error origins_check(const void *conf, struct cv_err *);

struct rewrite_conf {
    struct cv_list map; /* each "service = target" */
};
extern const struct cv_option rewrite_options[];
enum cv_error rewrite_check(const void *conf, struct cv_err *);

/* Main thread; in force when it returns, for tables that are made from then on (orchestrator_reread()) and for addresses
 * that are dialled. Both have been checked and outlive their use, until the next call. */
void local_setup(const struct origins_conf *, const struct rewrite_conf *);
/* Every thread has ended the call that it was in since the last setup. */
void local_settle(void);
void local_free(void);
/* What configurations are read with; before local_setup() nothing is rewritten and nothing refused. */
struct config_local;
const struct config_local *local_config(void);
#endif
