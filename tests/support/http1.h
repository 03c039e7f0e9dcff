/* http1.h: one end of an HTTP/1.1 connection for tests, visitor or origin: blocking, each step with a deadline.
 *
 * An independent reader on purpose: it shares no code with what it tests. Not for two threads at once. */
#ifndef TESTS_HTTP1_H
#define TESTS_HTTP1_H

#include "culvert/mem.h"

#include <stdbool.h>
#include <sys/types.h>

enum http1_framing { HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_TO_END };

struct http1 {
    int fd;
    int timeout_ms;  /* for one step: a head, or a read */
    char *head;      /* of the latest message, with the empty line's first \r\n; NUL-terminated */
    char method[16]; /* of a request    */
    char target[4096];
    int status; /* of an answer    */
    enum http1_framing framing;
    long long left;   /* of the body, or of the chunk under way */
    char *trailers;   /* as head; NULL before the end of a chunked body */
    struct cv_buf in; /* read ahead      */
};
enum { HTTP1_CUT = -1, HTTP1_LATE = -2 };

bool http1_connect(struct http1 *, const char *addr); /* "127.0.0.1:80" */
void http1_adopt(struct http1 *, int fd);
void http1_close(struct http1 *);
void http1_reset(struct http1 *); /* with a TCP reset */
void http1_shut(struct http1 *);  /* no more is sent  */

bool http1_send(struct http1 *, const void *, size_t n);
bool http1_sendf(struct http1 *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool http1_request(struct http1 *); /* reads the next request's head */
bool http1_answer(struct http1 *,
                  const char *method); /* reads the answer's head; 1xx other than 101 are skipped */
/* Value number n of that field, or NULL; good until the next call. */
const char *http1_field(const struct http1 *, const char *name, unsigned n);
/* Bytes of the body, without framing: > 0; 0 at its proper end; HTTP1_CUT; HTTP1_LATE. */
ssize_t http1_read(struct http1 *, void *, size_t n);
ssize_t http1_read_all(struct http1 *, struct cv_buf *); /* 0, HTTP1_CUT, HTTP1_LATE */

#endif
