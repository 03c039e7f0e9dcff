/* origin.h: a scripted HTTP/1.1 origin in the test program: a thread for each connection runs the test's function. */
#ifndef TESTS_ORIGIN_H
#define TESTS_ORIGIN_H

#include "http1.h"

#include <semaphore.h>

/* Called in the connection's thread for each request whose head has been read: sends the answer. False: the connection
 * is over (it may have been closed already). */
typedef bool origin_fn(struct http1 *, void *arg);

/* NULL: origin_plain. */
struct origin *origin_start(origin_fn *, void *arg);
void origin_stop(struct origin *); /* cuts all connections and waits for their threads */
unsigned origin_port(const struct origin *);
unsigned origin_connections(struct origin *); /* accepted so far */
unsigned origin_requests(struct origin *);    /* heads read so far */

/* GET /bytes/N      N bytes of the pattern with a Content-Length; /chunks/N the same chunked
 * any /sum          reads the body, answers "N HASH" of it
 * any /echo         answers the body, with its length
 * any /head         answers the request's head as it came
 * any other         answers "METHOD TARGET" */
bool origin_plain(struct http1 *, void *unused);

bool origin_text(struct http1 *, int status, const char *text); /* a whole answer with that body */

/* A body that checks itself: byte i depends on i only. The hash of its first n bytes is pattern_hash(n). */
void pattern_fill(unsigned char *out, size_t n, unsigned long long at);
unsigned long long hash_more(unsigned long long hash, const void *, size_t n);
#define HASH_BEGIN 14695981039346656037ULL
unsigned long long pattern_hash(unsigned long long n);

bool sem_within(sem_t *, int ms); /* false: not posted in that time */

#endif
