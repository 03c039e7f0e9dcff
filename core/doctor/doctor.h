/* doctor.h: culvert doctor: looks at what usually keeps a tunnel from coming up, and says how to mend it.
 *
 *     what was asked ─▶ doctor ─┬▶ local    (files, clock, limits of this machine)
 *                               ├▶ edge     (DNS, handshakes, the gates)
 *                               └▶ origins  (what the last configuration names)   ─▶ report ─▶ text or JSON
 *
 * Thread   Main, whose loop runs while something is waited for. Nothing is registered with Cloudflare. */
#ifndef DOCTOR_H
#define DOCTOR_H
#include "boot/runtime.h"

/* ---- report.c ------------------------------------------------------------------------------------------ */

enum verdict { VERDICT_GOOD, VERDICT_WARN, VERDICT_BAD, VERDICT_SKIPPED };
struct finding {
    const char *check; /* "token": stable, for scripts */
    enum verdict verdict;
    char *detail, *remedy; /* remedy: NULL when there is nothing to mend */
};
struct report {
    struct finding *v;
    size_t n;
};
/* remedy may be NULL. No secret in either. */
void report_add(struct report *, const char *check, enum verdict, const char *remedy, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));
/* conclusion: one sentence. ok: a tunnel could come up */
void report_text(const struct report *, bool ok, const char *conclusion, FILE *);
void report_json(const struct report *, bool ok, const char *conclusion, FILE *);
void report_free(struct report *);

/* ---- local.c: what needs no network --------------------------------------------------------------------- */

enum { REGION_MAX = 64 };
/* Is there a token? region: where its tunnel, or the configuration, wants to connect. */
bool check_token(struct report *, const struct generation *, char region[REGION_MAX]);
void check_secret_files(struct report *, const struct generation *, const char *ini); /* ini: NULL for none */
void check_clock(struct report *);
void check_roots(struct report *);
void check_proxies(struct report *);
void check_limits(struct report *);
void check_udp_buffers(struct report *, const struct generation *);

/* ---- edge.c: the runtime's threads run -------------------------------------------------------------------- */

bool check_gates(struct report *, struct runtime *); /* may this process connect? */
/* Which transports reached the edge: a bit each, by the order of [tunnel] protocol (1 quic, 2 http2). */
unsigned check_edge(struct report *, struct runtime *, const char *region);

/* ---- origins.c ------------------------------------------------------------------------------------------ */

/* The targets of the rules that are known before the edge sends any: names and connections. */
void check_origins(struct report *, struct runtime *);

/* ---- waiting -------------------------------------------------------------------------------------------- */

/* Runs the main loop until event_base_loopbreak(), at most so long. */
void wait_until_told(struct runtime *, int ms);

/* doctor.c: `culvert doctor`. The exit status: 0 if a tunnel could come up. */
int doctor_run(const struct command *);
#endif
