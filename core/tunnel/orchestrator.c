/* orchestrator.c: applies configurations one after the other and answers only when every worker follows them. */
#include "tunnel/orchestrator.h"
#include "tunnel/tunnel.h"

#include "culvert/operate.h"
#include "culvert/wire.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "request/gojson.h"
#include "request/local.h"
#include "request/tally.h"
#include "tunnel/failover.h"
#include "tunnel/last_config.h"

enum { DIFF_BYTES = 2000 };

struct update {
    struct update *next;
    int32_t version;
    struct cv_str config; /* owned */
    config_done_fn *done;
    void *arg;
};

static struct orchestrator {
    enum tunnel_id tunnel;
    struct cv_worker *main;
    struct cv_worker *const *workers;
    size_t n_workers;
    struct config_versions versions;
    struct cv_str document; /* that the rules in force were read from, owned; {NULL, 0}: none */
    bool has_rules;
    struct update *first, **last; /* the first is under way while waiting > 0 */
    struct update *under_way;     /* applied, and on its way to the workers */
    size_t waiting;               /* workers that have not yet the newest rules */
    char *keep;                   /* file for the configuration applied last; NULL: none */
    bool keep_failed;             /* and that has been said */
} all[TUNNELS];
static struct orchestrator *const first = &all[TUNNEL_FIRST];

static void run_queue(struct orchestrator *);

/* ---- to the workers ------------------------------------------------------------------------------------ */

struct delivery {
    struct orchestrator *from;
    struct cv_worker *worker, *main;
    struct route_table *table;
};

static void run_delivered(void *arg)
{
    struct orchestrator *o = arg;
    if (o->waiting > 0 && --o->waiting == 0)
        run_queue(o);
}

static void run_delivery(void *arg)
{
    struct delivery *d = arg;
    if (d->worker->stock)
        requests_set_routes(d->worker, d->from->tunnel, d->table);
    else
        route_table_unref(d->table); /* the worker has been stopped */
    cv_post(d->main, run_delivered, d->from);
    free(d);
}

/* Origins' certificates are checked on workers, which read no files. */
static void read_roots(const struct route_table *table)
{
    for (size_t i = 0; table && i < table->n; i++)
        if (table->rules[i].target.tls && !table->rules[i].settings.no_tls_verify)
            cv_trust_store();
}

static void publish(struct orchestrator *o)
{
    read_roots(o->versions.table);
    o->waiting += o->n_workers;
    tally_rules(o->versions.table);
    for (size_t i = 0; i < o->n_workers; i++) {
        struct delivery *d = cv_xmalloc(sizeof(*d));
        *d = (struct delivery){ o, o->workers[i], o->main, route_table_ref(o->versions.table) };
        cv_post(d->worker, run_delivery, d);
    }
}

void orchestrator_publish(void)
{
    for (struct orchestrator *o = all; o < all + TUNNELS; o++)
        if (o->main)
            publish(o);
}

static void set_document(struct orchestrator *o, struct cv_str document)
{
    free((char *)o->document.p);
    o->document = (struct cv_str){ cv_xmemdup0(document.p, document.n), document.n };
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static const char *tunnel_id(void)
{
    struct cv_status status;
    cv_status(&status);
    return status.tunnel_id;
}

static void keep(struct orchestrator *o, const struct update *u)
{
    struct cv_err err;
    if (!o->keep)
        return;
    bool failed = last_config_write(o->keep, tunnel_id(), u->version, u->config, &err) != CV_OK;
    if (failed && !o->keep_failed)
        log_line(CV_WARN, NULL, "last_config: %s; a restart will have to wait for the edge's configuration",
                 err.text);
    o->keep_failed = failed;
}

static enum cv_error use_kept(int32_t version, struct cv_str document, struct cv_err *err)
{
    struct reason why;
    if (config_update(&first->versions, version, document, local_config(), &why) != CONFIG_APPLIED)
        return cv_fail(err, CV_E_CONF, "%s: %s", first->keep, why.text);
    set_document(first, document);
    first->has_rules = true;
    cv_gauge_set(metric(M_CONFIG_VERSION, NULL), version);
    return CV_OK;
}

enum cv_error orchestrator_keep(const char *file, struct cv_err *err)
{
    struct cv_buf document = { 0 };
    int32_t version;
    free(first->keep);
    first->keep = cv_xstrdup(file);
    enum cv_error e = last_config_read(file, tunnel_id(), &version, &document, err);
    if (!e && version > first->versions.applied)
        e = use_kept(version, (struct cv_str){ (const char *)document.p, document.n }, err);
    cv_buf_free(&document);
    return e;
}

/* ---- one update ---------------------------------------------------------------------------------------- */

static void answer(const struct orchestrator *o, const struct update *u, struct cv_str error)
{
    struct config_outcome outcome = { o->versions.applied, error };
    u->done(u->arg, &outcome);
}

/* The edge does not wait for the disk. */
static void answer_applied(struct orchestrator *o, const struct update *u)
{
    answer(o, u, (struct cv_str){ NULL, 0 });
    keep(o, u);
}

static void drop_first(struct orchestrator *o) /* answered, or nobody is there to answer */
{
    struct update *u = o->first;
    o->first = u->next;
    if (!o->first)
        o->last = &o->first;
    free((char *)u->config.p);
    free(u);
}

static void log_old(const struct orchestrator *o, const struct update *u)
{
    log_tunnel(o->tunnel, CV_DEBUG,
               CV_FIELDS(CV_I("current_version", o->versions.applied), CV_I("received_version", u->version)),
               "Current version is equal or newer than received version");
}

static void log_refusal(const struct orchestrator *o, const struct update *u, enum config_verdict verdict,
                        const struct reason *why)
{
    const struct cv_str error = { why->text, why->n };
    log_tunnel(o->tunnel, CV_ERROR,
               CV_FIELDS(CV_S("error", error), CV_I("version", u->version), CV_S("config", u->config)),
               verdict == CONFIG_BAD ? "Failed to deserialize new configuration"
                                     : "Failed to update ingress");
}

static void log_changes(const struct orchestrator *o, const struct route_table *before)
{
    struct cv_buf diff = { 0 };
    config_write_diff(&diff, before, o->versions.table, DIFF_BYTES);
    struct cv_str changes = { (const char *)diff.p, diff.n };
    if (changes.n)
        log_tunnel(o->tunnel, CV_INFO,
                   CV_FIELDS(CV_I("version", o->versions.applied), CV_S("changes", changes)),
                   "Rules changed");
    cv_buf_free(&diff);
}

static void log_applied(const struct orchestrator *o, const struct update *u,
                        const struct route_table *before)
{
    log_tunnel(o->tunnel, CV_INFO, CV_FIELDS(CV_I("version", u->version), CV_S("config", u->config)),
               "Updated to new configuration");
    log_changes(o, before);
}

static void count_update(enum config_verdict verdict, unsigned n)
{
    static const char *const results[] = { [CONFIG_IGNORED] = "old",
                                           [CONFIG_APPLIED] = "applied",
                                           [CONFIG_BAD] = "refused",
                                           [CONFIG_NOT_STARTED] = "refused" };
    cv_add(METRIC(M_CULVERT_CONFIG_UPDATES, cv_str_of(results[verdict])), n);
}

static void show_applied(const struct orchestrator *o)
{
    if (o != first)
        return;
    cv_gauge_set(metric(M_CONFIG_VERSION, NULL), o->versions.applied);
    cv_gauge_set(metric(M_CULVERT_CONFIG_TIME, NULL), time(NULL));
}

/* True when the workers have to be waited for. */
static bool apply(struct orchestrator *o, const struct update *u)
{
    struct reason why;
    reason_clear(&why);
    struct route_table *before = route_table_ref(o->versions.table);
    enum config_verdict verdict = config_update(&o->versions, u->version, u->config, local_config(), &why);
    count_update(verdict, 1);
    if (verdict == CONFIG_APPLIED) {
        o->has_rules = true;
        set_document(o, u->config);
        log_applied(o, u, before);
        show_applied(o);
        publish(o);
        if (o->waiting == 0)
            answer_applied(o, u);
    } else if (verdict == CONFIG_IGNORED) {
        log_old(o, u);
        answer(o, u, (struct cv_str){ NULL, 0 });
    } else {
        log_refusal(o, u, verdict, &why);
        answer(o, u, (struct cv_str){ why.text, why.n });
    }
    route_table_unref(before);
    return verdict == CONFIG_APPLIED && o->waiting > 0;
}

/* ---- the same rules under other local settings ----------------------------------------------------------- */

static struct route_table *read_again(const struct orchestrator *o)
{
    struct route_table *table = NULL;
    struct reason why;
    if (!o->document.p)
        return config_none(local_config());
    if (config_reread(o->document, local_config(), &table, &why) != CV_OK)
        log_line(CV_ERROR, CV_FIELDS(CV_S("error", cv_str_of(why.text))), "The rules stay as they are");
    return table;
}

static void reread(struct orchestrator *o)
{
    struct route_table *before = o->versions.table, *table = read_again(o);
    if (!table)
        return;
    o->versions.table = table;
    log_changes(o, before);
    for (const struct cv_rule *rule = table->rules; rule < table->rules + table->n; rule++)
        if (rule->barred.n)
            log_line(CV_WARN,
                     CV_FIELDS(CV_I("ingressRule", rule->index), CV_S("originService", rule->service)),
                     "Requests of this rule are refused from now on: " CV_STR_FMT, CV_STR_ARG(rule->barred));
    route_table_unref(before);
    publish(o);
}

void orchestrator_reread(void)
{
    for (struct orchestrator *o = all; o < all + TUNNELS; o++)
        if (o->main)
            reread(o);
}

/* ---- the queue ----------------------------------------------------------------------------------------- */

static void finish_under_way(struct orchestrator *o)
{
    if (!o->under_way)
        return;
    answer_applied(o, o->under_way);
    o->under_way = NULL;
    drop_first(o);
}

/* Called when the workers have all they were sent. */
static void run_queue(struct orchestrator *o)
{
    finish_under_way(o);
    while (o->first) {
        if (apply(o, o->first)) {
            o->under_way = o->first;
            return;
        }
        drop_first(o);
    }
}

void orchestrator_update(enum tunnel_id tunnel, int32_t version, struct cv_str config, config_done_fn *done,
                         void *arg)
{
    struct orchestrator *o = &all[tunnel];
    if (!o->main) {
        done(arg, NULL);
        return;
    }
    struct update *u = cv_xmalloc(sizeof(*u));
    *u = (struct update){ NULL, version, { cv_xmemdup0(config.p, config.n), config.n }, done, arg };
    *o->last = u;
    o->last = &u->next;
    if (o->waiting == 0)
        run_queue(o);
}

int32_t orchestrator_version(void)
{
    return first->versions.applied;
}

bool orchestrator_has_rules(void)
{
    return first->has_rules || all[TUNNEL_SECOND].has_rules;
}

void cv_rules_each(void (*fn)(void *arg, const struct cv_rule *), void *arg)
{
    const struct route_table *table = first->versions.table;
    for (size_t i = 0; table && i < table->n; i++)
        fn(arg, &table->rules[i]);
}

/* ---- life, and the rules before the first update -------------------------------------------------------- */

static void begin(struct orchestrator *o, enum tunnel_id tunnel, struct cv_worker *main,
                  struct cv_worker *const *workers, size_t n_workers)
{
    *o = (struct orchestrator){ .tunnel = tunnel, .main = main, .workers = workers, .n_workers = n_workers };
    o->last = &o->first;
    config_versions_init(&o->versions, local_config());
}

void orchestrator_setup(struct cv_worker *main, struct cv_worker *const *workers, size_t n_workers)
{
    begin(first, TUNNEL_FIRST, main, workers, n_workers);
    for (enum config_verdict v = CONFIG_IGNORED; v <= CONFIG_NOT_STARTED; v++)
        count_update(v, 0); /* so that the first of each is an increase */
}

void orchestrator_add_second(void)
{
    struct orchestrator *o = &all[TUNNEL_SECOND];
    begin(o, TUNNEL_SECOND, first->main, first->workers, first->n_workers);
    if (!first->document.p)
        return;
    route_table_unref(o->versions.table);
    o->versions.table = route_table_ref(first->versions.table);
    o->has_rules = first->has_rules;
    set_document(o, first->document);
}

static void end(struct orchestrator *o)
{
    while (o->first) {
        o->first->done(o->first->arg, NULL);
        drop_first(o);
    }
    o->under_way = NULL;
    config_versions_free(&o->versions);
    free((char *)o->document.p);
    o->document = (struct cv_str){ NULL, 0 };
    free(o->keep);
    o->keep = NULL;
    o->waiting = 0;
    o->has_rules = false;
    o->main = NULL;
}

void orchestrator_free(void)
{
    for (struct orchestrator *o = all; o < all + TUNNELS; o++)
        if (o->main)
            end(o);
}

static enum cv_error use_document(struct cv_str document, const char *option, struct cv_err *err)
{
    struct reason why;
    struct route_table *table;
    bool started;
    reason_clear(&why);
    if (config_read(document, local_config(), &table, &started, &why))
        return cv_fail(err, CV_E_CONF, "%s: %s", option, why.text);
    route_table_unref(first->versions.table);
    first->versions.table = table;
    set_document(first, document);
    first->has_rules = true;
    return CV_OK;
}

enum cv_error orchestrator_local_service(const char *url, const struct tunnel_setting *settings, size_t n,
                                         struct cv_err *err)
{
    struct cv_buf b = { 0 };
    gojson_write(&b, "{\"ingress\":[{\"service\":");
    gojson_write_str(&b, cv_str_of(url));
    gojson_write(&b, "}],\"originRequest\":{");
    for (size_t i = 0; i < n; i++) {
        gojson_write(&b, "%s\"%s\":", i ? "," : "", settings[i].key);
        if (settings[i].text)
            gojson_write_str(&b, cv_str_of(settings[i].value));
        else
            cv_buf_add(&b, settings[i].value, strlen(settings[i].value));
    }
    gojson_write(&b, "}}");
    enum cv_error e = use_document((struct cv_str){ (const char *)b.p, b.n }, "url", err);
    cv_buf_free(&b);
    return e;
}

enum cv_error orchestrator_local_file(const char *name, struct cv_err *err)
{
    FILE *f = fopen(name, "re");
    if (!f)
        return cv_fail(err, CV_E_CONF, "ingress_file: unable to read %s: %m", name);
    struct cv_buf b = { 0 };
    size_t n;
    do {
        n = fread(cv_buf_reserve(&b, 4096), 1, 4096, f);
        b.n += n;
    } while (n > 0 && b.n <= CONFIG_BYTES_MAX);
    fclose(f);
    enum cv_error e = use_document((struct cv_str){ (const char *)b.p, b.n }, "ingress_file", err);
    cv_buf_free(&b);
    return e;
}

char *orchestrator_local_json(const struct tunnel_setting *flags, size_t n)
{
    struct cv_buf b = { 0 };
    struct config_flag *told = cv_xcalloc(n + 1, sizeof(*told));
    for (size_t i = 0; i < n; i++)
        told[i] = (struct config_flag){ cv_str_of(flags[i].key), cv_str_of(flags[i].value) };
    config_write_local(&b, first->versions.table, told, n);
    free(told);
    char *text = cv_xmemdup0(b.p, b.n);
    cv_buf_free(&b);
    return text;
}

char *cv_config_json(void)
{
    struct cv_buf b = { 0 };
    config_write(&b, first->versions.table, first->versions.applied);
    char *text = cv_xmemdup0(b.p, b.n);
    cv_buf_free(&b);
    return text;
}
