/* rig.h: origin_proxy on a worker of its own, between a scripted edge and an origin that the test plays itself. */
#ifndef RIG_H
#define RIG_H
#include "origin_proxy/origin.h"
#include "request/request.h"

/* What the edge was told of a request. */
struct rig_seen {
    int status;
    enum cv_error error;
    char why[512];
    char head[2048]; /* "Name=value " for each field */
    char trailers[512];
    struct cv_buf body;
    bool ended, closed;
};
struct rig {
    struct cv_worker *worker;
    struct limits_conf limits;
    struct origin_conf conf;
    struct cv_self selfs[2]; /* edge, origin_proxy */
    const struct cv_self *origins[1];
    struct chain chain;
    int listener;
    uint16_t port;
    bool hold; /* the edge takes no bytes */
    uint32_t origin_streams; /* h2_origin.h: the most that the next one takes at a time; 0: says nothing of it */
};
/* A listener on 127.0.0.1 and rules that send everything to it. One rig at a time. */
struct rig *rig_new(void);
void rig_restart_module(struct rig *); /* it looks at the environment anew */
void rig_free(struct rig *);
/* Everything goes to `service` from now on; settings: as "\"noTLSVerify\":true", or "". */
void rig_rule(struct rig *, const char *service, const char *settings);
void rig_document(struct rig *, struct cv_str); /* or whatever the edge may send */
struct origin_worker *rig_worker(struct rig *);

/* A request that the test may fill in further before rig_send(). `seen` outlives the request. */
struct cv_req *rig_request(struct rig *, const char *method, const char *path, struct rig_seen *seen);
void rig_send(struct rig *, struct cv_req *);
void rig_seen_free(struct rig_seen *);
/* Lets go of bytes held back. */
void rig_take(struct rig *, struct cv_req *);

/* Turns the loop until *what is true, for 5 s at most; whether it came true. */
bool rig_until(struct rig *, const bool *what);
void rig_turn(struct rig *); /* until nothing is left to do at once */

/* The origin's part; fds block for 5 s at most and the loop turns meanwhile. */
int rig_accept(struct rig *); /* -1: nobody came */
const char *rig_hear(struct rig *, int fd,
                     const char *until); /* all up to and with `until`; NULL: it did not come */
void rig_say(struct rig *, int fd, const char *text);
bool rig_hears_end(struct rig *, int fd); /* the connection was closed, nothing more came */
#endif
