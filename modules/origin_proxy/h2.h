/* h2.h: HTTP/2 to origins: connections that many exchanges share (docs/protocol.md §18.1; RFC 9113).
 *
 *   h2.c        a connection: its life, which exchange gets which, who waits for a dial under way
 *   h2_frames.c what nghttp2 reports and asks for, as an exchange understands it
 *
 * An exchange writes its head as for HTTP/1.1, since only the handshake tells which of the two it will be; the
 * head's lines become fields when they are sent. */
#ifndef ORIGIN_H2_H
#define ORIGIN_H2_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <nghttp2/nghttp2.h>
#include <sys/queue.h>

struct origin_exchange;
struct origin_link;
struct origin_worker;
TAILQ_HEAD(origin_exchanges, origin_exchange);

/* A connection. It closes when its last stream is gone and the rule's idle limit has passed. */
struct origin_h2 {
    LIST_ENTRY(origin_h2) all;
    struct origin_worker *w;
    struct origin_link *link;
    nghttp2_session *session;
    struct origin_exchanges streams;
    uint32_t n_streams;
    uint32_t window;   /* of a stream, to begin with: what a pipe holds */
    uint64_t received; /* bytes, so far */
    struct cv_buf out; /* frames on their way, at most ORIGIN_H2_OUT and one more */
    size_t out_sent;
    unsigned idle_frames; /* that carried nothing, since idle_since */
    int64_t idle_since;
    struct cv_late flush;
    struct cv_timer idle;
    struct cv_ms idle_after; /* 0: never */
    int64_t idle_most;       /* idle ones that the rule keeps; 0: none */
    bool greeted;            /* the origin has said how many streams it takes; until then it gets one */
    bool mute;               /* writing fails; what came before is still read */
    bool going;              /* takes no more streams */
    bool idling;             /* counted as such */
    size_t key_n;
    char key[];
};

/* An exchange's part. */
struct origin_h2_stream {
    TAILQ_ENTRY(origin_exchange) among;
    struct origin_exchanges *in; /* streams of `conn`, or those who dial or wait; NULL: none of them */
    struct origin_h2 *conn;      /* NULL: not, or not yet, over HTTP/2 */
    int32_t id;
    uint64_t since;  /* what the connection had received when the request was sent */
    int status;      /* of the head under way */
    size_t head_n;   /* bytes of fields so far, as max_response_headers counts */
    uint32_t window; /* granted at a time */
    size_t owed;     /* read by the visitor and not granted again, because memory is short */
    uint8_t interim; /* 1xx responses seen */
    bool gone;       /* the stream is closed: nothing can be said on it */
    bool wanted;     /* the rule and the request allow it */
    bool certain;    /* the origin is known to speak it */
    bool alone;      /* neither waits for another's dial nor lets others wait: the origin speaks HTTP/1.1 */
};
enum { ORIGIN_H2_OUT = 64 * 1024 };

/* ---- h2.c ---------------------------------------------------------------------------------------------- */

/* Finds out whether it may go over HTTP/2 (wanted), and whether without asking (certain). */
void origin_h2_choose(struct origin_exchange *);
/* The dialled connection speaks it. */
bool origin_h2_agreed(const struct origin_exchange *, const struct origin_link *);
/* Gets the exchange a stream on a connection that is there. */
bool origin_h2_join(struct origin_exchange *);
/* Waits for the dial of another exchange of the same key, and for the first words of what it finds there; then
 * this one is started again. False: there is none. */
bool origin_h2_wait(struct origin_exchange *);
/* The exchange dials: others may wait for it. */
void origin_h2_lead(struct origin_exchange *);
/* Its dial has ended, over HTTP/2, otherwise or not at all: those who waited go on, or fail as it does. */
void origin_h2_led(struct origin_exchange *, enum cv_error, const char *why);
/* Makes a connection of the link and gives the exchange its first stream; if it gets none, it has failed. */
void origin_h2_adopt(struct origin_exchange *, struct origin_link *link_take);
/* Whatever the exchange is among, it is no more; a stream under way is reset. */
void origin_h2_leave(struct origin_exchange *);
void origin_h2_flush(struct origin_h2 *);   /* at the end of this turn */
void origin_h2_greeted(struct origin_h2 *); /* the origin's first words are in */
void origin_h2_free(struct origin_worker *);

/* ---- h2_frames.c --------------------------------------------------------------------------------------- */

nghttp2_session *origin_h2_session(struct origin_h2 *);
/* Sends the request on a new stream; 0 or an error of nghttp2. */
int origin_h2_request(struct origin_exchange *);
void origin_h2_readable(struct origin_exchange *);         /* `up` has bytes, or its end */
void origin_h2_credit(struct origin_exchange *, size_t n); /* the visitor has read n bytes */
#endif
