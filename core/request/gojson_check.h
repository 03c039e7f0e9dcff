/* gojson_check.h: is a text JSON? */
#ifndef REQUEST_GOJSON_CHECK_H
#define REQUEST_GOJSON_CHECK_H
#include "request/gojson.h"

/* Passes exactly the texts of one JSON value with white space around it, nested at most GOJSON_DEPTH deep. */
enum cv_error gojson_check(struct cv_str text, struct reason *);
#endif
