/* scene.c: a whole tunnel on this machine for system tests: edge_sim, culvert and a scripted origin. */
#include "scene.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct scene *current;

/* ---- text --------------------------------------------------------------------------------------------- */

void scene_rules(struct scene *t, const char *rules, char **out)
{
    struct cv_buf b = { 0 };
    char url[48];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", origin_port(t->origin));
    for (const char *at; (at = strstr(rules, "$ORIGIN")); rules = at + strlen("$ORIGIN")) {
        cv_buf_add(&b, rules, (size_t)(at - rules));
        cv_buf_add(&b, url, strlen(url));
    }
    cv_buf_add(&b, rules, strlen(rules));
    *out = cv_xmemdup0(b.p, b.n);
    cv_buf_free(&b);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

static const char *in_dir(const struct scene *t, const char *name, char out[static 96])
{
    snprintf(out, 96, "%s/%s", t->dir, name);
    return out;
}

/* Cuts text at spaces, in place, and makes argv of the words. */
static void add_words(const char **argv, size_t max, char *text)
{
    size_t n = 0;
    for (char *w = text + strspn(text, " "); *w && n < max - 1; n++) {
        argv[n] = w;
        w += strcspn(w, " ");
        if (*w)
            *w++ = '\0';
        w += strspn(w, " ");
    }
    argv[n] = NULL;
}

/* ---- starting ----------------------------------------------------------------------------------------- */

static void start_edge(struct scene *t, const struct setup *s)
{
    char line[2048], ports[96], ca[96], key[96], rules[96], script[96], *text;
    scene_rules(t, s->rules ? s->rules : "{\"ingress\":[{\"service\":\"$ORIGIN\"}]}", &text);
    write_file(in_dir(t, "rules.json", rules), text);
    free(text);
    write_file(in_dir(t, "script", script), s->script ? s->script : "");
    snprintf(line, sizeof(line),
             SUITE_BUILD "/edge_sim --listen %s --listen %s --listen %s --listen %s --ports-file %s "
                         "--ca-out %s --ca-key %s --config %s --script %s %s",
             t->edges[0], t->edges[1], t->edges[2], t->edges[3], in_dir(t, "ports", ports),
             in_dir(t, "ca.pem", ca), in_dir(t, "ca.key", key), rules, script,
             s->edge_flags ? s->edge_flags : "");
    const char *argv[48];
    add_words(argv, sizeof(argv) / sizeof(argv[0]), line);
    wire_enter_far(t->wire);
    t->edge = process_start(argv, (const char *const[]){ NULL });
    wire_leave_far(t->wire);
    CU_ASSERT_TRUE_FATAL(process_says(t->edge, "\nready\n", PATIENCE_MS));
    char *said = process_output(t->edge);
    CU_ASSERT_EQUAL_FATAL(sscanf(said, "edge %31s edge %31s edge %31s edge %31s front %31s control %31s",
                                 t->edges[0], t->edges[1], t->edges[2], t->edges[3], t->front, t->control),
                          6);
    free(said);
}

/* The environment variable by which culvert comes by its token. */
static void token_variable(const struct setup *s, char out[static 1024])
{
    if (s->token_file) {
        snprintf(out, 1024, "TUNNEL_TOKEN_FILE=%s", s->token_file);
        return;
    }
    char token[900];
    FILE *f = fopen("tests/vectors/token/good.txt", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_PTR_NOT_NULL(fgets(token, sizeof(token), f));
    fclose(f);
    token[strcspn(token, "\r\n")] = '\0';
    snprintf(out, 1024, "TUNNEL_TOKEN=%s", token);
}

static void start_culvert(struct scene *t, const struct setup *s)
{
    char line[2048], ca[96], ini[96] = "", variable[1024];
    token_variable(s, variable);
    t->connections = s->connections ? s->connections : 1;
    if (s->ini)
        write_file(in_dir(t, "ini", ini), s->ini);
    snprintf(line, sizeof(line),
             SUITE_BUILD "/culvert %s %s tunnel --edge %s --edge %s --edge %s --edge %s --cacert %s %s %s "
                         "--metrics 127.0.0.1:0 --loglevel debug --ha-connections %u %s run",
             ini[0] ? "--config" : "", ini, t->edges[0], t->edges[1], t->edges[2], t->edges[3],
             in_dir(t, "ca.pem", ca), s->transport ? "--protocol" : "", s->transport ? s->transport : "",
             t->connections, s->flags ? s->flags : "");
    const char *argv[48];
    add_words(argv, sizeof(argv) / sizeof(argv[0]), line);
    char query[80];
    snprintf(query, sizeof(query), "registered=%u&event=config-answer&count=%u&timeout=60s", t->connections,
             scene_seen(t, "config-answer") + 1);
    t->culvert = process_start(argv, (const char *const[]){ "PATH=/nonexistent", variable, NULL });
    CU_ASSERT_TRUE_FATAL(process_says(t->culvert, "/metrics", PATIENCE_MS));
    char *said = process_output(t->culvert), *at = strstr(said, "metrics server on ");
    CU_ASSERT_TRUE_FATAL(at && sscanf(at, "metrics server on %31[^/]", t->metrics) == 1);
    free(said);
    if (s->alone)
        return;
    CU_ASSERT_TRUE_FATAL(scene_wait(t, query));
    for (int i = 0; i < 1000 && process_count(t->culvert, "Registered tunnel connection") < t->connections;
         i++)
        sleep_ms(5); /* the edge has answered, now both know */
}

static void clear(void)
{
    if (!current)
        return;
    process_end_all();
    origin_stop(current->origin);
    static const char *const files[] = { "rules.json", "script", "ports", "ca.pem", "ca.key", "ini" };
    char path[96];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(in_dir(current, files[i], path));
    rmdir(current->dir);
    free(current);
    current = NULL;
}

struct scene *scene_start(const struct setup *s)
{
    clear();
    struct scene *t = current = cv_xcalloc(1, sizeof(*t));
    snprintf(t->dir, sizeof(t->dir), "/tmp/culvert-scene-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(t->dir));
    t->transport = s->transport;
    t->wire = s->wire;
    for (size_t i = 0; i < 4; i++)
        snprintf(t->edges[i], sizeof(t->edges[i]), "%s:0", t->wire ? WIRE_FAR : "127.0.0.1");
    t->origin = origin_start(s->origin, s->origin_arg);
    start_edge(t, s);
    start_culvert(t, s);
    return t;
}

void scene_restart(struct scene *t, const struct setup *s)
{
    process_end(t->culvert, 0);
    CU_ASSERT_TRUE(scene_wait(t, "registered=0"));
    start_culvert(t, s);
}

void scene_restart_edge(struct scene *t, const struct setup *s)
{
    process_end(t->edge, 0);
    start_edge(t, s);
}

/* ---- ending ------------------------------------------------------------------------------------------- */

void scene_ini(struct scene *t, const char *ini)
{
    char path[96];
    write_file(in_dir(t, "ini", path), ini);
}

int scene_end(struct scene *t, int ms)
{
    process_signal(t->culvert, SIGTERM);
    return process_end(t->culvert, ms);
}

void scene_stop(struct scene *t)
{
    int status = scene_end(t, PATIENCE_MS);
    CU_ASSERT_EQUAL(status, 0);
    process_signal(t->edge, SIGTERM);
    CU_ASSERT_EQUAL(process_end(t->edge, PATIENCE_MS), 0);
    char *said = process_output(t->culvert);
    bool sane = !strstr(said, "Sanitizer") && !strstr(said, "runtime error");
    CU_ASSERT_TRUE(sane);
    if (status != 0 || !sane)
        fprintf(stderr, "  culvert (%s) ended with %d\n%s\n", t->transport, status, said);
    free(said);
    clear();
}

/* ---- asking ------------------------------------------------------------------------------------------- */

void answer_free(struct answer *a)
{
    free(a->head);
    free(a->trailers);
    cv_buf_free(&a->body);
    *a = (struct answer){ 0 };
}

const char *answer_text(const struct answer *a)
{
    return a->body.p ? (const char *)a->body.p : "";
}

/* A visitor sits where the edge is: a socket stays in the namespace where it was made. */
static bool reach(struct wire *wire, struct http1 *h, const char *addr)
{
    wire_enter_far(wire);
    bool ok = http1_connect(h, addr);
    wire_leave_far(wire);
    return ok;
}

static struct answer ask(struct wire *wire, const char *addr, const char *method, const char *target,
                         const char *fields, const void *body, size_t n)
{
    struct http1 h;
    struct answer a = { .end = HTTP1_CUT };
    if (reach(wire, &h, addr) &&
        http1_sendf(&h, "%s %s HTTP/1.1\r\n%sConnection: close\r\n", method, target, fields ? fields : "") &&
        (!body || http1_sendf(&h, "Content-Length: %zu\r\n", n)) && http1_send(&h, "\r\n", 2)) {
        http1_send(&h, body, n); /* an early answer counts all the same */
        if (http1_answer(&h, method)) {
            a.status = h.status;
            a.end = http1_read_all(&h, &a.body);
            a.head = cv_xstrdup(h.head);
            a.trailers = h.trailers ? cv_xstrdup(h.trailers) : NULL;
        }
    }
    cv_buf_add(&a.body, "", 1);
    a.body.n--;
    http1_close(&h);
    return a;
}

struct answer scene_visit(struct scene *t, const char *method, const char *target, const char *fields,
                          const void *body, size_t n)
{
    char *all;
    bool host = fields && strstr(fields, "Host:");
    CV_ASSERT(asprintf(&all, "%s%s", host ? "" : "Host: a.example\r\n", fields ? fields : "") > 0);
    struct answer a = ask(t->wire, t->front, method, target, all, body, n);
    free(all);
    return a;
}

struct answer scene_get(struct scene *t, const char *target)
{
    return scene_visit(t, "GET", target, NULL, NULL, 0);
}

bool scene_open(struct scene *t, struct http1 *h, const char *method, const char *target, const char *fields)
{
    return reach(t->wire, h, t->front) && http1_sendf(h, "%s %s HTTP/1.1\r\nHost: a.example\r\n%s\r\n",
                                                      method, target, fields ? fields : "");
}

struct answer scene_control(struct scene *t, const char *method, const char *target, const char *body)
{
    return ask(t->wire, t->control, method, target, "Host: control\r\n", body, body ? strlen(body) : 0);
}

bool scene_push(struct scene *t, int version, const char *rules)
{
    char target[40], applied[40], *text;
    snprintf(target, sizeof(target), "/config?version=%d", version);
    snprintf(applied, sizeof(applied), "\"applied\":%d", version);
    scene_rules(t, rules, &text);
    struct answer a = scene_control(t, "POST", target, text);
    free(text);
    bool good = a.status == 200 && strstr(answer_text(&a), applied);
    if (!good)
        fprintf(stderr, "  version %d: %s\n", version, answer_text(&a));
    answer_free(&a);
    return good;
}

bool scene_wait(struct scene *t, const char *query)
{
    char target[128];
    snprintf(target, sizeof(target), "/wait?%s", query);
    struct answer a = scene_control(t, "GET", target, NULL);
    bool came = a.status == 200;
    answer_free(&a);
    return came;
}

unsigned scene_seen(struct scene *t, const char *event)
{
    char part[64];
    unsigned n = 0;
    snprintf(part, sizeof(part), "\"event\":\"%s\"", event);
    struct answer a = scene_control(t, "GET", "/log", NULL);
    for (const char *at = answer_text(&a); (at = strstr(at, part)); at += strlen(part))
        n++;
    answer_free(&a);
    return n;
}

struct answer scene_metrics(struct scene *t, const char *target)
{
    return ask(NULL, t->metrics, "GET", target, "Host: metrics\r\n", NULL, 0);
}

struct answer scene_operate(struct scene *t, const char *method, const char *target, const char *fields)
{
    return ask(NULL, t->metrics, method, target, fields ? fields : "Host: localhost\r\n", NULL, 0);
}

double scene_metric(struct scene *t, const char *series)
{
    char begin[160];
    snprintf(begin, sizeof(begin), "\n%s ", series);
    struct answer a = scene_metrics(t, "/metrics");
    const char *at = strstr(answer_text(&a), begin);
    double value = at ? strtod(at + strlen(begin), NULL) : 0;
    answer_free(&a);
    return value;
}

bool scene_counts(struct scene *t, const char *series, double value)
{
    for (int i = 0; i < 200; i++, sleep_ms(10))
        if (scene_metric(t, series) >= value && scene_metric(t, series) <= value)
            return true;
    return false;
}
