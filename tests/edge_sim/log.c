/* log.c: the events that were seen, as JSON lines: the latest are kept, all are counted. */
#include "edge_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum { KEPT = 20000, NAMES = 64 };

static struct {
    char *line[KEPT]; /* event n is at n % KEPT */
    uint64_t n;       /* of the last event      */
    struct {
        const char *what;
        uint64_t n;
    } count[NAMES];
    FILE *file;
    int64_t began;
} events;

static void count(const char *what)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (!events.count[i].what)
            events.count[i].what = what;
        if (strcmp(events.count[i].what, what) == 0) {
            events.count[i].n++;
            return;
        }
    }
}

static char *render(const struct conn *conn, const char *what, const struct cv_fields *fields)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, o);
    yyjson_mut_obj_add_uint(doc, o, "n", events.n);
    yyjson_mut_obj_add_int(doc, o, "ms", now_ms() - events.began);
    yyjson_mut_obj_add_str(doc, o, "event", what);
    if (conn) {
        yyjson_mut_obj_add_uint(doc, o, "conn", conn->id);
        if (conn->called)
            yyjson_mut_obj_add_uint(doc, o, "index", conn->reg.index);
    }
    for (size_t i = 0; fields && i < fields->n; i++) {
        const struct cv_field *f = &fields->v[i];
        if (f->is_int)
            yyjson_mut_obj_add_int(doc, o, f->name, f->i);
        else
            yyjson_mut_obj_add_strn(doc, o, f->name, f->s.p ? f->s.p : "", f->s.n);
    }
    char *line = yyjson_mut_write(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE, NULL);
    yyjson_mut_doc_free(doc);
    CV_ASSERT(line);
    return line;
}

void log_event(const struct conn *conn, const char *what, const struct cv_fields *fields)
{
    if (!events.began)
        events.began = now_ms();
    events.n++;
    count(what);
    char **slot = &events.line[events.n % KEPT];
    free(*slot);
    *slot = render(conn, what, fields);
    if (events.file) {
        fprintf(events.file, "%s\n", *slot);
        fflush(events.file);
    }
    control_poke();
}

uint64_t log_count(struct cv_str what)
{
    for (size_t i = 0; i < NAMES && events.count[i].what; i++)
        if (cv_str_eq(what, cv_str_of(events.count[i].what)))
            return events.count[i].n;
    return 0;
}

void log_since(uint64_t n, struct cv_buf *out)
{
    if (events.n > KEPT && n < events.n - KEPT)
        n = events.n - KEPT;
    while (n++ < events.n) {
        const char *line = events.line[n % KEPT];
        cv_buf_add(out, line, strlen(line));
        cv_buf_add(out, "\n", 1);
    }
}

bool log_open(const char *path)
{
    events.file = strcmp(path, "-") == 0 ? stderr : fopen(path, "we");
    return events.file != NULL;
}

void log_close(void)
{
    if (events.file && events.file != stderr)
        fclose(events.file);
    events.file = NULL;
    for (size_t i = 0; i < KEPT; i++)
        free(events.line[i]);
}
