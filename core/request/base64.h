/* base64.h: standard base64 as Go reads it: padding required, CR and LF skipped. */
#ifndef REQUEST_BASE64_H
#define REQUEST_BASE64_H
#include "culvert/culvert.h"

/* `to` has room for 3 bytes per 4 characters begun. On failure *n is where the trouble is ("illegal base64
 * data at input byte N"). */
enum cv_error base64_decode(struct cv_str text, uint8_t *to, size_t *n);
#endif
