/* doctor.c: culvert doctor: the checks in the order in which a start would need them. */
#include "doctor/doctor.h"

#include <culvert/operate.h>

#include <string.h>

static const char no_tunnel[] = "No tunnel can come up: mend what is marked.";

/* Only what connects or has a say in it: nobody shall find a second metrics listener here. */
static void keep_edges_and_gates(struct generation *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct cv_module *m = g->modules[i].module;
        if ((m->edge && m->edge->protocol) || m->gate)
            g->modules[n++] = g->modules[i];
        else
            conf_free(g->modules[i].conf);
    }
    g->n = n;
}

static void check_configuration(struct report *report, const struct command *c, const struct generation *g,
                                const struct problems *errors, const struct problems *warnings)
{
    for (size_t i = 0; i < errors->n; i++)
        report_add(report, "configuration", VERDICT_BAD, NULL, "%s", errors->v[i]);
    for (size_t i = 0; i < warnings->n; i++)
        report_add(report, "configuration", VERDICT_WARN, NULL, "%s", warnings->v[i]);
    if (g)
        report_add(report, "configuration", VERDICT_GOOD, NULL, "%s, %zu modules", c->ini ? c->ini : "no ini",
                   g->n);
}

/* What start-up would do up to the first dial; the text says what it stumbled over. */
static bool prepare(struct report *report, struct runtime *r, bool *prepared)
{
    struct cv_err err = { "" };
    enum cv_error e = runtime_prepare(r, &err);
    *prepared = !e;
    if (!e)
        e = threads_init(r, &err);
    if (!e)
        e = threads_start(r, &err);
    if (e)
        report_add(report, "start", VERDICT_BAD, NULL, "%s", err.text);
    return !e;
}

static unsigned check_network(struct report *report, struct runtime *r, const char *region)
{
    bool prepared = false, admitted = false;
    unsigned reached = 0;
    threads_make(r);
    if (prepare(report, r, &prepared)) {
        admitted = check_gates(report, r);
        reached = check_edge(report, r, region);
        check_origins(report, r);
    }
    runtime_take_down(r, prepared);
    return admitted ? reached : 0;
}

static const char *conclude(unsigned reached)
{
    static const char *const sentences[] = { no_tunnel, "A tunnel can come up, over QUIC alone.",
                                             "A tunnel can come up, over HTTP/2 alone.",
                                             "A tunnel can come up, over QUIC and over HTTP/2." };
    return sentences[reached];
}

static unsigned examine(struct report *report, const struct command *c, struct generation *g)
{
    char region[REGION_MAX] = "";
    bool has_token = check_token(report, g, region);
    check_secret_files(report, g, c->ini);
    check_clock(report);
    check_roots(report);
    check_proxies(report);
    check_limits(report);
    check_udp_buffers(report, g);
    if (!has_token) {
        report_add(report, "edge", VERDICT_SKIPPED, NULL, "without a token there is nothing to connect");
        return 0;
    }
    keep_edges_and_gates(g);
    struct runtime r = { .command = c, .g = g };
    return check_network(report, &r, region);
}

int doctor_run(const struct command *c)
{
    struct report report = { NULL, 0 };
    struct problems errors = { .n = 0 }, warnings = { .n = 0 };
    struct generation *g = generation_new(c, &errors, &warnings);
    cv_log_level_set(CV_FATAL); /* what would be logged is in the report */
    check_configuration(&report, c, g, &errors, &warnings);
    unsigned reached = g ? examine(&report, c, g) : 0;
    (c->json ? report_json : report_text)(&report, reached != 0, conclude(reached), stdout);
    report_free(&report);
    problems_free(&errors);
    problems_free(&warnings);
    generation_free(g);
    return reached ? 0 : 1;
}
