/* say.h: what the log says of one visitor's request (docs/protocol.md §23). No query of a URL, no header but cf-ray: both
 * may hold secrets. */
#ifndef REQUEST_SAY_H
#define REQUEST_SAY_H
#include "request/state.h"

void say_request(const struct request *); /* its rule is known    */
void say_answer(const struct request *);  /* its head is to leave */
void say_failure(const struct request *); /* error and error_text are set */
#endif
