/* chain.h: the way of a request through rule, filters and origin, and of its answer back; inside this room alone. */
#ifndef REQUEST_CHAIN_H
#define REQUEST_CHAIN_H
#include "request/state.h"

/* Takes the step that is due. Called at the end of a turn, while r->stepping. */
void chain_step(struct request *);
/* closed() to the origin, if one was opened and not told yet. */
void request_close_origin(struct request *, enum cv_error);
/* cv_worker.run_ready */
void requests_run(struct cv_worker *);
#endif
