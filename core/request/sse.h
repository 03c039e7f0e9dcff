/* sse.h: event streams that lie still get a sign of life, so that the edge does not take them for dead (it cuts after
 * about 100 s, HTTP 524): section [sse]. Worker thread. Source: the event stream format of the HTML standard. */
#ifndef REQUEST_SSE_H
#define REQUEST_SSE_H
#include "request/state.h"

struct sse; /* of one request, in its arena */

/* The origin has responded. If its answer is an event stream and signs are wanted, its bytes are looked at from now on. */
void sse_watch(struct request *);
/* The edge gets the head: signs may be sent from now on. */
void sse_begin(struct request *);
void sse_end(struct request *);
/* For pipe.c: what the origin has written, before anything follows it. */
void sse_note(struct sse *, const uint8_t *bytes, size_t n);
#endif
