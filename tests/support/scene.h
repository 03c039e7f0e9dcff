/* scene.h: a whole tunnel on this machine for system tests: edge_sim, culvert and a scripted origin.
 *
 *   visitor ──▶ edge_sim ──http2 or quic──▶ culvert ──▶ origin (in the test program)
 *
 * One at a time; starting one ends what a failed test left behind. */
#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include "origin.h"
#include "process.h"
#include "suite.h"
#include "wire.h"

#include <string.h>

struct setup {
    const char *transport;  /* "http2", "quic"; NULL: what the ini says */
    unsigned connections;   /* 0: 1 */
    const char *flags;      /* more of culvert's, before `run`, separated by spaces */
    const char *edge_flags; /* more of edge_sim's */
    const char *rules;      /* $ORIGIN is http://127.0.0.1:PORT of the origin; NULL: everything goes there */
    const char *ini;        /* culvert's; NULL: none */
    const char *script;     /* answers to the first connections */
    origin_fn *origin;      /* NULL: origin_plain */
    void *origin_arg;
    const char *token_file; /* culvert reads its token there; NULL: it is in the environment */
    struct wire *wire;      /* the edge is at its far end; NULL: on this machine's loopback, as the rest */
    bool alone;             /* do not wait until the connections have registered */
};

struct scene {
    const char *transport;
    unsigned connections;
    struct wire *wire;
    struct process *edge, *culvert;
    struct origin *origin;
    char dir[64]; /* for its files */
    char edges[4][32], front[32], control[32], metrics[32];
};

/* What a visitor, or a test at the control port, got. */
struct answer {
    int status;  /* 0: none */
    ssize_t end; /* of the body: 0 whole, HTTP1_CUT, HTTP1_LATE */
    char *head, *trailers;
    struct cv_buf body; /* a NUL follows it */
};
void answer_free(struct answer *);
const char *answer_text(const struct answer *); /* the body, "" if there is none */

struct scene *scene_start(const struct setup *);
void scene_rules(struct scene *, const char *rules, char **out); /* $ORIGIN put in; free() it */
void scene_restart(struct scene *, const struct setup *);        /* culvert alone, once more */
void scene_restart_edge(struct scene *,
                        const struct setup *);   /* without a word of good-bye; at the same addresses */
void scene_ini(struct scene *, const char *ini); /* culvert's, which was not NULL; for a reload */
int scene_end(struct scene *, int ms);           /* SIGTERM; culvert's exit status */
void scene_stop(struct scene *);                 /* asserts that culvert ends well by itself; ends the rest */

/* To the front. fields: lines that end in \r\n, or NULL. */
struct answer scene_visit(struct scene *, const char *method, const char *target, const char *fields,
                          const void *body, size_t n);
struct answer scene_get(struct scene *, const char *target);
bool scene_open(struct scene *, struct http1 *, const char *method, const char *target, const char *fields);

struct answer scene_control(struct scene *, const char *method, const char *target, const char *body);
/* To the connector, as version 2, 3 … ($ORIGIN put in); whether all have applied it. */
bool scene_push(struct scene *, int version, const char *rules);
bool scene_wait(struct scene *, const char *query);              /* GET /wait?QUERY */
unsigned scene_seen(struct scene *, const char *event);          /* lines of GET /log with that event */
struct answer scene_metrics(struct scene *, const char *target); /* of culvert's metrics server */
/* fields: with Host; NULL: from this machine */
struct answer scene_operate(struct scene *, const char *method, const char *target, const char *fields);
double scene_metric(struct scene *, const char *series); /* 0: not there */
bool scene_counts(struct scene *, const char *series,
                  double value); /* now, or soon: over QUIC a request is over once
                                                                       * the edge has acknowledged its end */

/* The two transports, one after the other: for (each_transport(t)) … t is a const char *. */
#define each_transport(t)                                                                                    \
    const char *const *t##_ = (const char *const[]){ "http2", "quic", NULL }, *t;                            \
    (t = *t##_);                                                                                             \
    t##_++

#define CHECK_STATUS(a, wanted)                                                                              \
    do {                                                                                                     \
        CU_ASSERT_EQUAL((a).status, (wanted));                                                               \
        if ((a).status != (wanted))                                                                          \
            fprintf(stderr, "  line %d: status %d\n%s%s\n", __LINE__, (a).status, (a).head ? (a).head : "",  \
                    answer_text(&(a)));                                                                      \
    } while (0)
#define CHECK_HOLDS(text, part)                                                                              \
    do {                                                                                                     \
        const char *text_ = (text), *part_ = (part);                                                         \
        CU_ASSERT_PTR_NOT_NULL(strstr(text_, part_));                                                        \
        if (!strstr(text_, part_))                                                                           \
            fprintf(stderr, "  line %d\n  text    %.4000s\n  without %s\n", __LINE__, text_, part_);         \
    } while (0)

/* Times that a test allows for: sanitizers are slow, a figure of merit does not count there. */
enum { PATIENCE_MS = SANITIZED ? 60000 : 20000 };

#endif
