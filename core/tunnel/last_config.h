/* last_config.h: the configuration that was applied last, in a file, so that a restart serves before the edge has sent it
 * again. One JSON object: {"tunnel":UUID,"version":N,"config":DOCUMENT}. Main thread. */
#ifndef CV_TUNNEL_LAST_CONFIG_H
#define CV_TUNNEL_LAST_CONFIG_H

#include "request/config.h"

/* The document is appended to *config, its version in *version; no file: CV_OK and *version is -1. What is not a file
 * of this tunnel, whole and of ours alone, is an error that names it; then nothing of it is to be used. */
enum cv_error last_config_read(const char *file, const char *tunnel, int32_t *version, struct cv_buf *config,
                               struct cv_err *err);
/* Replaces the file as a whole or not at all; on disk when it returns. */
enum cv_error last_config_write(const char *file, const char *tunnel, int32_t version, struct cv_str config,
                                struct cv_err *err);

#endif
