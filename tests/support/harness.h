/* harness.h: a thread's worth of core for unit tests: one worker turned by hand, a scripted edge and origin. */
#ifndef HARNESS_H
#define HARNESS_H
#include "request/request.h"

#include <stdio.h>

/* What the scripted modules saw, one word an event: "open", "readable", "credit:5", "closed:ok", "head:200" … */
struct harness {
    struct cv_worker *worker;
    struct limits_conf limits;
    struct cv_self selfs[4]; /* edge, origin, two filters */
    const struct cv_self *origins[1], *filters[2];
    struct chain chain;
    char edge_log[512], origin_log[512], filter_log[512];
    /* what the scripted modules do */
    bool origin_responds; /* with 200 and no body, at open  */
    enum cv_next request_says, response_says;
    void (*in_open)(struct cv_req *); /* instead of the above           */
    void (*in_head)(struct cv_req *); /* after logging                  */
};
/* One at a time. Rules: everything to http://127.0.0.1:1. */
struct harness *harness_new(unsigned n_filters);
void harness_free(struct harness *);
unsigned harness_open(const struct harness *); /* requests of visitors that are open */
void harness_require_access(struct harness *); /* the rule does, from now on */
void harness_turn(struct harness *);           /* runs the loop until nothing is left to do at once */
struct cv_req *harness_request(struct harness *, enum cv_req_type);
#endif
