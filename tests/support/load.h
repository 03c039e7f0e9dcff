/* load.h: visitors in threads of their own, until they are told to stop: short requests, and streams that last a while.
 * Whatever does not come whole is counted as failed. */
#ifndef TESTS_LOAD_H
#define TESTS_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { LOAD_THREADS = 32 };
struct load {
    const char *front; /* of edge_sim */
    unsigned short_threads, stream_threads;
    const char *short_path, *short_holds; /* what is asked for, and what the answer must hold */
    const char *stream_path, *stream_holds;
    int pause_ms; /* between two short requests of one thread */
    int timeout_ms;
    /* while it runs, and afterwards */
    atomic_bool over;
    atomic_uint done, streams, failed;
    char first_failure[256];
    pthread_t threads[LOAD_THREADS];
};
void load_start(struct load *);
void load_stop(struct load *); /* waits for what is under way */

#endif
