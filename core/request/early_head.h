/* early_head.h: the head of an event stream before there is one: [sse] early_head.
 *
 * The edge gives a visitor up (HTTP 524) when no byte of an answer has come for about 100 s, and a head is one. Who asks
 * for an event stream gets its head from here if the origin has not answered by then, and signs of life (sse.h) until it
 * does. What the origin has to say then, if it is no event stream, is said as an event, in the words of the API.
 *
 * Filters are not asked about the early head; they see the origin's when it comes, too late to change it. Worker thread. */
#ifndef REQUEST_EARLY_HEAD_H
#define REQUEST_EARLY_HEAD_H
#include "request/state.h"

struct early_head; /* of one request, in its arena */

/* The origin is about to get the request: its body is looked at from now on, as it passes. */
void early_head_watch(struct request *);
/* At the end of a turn: sends the head if it is time, tells filters what has come since, lets go of the origin. */
void early_head_run(struct request *);
/* The origin has responded. true: to an early head, and all is done; false: this one has to be sent. */
bool early_head_responded(struct request *);
/* The visitor has a head, the origin has not answered. */
bool early_head_waits(const struct request *);
/* The request failed. true: its visitor is told by an event. */
bool early_head_failed(struct request *, enum cv_error);
void early_head_end(struct request *);
#endif
