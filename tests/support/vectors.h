/* vectors.h: reads the golden vectors, tests/vectors/. A file that is missing or damaged ends the program. */
#ifndef VECTORS_H
#define VECTORS_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <yyjson.h>

/* name: "rpc/reg-ok-local-c1-call", below tests/vectors/ and without its ending. Free what is returned. */
struct cv_buf vector_bytes(const char *name);
yyjson_doc *vector_json(const char *name);

/* Adds the bytes that the text says, two digits each; spaces and line ends are skipped. */
void vector_unhex(struct cv_buf *, struct cv_str hex);

struct cv_str vector_str(yyjson_val *object, const char *key); /* empty if it is not there */
/* The bytes that a hexadecimal or UUID string says, added to *store, which must have room (it may not move).
 * {0} if there are none. */
struct cv_str vector_data(yyjson_val *object, const char *key, struct cv_buf *store);

/* Compares, and says where the first difference is. */
bool vector_same(struct cv_str got, struct cv_str want);

#endif
