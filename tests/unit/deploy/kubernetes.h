/* kubernetes.h: what a reviewer of manifests looks for: fields that the API takes, and objects that fit each other.
 *
 * No server and no schema is asked: kubernetes.fields is the API as far as our manifests use it. */
#ifndef TESTS_KUBERNETES_H
#define TESTS_KUBERNETES_H

#include "culvert/mem.h"

#include <stdbool.h>
#include <yyjson.h>

/* Each adds a line for everything that is wrong. objects: an array, as yaml_file_read() makes it. */

/* Kinds, fields, types and forms. patches: what has to be there may be missing. */
void kubernetes_fields(yyjson_val *objects, bool patches, struct cv_buf *wrong);
/* Selectors, ports, volumes, accounts and configurations that name each other; labels; images; hardening. */
void kubernetes_fit(yyjson_val *objects, struct cv_buf *wrong);

/* The container (or native sidecar) of that name in the first Deployment that has it; NULL: none. */
yyjson_val *kubernetes_container(yyjson_val *objects, const char *name);
/* The pod's spec around it. */
yyjson_val *kubernetes_pod(yyjson_val *objects, const char *container);
/* First object of that kind whose name begins so; NULL: none. */
yyjson_val *kubernetes_object(yyjson_val *objects, const char *kind, const char *name);
const char *kubernetes_name(yyjson_val *object);

/* printf into a cv_buf, and a line's end. */
void kubernetes_say(struct cv_buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
