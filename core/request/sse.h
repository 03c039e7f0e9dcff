/* sse.h: event streams that lie still get a sign of life, so that the edge does not take them for dead (it cuts after
 * about 100 s, HTTP 524): section [sse]. Worker thread. Source: the event stream format of the HTML standard. */
#ifndef REQUEST_SSE_H
#define REQUEST_SSE_H
#include "request/state.h"

struct sse; /* of one request, in its arena */

/* The origin has responded. If its answer is an event stream, its bytes are looked at from now on. */
void sse_watch(struct request *);
/* The edge gets the head: signs may be sent from now on. */
void sse_begin(struct request *);
void sse_end(struct request *);

/* "text/event-stream; charset=utf-8" is of the type "text/event-stream". */
bool sse_is_type(struct cv_str value, struct cv_str type);
/* The response is a stream of events that may be added to: neither packed nor of a promised length. */
bool sse_is_stream(const struct cv_req *);
#endif
