/* lifecycle.c: from a checked configuration to a running tunnel, signals, and the end. */
#include "boot/runtime.h"

#include "culvert/operate.h"

#include "request/local.h"
#include "request/tally.h"
#include "tunnel/tunnel.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { EXIT_USAGE = 255 };

/* ---- what the log says first (docs/protocol.md §4.1) --------------------------------------------------- */

static void own_checksum(char hex[65])
{
    snprintf(hex, 65, "unknown");
    FILE *f = fopen("/proc/self/exe", "re");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char buf[16384], sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (f && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        for (size_t got; (got = fread(buf, 1, sizeof(buf), f)) > 0;)
            EVP_DigestUpdate(ctx, buf, got);
        if (!ferror(f))
            EVP_DigestFinal_ex(ctx, sum, &n);
    }
    for (unsigned i = 0; i < n && i < 32; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", sum[i]);
    EVP_MD_CTX_free(ctx);
    if (f)
        fclose(f);
}

static void log_start(void)
{
    char sum[65];
    own_checksum(sum);
    struct utsname u;
    uname(&u);
    log_line(CV_INFO, NULL, "Version %s (Checksum %s)", CV_VERSION, sum);
    log_line(CV_INFO, NULL, "OS: %s %s, Arch: %s, OpenSSL: %s, libevent: %s", u.sysname, u.release, u.machine,
             OpenSSL_version(OPENSSL_VERSION_STRING), event_get_version());
    char *environment = environment_settings();
    if (environment)
        log_line(CV_INFO, NULL, "Environmental variables map[%s]", environment);
    free(environment);
}

static void log_warnings(const struct problems *warnings)
{
    for (size_t i = 0; i < warnings->n; i++)
        log_line(CV_WARN, NULL, "%s", warnings->v[i]);
}

/* ---- signals -------------------------------------------------------------------------------------------- */

/* A second signal has the system's way: it kills, also where the process began with it ignored. */
static void on_end(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct runtime *r = arg;
    event_del(r->signals[0]);
    event_del(r->signals[1]);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    tunnel_shutdown(number == SIGINT ? "interrupt" : "terminated");
}

void hangups_block(bool block)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void run_reload(void *arg)
{
    struct runtime *r = arg;
    r->hung_up = false;
    reload(r, NULL);
}

/* Many that come at once are one. */
static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    (void)number, (void)what;
    struct runtime *r = arg;
    if (!r->hung_up)
        cv_post(r->main, run_reload, r);
    r->hung_up = true;
}

/* Takes no new requests, finishes those under way, and stays: for whoever wants to look before the end. */
static void on_user1(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    (void)arg;
    tunnel_drain();
}

static void on_user2(evutil_socket_t number, short what, void *arg)
{
    (void)number, (void)what;
    struct runtime *r = arg;
    const struct log_conf *conf = generation_core(r->g, CORE_LOG);
    r->verbose = !r->verbose;
    log_line(CV_INFO, NULL, "Log level is %s now", r->verbose ? "debug" : "the configured one");
    cv_log_level_set(r->verbose ? CV_DEBUG : (enum cv_level)conf->level);
}

static void run_until_end(struct runtime *r)
{
    static const struct {
        int number;
        event_callback_fn fn;
    } handled[SIGNALS] = { { SIGTERM, on_end },
                           { SIGINT, on_end },
                           { SIGHUP, on_hangup },
                           { SIGUSR1, on_user1 },
                           { SIGUSR2, on_user2 } };
    for (size_t i = 0; i < SIGNALS; i++) {
        r->signals[i] = evsignal_new(r->main->base, handled[i].number, handled[i].fn, r);
        CV_ASSERT(r->signals[i] && event_add(r->signals[i], NULL) == 0);
    }
    const struct culvert_conf *c = generation_core(r->g, CORE_CULVERT);
    hangups_block(false);
    operate_begin(r);
    pulse_start(r->main, r->workers, r->n_workers, c->stuck_after);
    trim_later(r);
    worker_run(r->main);
    pulse_stop();
    operate_begin(NULL);
    hangups_block(true);
    for (size_t i = 0; i < SIGNALS; i++)
        event_free(r->signals[i]);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static void tunnel_ended(void *arg, int status)
{
    struct runtime *r = arg;
    r->status = status;
    worker_quit(r->main);
}

enum cv_error runtime_prepare(struct runtime *r, struct cv_err *err)
{
    local_setup(generation_core(r->g, CORE_ORIGINS), generation_core(r->g, CORE_REWRITE));
    struct tunnel_setup setup = {
        .conf = generation_core(r->g, CORE_TUNNEL),
        .failover = generation_core(r->g, CORE_FAILOVER),
        .main = r->main,
        .workers = r->workers,
        .n_workers = r->n_workers,
        .edges = r->edges,
        .n_edges = r->n_edges,
        .gates = r->gates,
        .n_gates = r->n_gates,
        .origin_request = r->command->origin_request,
        .n_origin_request = r->command->n_origin_request,
        .flags = r->command->told,
        .n_flags = r->command->n_told,
        .settings = r->command->settings,
        .ended = tunnel_ended,
        .arg = r,
    };
    return tunnel_prepare(&setup, err);
}

static enum cv_error go_up(struct runtime *r, struct cv_err *err)
{
    enum cv_error error = threads_init(r, err);
    if (!error)
        error = threads_start(r, err);
    return error ? error : tunnel_start(err);
}

void runtime_take_down(struct runtime *r, bool prepared)
{
    threads_stop(r);
    cv_timer_clear(&r->sweep);
    cv_timer_clear(&r->trim);
    for (unsigned id = INSTANCES_MAX; id-- > 0;)
        if (r->places[id].state != PLACE_FREE)
            instance_fini(r, &r->instances[id]);
    if (prepared)
        tunnel_free();
    local_free();
    worker_free(r->main);
    tally_free();
    chains_free(r, 0);
    cells_free();
    metrics_free();
    reload_free(r);
    free(r->views);
}

static void run(struct runtime *r, const struct problems *warnings)
{
    struct cv_err err = { "" };
    enum cv_error error = runtime_prepare(r, &err);
    bool prepared = error == CV_OK;
    if (error == CV_E_DENIED) { /* the token: cloudflared's words and no others */
        fprintf(stderr, "%s\n", err.text);
        r->status = EXIT_USAGE;
        runtime_take_down(r, false);
        return;
    }
    log_start();
    log_warnings(&r->command->warnings);
    log_warnings(warnings);
    if (prepared)
        error = go_up(r, &err);
    if (error) {
        log_line(CV_ERROR, CV_FIELDS(CV_S("error", cv_str_of(err.text))), "Couldn't start tunnel");
        r->status = 1;
    } else {
        run_until_end(r);
    }
    runtime_take_down(r, prepared);
}

static bool token_is_missing(const struct generation *g)
{
    const struct tunnel_conf *t = generation_core(g, CORE_TUNNEL);
    return t->enabled && t->token.n == 0 && !*t->token_file;
}

/* What a configuration is worth before anything runs; 0 if it may run. */
static int refusal(const struct generation *g, const struct problems *errors)
{
    struct cv_err err;
    if (!g) {
        problems_print(errors, stderr);
        return 1;
    }
    if (token_is_missing(g)) {
        fputs("\"cloudflared tunnel run\" requires the ID or name of the tunnel to run as the last "
              "command line argument or in the configuration file.\n"
              "See 'cloudflared tunnel run --help'.\n"
              "culvert runs a tunnel by its token: set TUNNEL_TOKEN, or give --token-file FILE behind run.\n",
              stderr);
        return EXIT_USAGE;
    }
    if (log_setup(generation_core(g, CORE_LOG), &err) != CV_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}

int lifecycle_run(const struct command *command)
{
    struct problems errors = { .n = 0 }, warnings = { .n = 0 };
    struct runtime r = { .command = command, .g = generation_new(command, &errors, &warnings) };
    r.status = refusal(r.g, &errors);
    if (r.status == 0) {
        threads_make(&r);
        run(&r, &warnings);
    }
    problems_free(&errors);
    problems_free(&warnings);
    generation_free(r.g);
    log_close();
    return r.status;
}
