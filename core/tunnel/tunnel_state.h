/* tunnel_state.h: what the parts of the room share: the tunnels, and what these have in common. Main thread. */
#ifndef CV_TUNNEL_TUNNEL_STATE_H
#define CV_TUNNEL_TUNNEL_STATE_H

#include "culvert/operate.h"
#include "tunnel/conn.h"
#include "tunnel/failover.h"
#include "tunnel/network.h"
#include "tunnel/supervisor.h"
#include "tunnel/tunnel.h"

/* What there is of each tunnel. The second is there only with [failover]. */
struct twin {
    enum tunnel_id id;
    const char *token_file;
    const struct tunnel_conf *conf;  /* where its edge is */
    struct credentials *credentials, /* NULL: none that can be used */
        *old_credentials;            /* while the new ones have not proved themselves */
    struct supervisor *supervisor;
    struct discovery *discovery;
    struct token_watch *token_watch;
    struct cv_timer timer;
    bool ended;
};

extern struct tunnel_room {
    struct tunnel_setup setup;
    const struct cv_self *self; /* of the main thread */
    uint8_t client_id[16];
    char connector_id[UUID_TEXT];
    struct twin twins[TUNNELS];
    bool has_second;
    struct tunnel_conf second_conf;
    char *local_json;
    struct sockaddr_storage bind;
    const struct cv_instance *edges[SUP_PROTOCOLS]; /* NULL: not loaded or not wanted */
    struct await *await;
    struct network_watch *network_watch;
    bool announced;
    bool barred;              /* a gate said: never */
    enum cv_error no_restore; /* why last_config is of no use */
    struct cv_err restore_error;
    struct failover failover;
    bool second_on, second_yields;   /* as last ordered */
    struct cv_timer failover_timer;  /* fire is NULL before the first begins to connect */
    struct cv_drained second_before; /* a drain of all began */
    enum cv_error no_second;         /* why its token is of no use */
    struct cv_err second_error;
    int end_status;
} tunnel;
static struct twin *const first = &tunnel.twins[TUNNEL_FIRST], *const second = &tunnel.twins[TUNNEL_SECOND];

#define each_twin(t)                                                                                         \
    struct twin *t = tunnel.twins;                                                                           \
    t < tunnel.twins + (tunnel.has_second ? TUNNELS : 1);                                                    \
    t++

static inline const struct tunnel_conf *conf(void)
{
    return tunnel.setup.conf;
}

/* actions.c: what the supervisors decide, done */
extern const struct sup_ops supervisor_actions;  /* arg: the twin */
void timer_at(struct cv_timer *, int64_t at_ms); /* INT64_MAX: never */
void tunnel_stop_watching(void);
void tunnel_over(int status);
bool tunnel_idle(void); /* draining, and nothing is left */

/* news.c: what they are told */
void tunnel_reported(const struct conn_report *);
void tunnel_tick(struct cv_timer *); /* of a twin */
void tunnel_network(void *unused, enum network_news);
void tunnel_find_edge(struct twin *); /* its first addresses start its supervisor */
void tunnel_look(void);               /* something has changed: counts, and failover */

/* identity.c: tokens */
enum cv_error identity_load(struct cv_err *); /* the first's; CV_E_DENIED: docs/protocol.md §2.1 */
void identity_load_second(void);              /* the first is to run whatever is the matter with this one */
void identity_log(void);
void identity_watch(void);           /* files */
void identity_follow(struct twin *); /* what the ini points to may be another one */

/* second.c: failover's decisions, done */
void second_begin(void); /* the first begins to connect */
void second_look(void);
void second_drains(void); /* with the first: what it counts begins here */
void second_add_drained(struct cv_drained *sum);

#endif
