/* ask.h: this room's part of cv_ask(): the requests that this process makes itself. */
#ifndef REQUEST_ASK_H
#define REQUEST_ASK_H
#include "request/state.h"

/* Made by cv_ask(): neither counted nor logged. */
bool request_is_ours(const struct request *);
/* All of this thread end, and no more begin: before origins stop. */
void asks_stop(struct cv_worker *);
#endif
