/* stream.h: requests that are byte streams: TCP within WebSocket frames, to where a rule, a header or SOCKS says.
 *
 *   visitor ──frames──▶ up ──websocket.c──▶ out ──socks.c, as long as it talks──▶ link ──▶ origin
 *   visitor ◀──frames── down ◀─────────────────────────────────────────────────── link ◀── origin
 *
 * Source   docs/protocol.md §20; §18.8 for private networks, whose streams have no frames. */
#ifndef ORIGIN_STREAM_H
#define ORIGIN_STREAM_H
#include "origin.h"
#include "socks.h"
#include "websocket.h"

struct origin_stream { /* in the request's slot */
    struct origin_worker *w;
    struct cv_req *req;
    struct cv_rule *rule; /* the request's, with the target of this stream */
    struct origin_dial *dial;
    struct origin_link *link;
    struct cv_buf
        out; /* the visitor's bytes, unframed, that the origin has not taken: one piece of the pipe at most */
    struct origin_ws ws;
    struct origin_socks *socks; /* while it talks; NULL otherwise */
    struct cv_timer ping, linger;
    int64_t moved; /* when the origin last sent something; kept once half closed */
    bool counted;  /* among the flows of the private network */
    bool framed;
    bool parted;      /* the visitor sends no more */
    bool half_closed; /* and the origin knows */
    bool over;
};
bool origin_is_stream(const struct cv_req *);
void origin_stream_open(const struct cv_self *, struct cv_req *);
extern const struct cv_end origin_stream_end;

/* target.c: where a stream goes. Text is "host:port", "[v6]:port", or a URL; parts are borrowed. */
bool origin_target_parse(struct cv_str text, struct cv_target *);
bool origin_is_address(struct cv_str host); /* and no name */

/* virtual_dns.c: is it the address that stands for a resolver? Then the target becomes one: of the option
 * dns_resolvers, or the machine's (from /etc/resolv.conf or a file like it). */
bool origin_is_virtual_dns(const struct cv_target *);
void origin_use_resolver(struct origin_worker *, struct cv_target *);

#endif
