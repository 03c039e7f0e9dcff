/* access.h: who may pass: Access assertions, service tokens and bearer keys, checked before any byte reaches an origin.
 *
 *     request ─▶ access_headers.c ─▶ verify.c (token → claims, cached) ─▶ jwt.c, jwks.c
 *                      │   └───────▶ bearer.c, match.c, answer.c
 *                      └ no keys ─▶ keys.c: waits ── wish ─▶ main thread: file or HTTPS ── news ─▶ every worker
 *
 * Threads  The main thread has the sources of keys and hashes; workers have immutable, counted snapshots of them.
 * Source   docs/protocol.md §19 for a rule's own originRequest.access; docs/security.md for the rest. */
#ifndef ACCESS_H
#define ACCESS_H
#include "jwt.h"

#include "culvert/route.h"

enum { ACCESS_OFF, ACCESS_IF_PRESENT, ACCESS_REQUIRED };
enum { ACCESS_BEARER_OFF, ACCESS_BEARER_PRESENT, ACCESS_BEARER_KNOWN };

struct access_conf {
    struct cv_list hosts, paths;
    int assertion;
    const char *team;
    bool fedramp;
    struct cv_list audience;
    bool es256;
    struct cv_ms skew;
    struct cv_list service_tokens;
    int bearer;
    const char *bearer_keys;
    bool x_api_key;
    struct cv_list bypass;
    bool bypass_bearer;
    bool strip_client, strip_assertion;
    bool rule_access, exact;
    const char *keys_file, *certs_url, *certs_ca;
    struct cv_ms refresh, stale, refetch, fetch_limit;
};

/* ---- match.c: does a visitor come from one of the networks? ------------------------------------------------ */

struct access_net {
    uint8_t net[16]; /* IPv4 in IPv6 clothes */
    unsigned bits;
};
bool access_net_read(struct cv_str cidr, struct access_net *); /* an address alone is a network of one */
bool access_nets_hold(const struct access_net *, size_t n, struct cv_str ip);

/* ---- bearer.c: API keys by their SHA-256 ------------------------------------------------------------------ */

struct access_hashes {
    atomic_uint refs;
    uint8_t (*v)[32]; /* sorted */
    size_t n;
};
/* The text of a file of lines "sha256:HEX", comments from # on. NULL: err names the line. One reference. */
struct access_hashes *access_hashes_read(const char *file, struct cv_str text, struct cv_err *err);
struct access_hashes *access_hashes_ref(struct access_hashes *);
void access_hashes_unref(struct access_hashes *);
bool access_hashes_hold(const struct access_hashes *, struct cv_str key);
/* What a client shows: at most one Authorization and one x-api-key. hashes NULL: well formed is enough. */
struct access_shown {
    struct cv_str authorization, api_key;
    unsigned n_authorization, n_api_key;
};
enum access_verdict access_bearer(const struct access_shown *, bool api_key_counts,
                                  const struct access_hashes *);
int access_hash_key(struct cv_self *, int argc,
                    char **argv); /* culvert hash-key: stdin to a line for the file */

/* ---- verify.c: a token against a rule --------------------------------------------------------------------- */

struct access_check { /* borrowed for the call */
    struct cv_str issuer;
    struct cv_list audience;
    bool es256;
    bool strict;                    /* iat and type count too */
    int64_t exp_leeway, nbf_leeway; /* seconds */
};
enum { ACCESS_ISSUER_MAX = 128 };
/* "https://TEAM.cloudflareaccess.com", with .fed for FedRAMP. Empty if the team is not a DNS label. */
struct cv_str access_issuer(struct cv_str team, bool fed, char out[static ACCESS_ISSUER_MAX]);

struct access_cache *access_cache_new(void);
void access_cache_free(struct access_cache *);
/* now: seconds since 1970. On ACCESS_PASS *client is the token's common_name, good until the next call. */
enum access_verdict access_verify(struct access_cache *, const struct access_keys *,
                                  const struct access_check *, struct cv_str token, int64_t now,
                                  struct cv_str *client);

/* ---- keys.c: where keys and hashes come from -------------------------------------------------------------- */

struct access_waiter {
    struct access_waiter *next, **at;
    struct cv_req *req; /* NULL: does not wait */
};
/* What a worker knows of one team's keys. */
struct access_view {
    struct access_view *next;
    char *team;
    bool fed;
    struct access_keys *keys; /* NULL: none */
    int64_t ask_after;        /* on cv_now()'s clock: sooner nobody asks again */
    bool asked;
    struct access_waiter *waiting;
    size_t n_waiting;
};
struct access_worker { /* cv_self.local */
    struct cv_self *self;
    struct access_view *views;
    size_t n_views;
    struct access_hashes *hashes;
    struct access_cache *cache;
    struct access_net *bypass;
    size_t n_bypass;
    struct cv_series *results[ACCESS_VERDICTS_N];
    int64_t log_after;
    unsigned log_left_out;
};
struct access_shared;
/* Main thread: reads the files, begins to fetch. */
enum cv_error access_sources_init(struct cv_self *, struct cv_err *);
void access_sources_fini(struct cv_self *);
/* Worker thread. */
void access_views_start(struct access_worker *);
void access_views_stop(struct access_worker *);
/* NULL when there are too many teams. */
struct access_view *access_view_of(struct access_worker *, struct cv_str team, bool fed);
/* Joins those that wait for news of the view's keys; false if it is too early to ask or too many wait. News come
 * within fetch_limit, as access_resume() for each. */
bool access_wait(struct access_worker *, struct access_view *, struct access_waiter *, struct cv_req *);
void access_wait_over(struct access_worker *, struct access_view *, struct access_waiter *);
void access_resume(const struct cv_self *, struct cv_req *); /* access_headers.c */

enum { ACCESS_METRIC_REQUESTS, ACCESS_METRIC_FETCHES, ACCESS_METRIC_KEYS };

/* ---- answer.c: refusals in the shape that the caller's library understands -------------------------------- */

const char *access_verdict_name(enum access_verdict);
/* shown: a credential was presented. */
void access_answer(struct cv_req *, enum access_verdict, bool shown);
/* Where Anthropic's clients send their key in x-api-key. */
bool access_anthropic_path(struct cv_str path);

#endif
