/* h1.h: shared by h1.c (sockets), h1_parse.c (requests) and h1_write.c (answers). */
#ifndef EDGE_SIM_H1_H
#define EDGE_SIM_H1_H

#include "edge_sim.h"

#include <llhttp.h>
#include <netinet/in.h>

struct h1 {
    LIST_ENTRY(h1) entry;
    int fd;
    const struct h1_ops *ops;
    void *owner;
    struct event rev, wev;
    llhttp_t parser;
    struct h1_request req;
    struct cv_buf url, name, value, ahead;
    struct queue out;
    int64_t left; /* of an answer of known length; -1: chunked or until close */
    size_t dropped;
    bool spoken;   /* something has come in */
    bool busy;     /* a request's head is complete, its answer is not */
    bool received; /* and its body is complete                        */
    bool keep_alive, chunked, bodiless, tunnel;
    bool reading, next, closing, dead, reset;
    char peer[INET6_ADDRSTRLEN];
};

extern const llhttp_settings_t h1_settings;
/* Bytes that have come in. */
void h1_parse(struct h1 *, const char *p, size_t n);
/* Answer and request are both over: the next one, or the end. */
void h1_over(struct h1 *);
void h1_send_soon(struct h1 *);
void h1_on_writable(int fd, short what, void *h1);
/* The visitor is gone: the owner is told if it waits. */
void h1_left(struct h1 *);
/* Freed at the end of this turn: a caller may still hold it. */
void h1_bury(struct h1 *);
void h1_free(struct h1 *);

#endif
