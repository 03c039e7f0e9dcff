/* keys.c: where keys and hashes come from: files that are watched, and each team's certs address, fetched ahead of need.
 *
 * The main thread has the sources. A worker that lacks a key posts a wish; whatever comes of it is posted back to all
 * workers, so every wish is answered, and nobody waits longer than one fetch may take. */
#include "access.h"

#include "culvert/wire.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { TEAMS_MAX = 64, WORKERS_MAX = 64, WAITING_MAX = 1000, FILE_MAX_BYTES = 16 << 20 };
static const struct cv_ms watch_every = { 2000 };

struct watched {
    const char *path; /* "" for none */
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct source {
    struct source *next;
    struct access_shared *shared;
    char *team;
    bool fed, from_file;
    struct access_keys *keys;
    struct cv_get *get;
    struct cv_timer due;
    int64_t fetched_at, retry_at, refetch_at; /* refetch: for the sake of an unknown key, at the earliest */
    unsigned failures;
};

struct access_shared {
    const struct cv_self *main;
    const struct cv_self *workers[WORKERS_MAX];
    size_t n_workers;
    struct source *sources;
    size_t n_sources;
    struct watched keys_file, hashes_file;
    struct access_keys *file_keys;
    struct access_hashes *hashes;
    struct cv_timer watch;
    struct cv_series *fetched, *failed;
};

static const struct access_conf *conf_of(const struct access_shared *s)
{
    return s->main->conf;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool changed(struct watched *w)
{
    struct stat st;
    if (!*w->path || stat(w->path, &st) != 0)
        return false;
    bool same = st.st_ino == w->inode && st.st_size == w->size && st.st_mtim.tv_sec == w->changed.tv_sec &&
                st.st_mtim.tv_nsec == w->changed.tv_nsec;
    w->inode = st.st_ino;
    w->size = st.st_size;
    w->changed = st.st_mtim;
    return !same;
}

static enum cv_error read_file(const char *path, struct cv_buf *buf, struct cv_err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return cv_fail(err, CV_E_CONF, "%s: %m", path);
    size_t got;
    do {
        got = fread(cv_buf_reserve(buf, 65536), 1, 65536, f);
        buf->n += got;
    } while (got > 0 && buf->n <= FILE_MAX_BYTES);
    bool bad = ferror(f) || buf->n > FILE_MAX_BYTES;
    fclose(f);
    return bad ? cv_fail(err, CV_E_CONF, "%s: cannot be read, or is longer than %d bytes", path,
                         FILE_MAX_BYTES)
               : CV_OK;
}

static enum cv_error load_keys(struct access_shared *s, struct cv_err *err)
{
    struct cv_buf buf = { 0 };
    struct cv_err why;
    enum cv_error e = read_file(s->keys_file.path, &buf, err);
    struct access_keys *keys =
        e ? NULL : access_keys_read((struct cv_str){ (const char *)buf.p, buf.n }, &why);
    cv_buf_free(&buf);
    if (!keys)
        return e ? e : cv_fail(err, CV_E_CONF, "%s: %s", s->keys_file.path, why.text);
    access_keys_unref(s->file_keys);
    s->file_keys = keys;
    return CV_OK;
}

static enum cv_error load_hashes(struct access_shared *s, struct cv_err *err)
{
    struct cv_buf buf = { 0 };
    enum cv_error e = read_file(s->hashes_file.path, &buf, err);
    struct access_hashes *h =
        e ? NULL
          : access_hashes_read(s->hashes_file.path, (struct cv_str){ (const char *)buf.p, buf.n }, err);
    cv_buf_free(&buf);
    if (!h)
        return CV_E_CONF;
    access_hashes_unref(s->hashes);
    s->hashes = h;
    return CV_OK;
}

/* ---- news, to workers -------------------------------------------------------------------------------------- */

struct news {
    const struct cv_self *to;
    char *team; /* NULL: the hashes alone */
    bool fed;
    struct access_keys *keys;
    struct access_hashes *hashes;
    int64_t ask_after;
};

static void wake(struct access_worker *w, struct access_view *view)
{
    struct access_waiter *all = view->waiting;
    view->waiting = NULL;
    if (all)
        all->at = &all;
    view->n_waiting = 0;
    while (all) { /* one that is resumed may end others */
        struct access_waiter *first = all;
        struct cv_req *req = first->req;
        *first->at = first->next;
        if (first->next)
            first->next->at = first->at;
        first->req = NULL;
        access_resume(w->self, req);
    }
}

static void take_news(void *arg)
{
    struct news *n = arg;
    struct access_worker *w = n->to->local; /* NULL: the worker has stopped */
    struct access_view *view = w && n->team ? access_view_of(w, cv_str_of(n->team), n->fed) : NULL;
    if (w) {
        access_hashes_unref(w->hashes);
        w->hashes = access_hashes_ref(n->hashes);
    }
    if (view) {
        access_keys_unref(view->keys);
        view->keys = access_keys_ref(n->keys);
        view->ask_after = n->ask_after;
        view->asked = false;
        wake(w, view);
    }
    access_keys_unref(n->keys);
    access_hashes_unref(n->hashes);
    free(n->team);
    free(n);
}

static void tell(const struct access_shared *s, const struct cv_self *worker, const struct source *source)
{
    struct news *n = cv_xcalloc(1, sizeof(*n));
    n->to = worker;
    n->hashes = access_hashes_ref(s->hashes);
    if (source) {
        n->team = cv_xstrdup(source->team);
        n->fed = source->fed;
        n->keys = access_keys_ref(source->keys);
        n->ask_after = later(source->retry_at, source->keys ? source->refetch_at : 0);
    }
    cv_post(worker->worker, take_news, n);
}

/* Without the keys of the ini's own team everything is refused that the section is about. */
static void tell_probes(const struct access_shared *s, const struct source *source)
{
    const struct access_conf *c = conf_of(s);
    if (c->assertion == ACCESS_REQUIRED && strcmp(source->team, c->team) == 0)
        cv_not_ready(s->main, source->keys ? NULL : "the keys of the Access team cannot be had");
}

static void tell_all(const struct access_shared *s, const struct source *source)
{
    for (size_t i = 0; i < s->n_workers; i++)
        tell(s, s->workers[i], source);
    if (!source)
        return;
    struct cv_str team = cv_str_of(source->team);
    tell_probes(s, source);
    cv_gauge_set(cv_series(s->main, ACCESS_METRIC_KEYS, &team), source->keys ? (int64_t)source->keys->n : 0);
}

/* ---- fetching ---------------------------------------------------------------------------------------------- */

static void fetch(struct source *);

static void on_due(struct cv_timer *timer)
{
    struct source *source = CV_OWNER(timer, struct source, due);
    if (!source->get)
        fetch(source);
}

/* Keys that a team has withdrawn must not live on for ever only because their address does not answer. */
static void drop_stale(struct source *source, int64_t now)
{
    if (!source->keys || now - source->fetched_at <= conf_of(source->shared)->stale.ms)
        return;
    access_keys_unref(source->keys);
    source->keys = NULL;
}

static void fetch_failed(struct source *source, const char *why)
{
    const struct access_shared *s = source->shared;
    int64_t now = cv_now(s->main);
    struct cv_ms wait = { INT64_C(1000) << (source->failures < 6 ? source->failures : 6) };
    source->failures++;
    source->retry_at = now + wait.ms;
    cv_add(s->failed, 1);
    drop_stale(source, now);
    cv_log(s->main, source->keys ? CV_WARN : CV_ERROR,
           CV_FIELDS(CV_S("team", cv_str_of(source->team)), CV_S("error", cv_str_of(why))),
           source->keys ? "Access keys could not be refreshed; those from before are used on"
                        : "Access keys are not available; what must be checked with them is answered 503");
    cv_timer_set(s->main, &source->due, wait);
}

static void fetch_ended(void *arg, int status, struct cv_str body, const char *why)
{
    struct source *source = arg;
    const struct access_shared *s = source->shared;
    struct cv_err err = { "" };
    source->get = NULL;
    struct access_keys *keys = status == 200 ? access_keys_read(body, &err) : NULL;
    if (keys) {
        access_keys_unref(source->keys);
        source->keys = keys;
        source->fetched_at = cv_now(s->main);
        source->failures = 0;
        source->retry_at = 0;
        cv_add(s->fetched, 1);
        cv_timer_set(s->main, &source->due, conf_of(s)->refresh);
    } else {
        if (status && status != 200)
            cv_fail(&err, CV_E_PROTO, "answered with status %d", status);
        fetch_failed(source, status ? err.text : why);
    }
    tell_all(s, source);
}

static bool is_configured(const struct access_conf *c, const char *team)
{
    return !*c->team || strcmp(c->team, team) == 0;
}

static void fetch(struct source *source)
{
    const struct access_conf *c = conf_of(source->shared);
    char issuer[ACCESS_ISSUER_MAX], url[ACCESS_ISSUER_MAX + 32];
    struct cv_str base = access_issuer(cv_str_of(source->team), source->fed, issuer);
    snprintf(url, sizeof(url), CV_STR_FMT "/cdn-cgi/access/certs", CV_STR_ARG(base));
    bool own = *c->certs_url && is_configured(c, source->team);
    struct cv_https order = { .url = own ? c->certs_url : url,
                              .ca_file = own && *c->certs_ca ? c->certs_ca : NULL,
                              .limit = c->fetch_limit,
                              .max = ACCESS_JWKS_BYTES };
    cv_timer_clear(&source->due);
    source->get = cv_https_get(source->shared->main, &order, fetch_ended, source);
}

static struct source *source_of(struct access_shared *s, const char *team, bool fed)
{
    for (struct source *source = s->sources; source; source = source->next)
        if (source->fed == fed && strcmp(source->team, team) == 0)
            return source;
    if (s->n_sources == TEAMS_MAX)
        return NULL;
    struct source *source = cv_xcalloc(1, sizeof(*source));
    source->shared = s;
    source->team = cv_xstrdup(team);
    source->fed = fed;
    source->due.fire = on_due;
    source->from_file = s->file_keys && is_configured(conf_of(s), team);
    source->keys = source->from_file ? access_keys_ref(s->file_keys) : NULL;
    source->next = s->sources;
    s->sources = source;
    s->n_sources++;
    return source;
}

/* ---- the watch --------------------------------------------------------------------------------------------- */

static void reread_keys(struct access_shared *s)
{
    struct cv_err err;
    if (!changed(&s->keys_file))
        return;
    if (load_keys(s, &err)) {
        cv_log(s->main, CV_ERROR, CV_FIELDS(CV_S("error", cv_str_of(err.text))),
               "Access keys not read anew; those from before are used on");
        return;
    }
    for (struct source *source = s->sources; source; source = source->next) {
        if (!source->from_file)
            continue;
        access_keys_unref(source->keys);
        source->keys = access_keys_ref(s->file_keys);
        tell_all(s, source);
    }
}

static void reread_hashes(struct access_shared *s)
{
    struct cv_err err;
    if (!changed(&s->hashes_file))
        return;
    if (load_hashes(s, &err)) {
        cv_log(s->main, CV_ERROR, CV_FIELDS(CV_S("error", cv_str_of(err.text))),
               "API keys not read anew; those from before are used on");
        return;
    }
    cv_log(s->main, CV_INFO, CV_FIELDS(CV_I("keys", (int64_t)s->hashes->n)), "API keys read anew");
    tell_all(s, NULL);
}

static void on_watch(struct cv_timer *timer)
{
    struct access_shared *s = CV_OWNER(timer, struct access_shared, watch);
    reread_keys(s);
    reread_hashes(s);
    cv_timer_set(s->main, &s->watch, watch_every);
}

/* ---- wishes, to the main thread ---------------------------------------------------------------------------- */

struct wish {
    const struct cv_self *main, *worker;
    char *team; /* NULL: a worker has started */
    bool fed;
};

static void answer_wish(struct access_shared *s, const struct wish *w)
{
    struct source *source = source_of(s, w->team, w->fed);
    int64_t now = cv_now(s->main);
    if (!source) {
        tell(s, w->worker,
             &(const struct source){
                 .team = w->team, .fed = w->fed, .retry_at = now + conf_of(s)->refetch.ms });
        return;
    }
    if (source->get) /* its end answers all */
        return;
    if (source->from_file)
        reread_keys(s);
    bool early = now < (source->keys ? source->refetch_at : source->retry_at);
    if (source->keys)
        source->refetch_at = later(source->refetch_at, early ? 0 : now + conf_of(s)->refetch.ms);
    if (source->from_file || early)
        tell(s, w->worker, source);
    else
        fetch(source);
}

static void take_wish(void *arg)
{
    struct wish *w = arg;
    struct access_shared *s = w->main->shared; /* NULL: this is over */
    if (s && w->team) {
        answer_wish(s, w);
    } else if (s && s->n_workers < WORKERS_MAX) {
        s->workers[s->n_workers++] = w->worker;
        tell(s, w->worker, NULL);
        for (const struct source *source = s->sources; source; source = source->next)
            if (!source->get) /* else its end tells */
                tell(s, w->worker, source);
    }
    free(w->team);
    free(w);
}

static void wish(const struct access_worker *w, const struct access_view *view)
{
    const struct access_shared *s = w->self->shared;
    struct wish *wish = cv_xcalloc(1, sizeof(*wish));
    wish->main = s->main;
    wish->worker = w->self;
    wish->team = view ? cv_xstrdup(view->team) : NULL;
    wish->fed = view && view->fed;
    cv_post(s->main->worker, take_wish, wish);
}

/* ---- a worker's views -------------------------------------------------------------------------------------- */

struct access_view *access_view_of(struct access_worker *w, struct cv_str team, bool fed)
{
    for (struct access_view *view = w->views; view; view = view->next)
        if (view->fed == fed && cv_str_eq(cv_str_of(view->team), team))
            return view;
    if (w->n_views == TEAMS_MAX)
        return NULL;
    struct access_view *view = cv_xcalloc(1, sizeof(*view));
    view->team = cv_xmemdup0(team.p, team.n);
    view->fed = fed;
    view->next = w->views;
    w->views = view;
    w->n_views++;
    return view;
}

bool access_wait(struct access_worker *w, struct access_view *view, struct access_waiter *waiter,
                 struct cv_req *req)
{
    if (view->n_waiting == WAITING_MAX || (!view->asked && cv_now(w->self) < view->ask_after))
        return false;
    if (!view->asked)
        wish(w, view);
    view->asked = true;
    *waiter = (struct access_waiter){ .next = view->waiting, .at = &view->waiting, .req = req };
    if (view->waiting)
        view->waiting->at = &waiter->next;
    view->waiting = waiter;
    view->n_waiting++;
    return true;
}

void access_wait_over(struct access_worker *w, struct access_view *view, struct access_waiter *waiter)
{
    (void)w;
    if (!waiter->req)
        return;
    *waiter->at = waiter->next;
    if (waiter->next)
        waiter->next->at = waiter->at;
    waiter->req = NULL;
    if (view->n_waiting > 0)
        view->n_waiting--;
}

void access_views_start(struct access_worker *w)
{
    const struct access_shared *s = w->self->shared;
    w->hashes = access_hashes_ref(s->hashes); /* the main thread waits while workers start */
    wish(w, NULL);
}

void access_views_stop(struct access_worker *w)
{
    while (w->views) {
        struct access_view *view = w->views;
        w->views = view->next;
        access_keys_unref(view->keys);
        free(view->team);
        free(view);
    }
    access_hashes_unref(w->hashes);
}

/* ---- the process's beginning and end ----------------------------------------------------------------------- */

enum cv_error access_sources_init(struct cv_self *self, struct cv_err *err)
{
    const struct access_conf *c = self->conf;
    struct access_shared *s = cv_xcalloc(1, sizeof(*s));
    self->shared = s;
    s->main = self;
    s->keys_file.path = c->keys_file;
    s->hashes_file.path = c->bearer == ACCESS_BEARER_KNOWN ? c->bearer_keys : "";
    s->fetched = cv_series(self, ACCESS_METRIC_FETCHES, (const struct cv_str[]){ CV_STR("ok") });
    s->failed = cv_series(self, ACCESS_METRIC_FETCHES, (const struct cv_str[]){ CV_STR("failed") });
    changed(&s->keys_file);
    changed(&s->hashes_file);
    enum cv_error e = *s->keys_file.path ? load_keys(s, err) : CV_OK;
    if (!e && *s->hashes_file.path)
        e = load_hashes(s, err);
    if (e) {
        access_sources_fini(self);
        return e;
    }
    if (c->assertion != ACCESS_OFF) {
        struct source *source = source_of(s, c->team, c->fedramp);
        tell_all(s, source); /* no worker yet: probes and metrics */
        if (!source->from_file)
            fetch(source);
    }
    s->watch.fire = on_watch;
    if (*s->keys_file.path || *s->hashes_file.path)
        cv_timer_set(self, &s->watch, watch_every);
    return CV_OK;
}

void access_sources_fini(struct cv_self *self)
{
    struct access_shared *s = self->shared;
    if (!s)
        return;
    self->shared = NULL;
    cv_not_ready(self, NULL);
    cv_timer_clear(&s->watch);
    while (s->sources) {
        struct source *source = s->sources;
        s->sources = source->next;
        cv_https_cancel(source->get);
        cv_timer_clear(&source->due);
        access_keys_unref(source->keys);
        free(source->team);
        free(source);
    }
    access_keys_unref(s->file_keys);
    access_hashes_unref(s->hashes);
    free(s);
}
