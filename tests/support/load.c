/* load.c: visitors in threads of their own. */
#include "load.h"

#include "http1.h"
#include "process.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static void failed(struct load *l, const char *path, int status, ssize_t end, const char *head)
{
    if (atomic_fetch_add(&l->failed, 1) == 0)
        snprintf(l->first_failure, sizeof(l->first_failure), "%s: status %d, end %zd, %.180s", path, status,
                 end, head);
}

static void visit(struct load *l, const char *path, const char *holds)
{
    struct http1 c;
    struct cv_buf body = { 0 };
    ssize_t end = HTTP1_CUT;
    bool connected = http1_connect(&c, l->front), head = false;
    if (connected) {
        c.timeout_ms = l->timeout_ms;
        head = http1_sendf(&c, "GET %s HTTP/1.1\r\nHost: api.example.com\r\n\r\n", path) &&
               http1_answer(&c, "GET");
        end = head ? http1_read_all(&c, &body) : HTTP1_CUT;
        cv_buf_add(&body, "", 1);
    }
    if (!head || c.status != 200 || end != 0 || !strstr((const char *)body.p, holds))
        failed(l, path, head ? c.status : 0, end, head ? c.head : "no answer");
    if (connected)
        http1_close(&c);
    cv_buf_free(&body);
}

static void *ask_shortly(void *arg)
{
    struct load *l = arg;
    while (!l->over) {
        visit(l, l->short_path, l->short_holds);
        l->done++;
        sleep_ms(l->pause_ms);
    }
    return NULL;
}

static void *read_streams(void *arg)
{
    struct load *l = arg;
    while (!l->over) {
        visit(l, l->stream_path, l->stream_holds);
        l->streams++;
    }
    return NULL;
}

void load_start(struct load *l)
{
    CU_ASSERT_TRUE_FATAL(l->short_threads + l->stream_threads <= LOAD_THREADS);
    for (unsigned i = 0; i < l->short_threads + l->stream_threads; i++)
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&l->threads[i], NULL, i < l->short_threads ? ask_shortly : read_streams, l), 0);
}

void load_stop(struct load *l)
{
    l->over = true;
    for (unsigned i = 0; i < l->short_threads + l->stream_threads; i++)
        pthread_join(l->threads[i], NULL);
}
