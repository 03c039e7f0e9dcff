/* body_limit.h: the longest request body, [limits] request_body; inside this room alone. */
#ifndef REQUEST_BODY_LIMIT_H
#define REQUEST_BODY_LIMIT_H
#include "request/state.h"

/* The limit that holds for the whole of the request, whatever a reload says later. */
void body_limit_set(struct request *);
/* Refuses the request, or cuts it if its answer has begun, once its body is too long or says that it will be. Whether
 * that has just happened. */
bool body_limit_passed(struct request *);

#endif
