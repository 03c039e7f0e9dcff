/* bench.h: a worker with edge_quic, a scripted origin and a peer as the edge, all in one loop turned by the test. */
#ifndef EDGE_QUIC_BENCH_H
#define EDGE_QUIC_BENCH_H
#include "edge_quic/quic.h"
#include "peer.h"
#include "request/request.h"
#include "tunnel/conn.h"

/* One request as the origin saw it. */
struct seen {
    struct seen *next;
    struct cv_req *req; /* NULL: closed */
    enum cv_req_type type;
    char head[512];   /* "GET https a.example.com /path?q" */
    char header[256]; /* value of x-test */
    int64_t body_length;
    struct cv_buf body; /* read so far */
    uint64_t n_body;
    bool ended, closed;
    enum cv_error why;
};

struct bench {
    struct cv_worker *worker;
    struct limits_conf limits;
    struct quic_conf conf;
    struct cv_self selfs[2];
    const struct cv_self *origins[1];
    struct chain chain;
    struct pki *pki;
    SSL_CTX *server;
    struct peer *peer;
    struct seen *seen; /* newest first, without the control stream */
    struct seen *control;
    unsigned n_seen;
    /* reports */
    bool up, down;
    enum cv_error why;
    char text[512];
    /* what the origin does */
    bool answers;   /* 200, x-answer: yes, "hello" and the end, at open        */
    bool lazy;      /* reads no body until told                                 */
    size_t streams; /* bytes of body that it answers with, instead of "hello"   */
    uint64_t streamed;
};
struct bench *bench_new(void);
void bench_free(struct bench *);
/* Dials and waits for the handshake and the control stream. False: it did not come up. */
bool bench_connect(struct bench *);
void bench_dial(struct bench *);
/* Turns the loop until the condition holds, or 5 s have passed: false then. */
#define BENCH_UNTIL(b, condition)                                                                            \
    ({                                                                                                       \
        uint64_t bench_end_ = quic_now() + 5 * NGTCP2_SECONDS;                                               \
        bool bench_holds_;                                                                                   \
        while (!(bench_holds_ = (condition)) && quic_now() < bench_end_)                                     \
            bench_turn(b);                                                                                   \
        bench_holds_;                                                                                        \
    })
void bench_turn(struct bench *);
/* Turns the loop for so long. */
void bench_for(struct bench *, int ms);
/* The origin reads what is there, of a lazy one. */
void bench_read(struct bench *, struct seen *);
struct quic_conn *bench_conn(struct bench *);
/* What the edge writes to open a stream: signature, version, ConnectRequest, body. Free it. */
struct cv_buf bench_head(unsigned type, const char *dest, const struct cv_metadata *, size_t n,
                         const char *body);
#define BENCH_HEAD(type, dest, body, ...)                                                                    \
    bench_head(type, dest, (const struct cv_metadata[]){ __VA_ARGS__ },                                      \
               sizeof((const struct cv_metadata[]){ __VA_ARGS__ }) / sizeof(struct cv_metadata), body)
/* The same for a plain GET of /, and sends it all with FIN on a stream of its own. */
int64_t bench_get(struct bench *);
int64_t bench_send(struct bench *, struct cv_buf take, bool fin);
/* The ConnectResponse on a stream: its error text, or "200 x-answer=yes" …, and where the body begins. */
struct bench_answer {
    bool whole;
    char error[512], head[512];
    struct cv_str body;
};
struct bench_answer bench_answer(struct bench *, int64_t id);
/* Sums a counter over its labels; -1: there is none. */
double bench_metric(const char *name, const char *value);
#endif
