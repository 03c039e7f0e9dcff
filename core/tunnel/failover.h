/* failover.h: section [failover]: when a second tunnel serves in the first one's stead. Main thread. */
#ifndef CV_TUNNEL_FAILOVER_H
#define CV_TUNNEL_FAILOVER_H
#include "loop/loop.h"

/* options.c says what each is for. */
struct failover_conf {
    struct cv_secret token;
    const char *token_file;
    struct cv_list edge;
    int mode; /* enum failover_mode */
    struct cv_ms after, back;
    bool overlap;
};
enum failover_mode { FAILOVER_STANDBY, FAILOVER_HOT };
extern const struct cv_option failover_options[];
enum cv_error failover_check(const void *conf, struct cv_err *);
/* Whether it names a second tunnel at all. */
bool failover_given(const struct failover_conf *);

/* The decision alone, with a clock that is given. */
struct failover {
    bool up; /* the first has a registered connection */
    bool ever_up;
    bool taken;    /* the second serves in its stead */
    int64_t since; /* `up` is what it is */
};
void failover_begin(struct failover *, int64_t now); /* the first begins to connect */
/* What is so now. True: `taken` has changed. */
bool failover_look(struct failover *, const struct failover_conf *, bool up, int64_t now);
int64_t failover_next(const struct failover *,
                      const struct failover_conf *); /* look then; INT64_MAX: no need */
/* The second is to be connected; while it is, it is to leave what the first serves to it. */
bool failover_wants_second(const struct failover *, const struct failover_conf *);
bool failover_yields(const struct failover *, const struct failover_conf *);

extern const char *const tunnel_names[TUNNELS]; /* "first", "second" */
/* As log_line(); what is about the second tunnel says so. fields may be NULL. */
void log_tunnel(enum tunnel_id, enum cv_level, const struct cv_fields *, const char *text);

#endif
