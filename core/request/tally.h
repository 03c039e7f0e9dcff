/* tally.h: what is counted of visitors' requests, and of each rule. Worker thread, where nothing else is said. */
#ifndef REQUEST_TALLY_H
#define REQUEST_TALLY_H
#include "request/route.h"
#include "request/state.h"
#include "request/stock.h"

/* What is counted of the rules that have one hostname and path: for the life of the process, whatever is pushed. */
struct cv_tally;

/* Main thread: gives each rule its tally, before another thread sees the table. */
void tally_rules(struct route_table *);
/* Main thread: no thread counts any more. */
void tally_free(void);
void tally_setup(struct tallies *); /* of one worker */
void tally_teardown(struct tallies *);

/* Any request, the edge's own too: started, gone. */
void tally_open(struct request *);
void tally_closed(struct request *);

/* The way of a visitor's request, in this order; what does not happen is left out. */
void tally_begin(struct request *);
void tally_asked(struct request *);    /* an origin has it           */
void tally_answered(struct request *); /* it responded               */
void tally_head(struct request *);     /* the edge is given the head */
void tally_failed(struct request *, enum cv_error);
void tally_end(struct request *);

/* Bytes of a body came into the pipe. */
void tally_bytes(const struct cv_pipe *, size_t n);
/* Events of an event stream ended just now, the last time at `before` (nanoseconds; 0: these are the first). Returns now. */
int64_t tally_events(struct request *, size_t n, int64_t before);
#endif
