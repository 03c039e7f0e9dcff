/* prom.h: the metrics server (docs/protocol.md §21): its options, and the text that Prometheus reads. */
#ifndef PROM_H
#define PROM_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

struct prom_conf {
    const char *listen;
    struct cv_secret token;
    int ready_connections;
    bool ready_rules, ready_modules;
    bool status_page;
};

/* listener.c: a listening socket at "host:port", or -1 with the reason in err. */
int listener_open(const char *listen, struct cv_err *err);
/* What "host:port" means. False: nothing. */
bool listener_split(const char *listen, char *host, size_t size, const char **port);
enum { FIRST_PORT = 20241, LAST_PORT = 20245 }; /* tried when the port is 0 */
/* ask.c: `culvert drain`, `culvert ready`, `culvert reload`: the other side of these pages. */
int ask_command(struct cv_self *, int argc, char **argv);
/* duration.c: "45", "45s", "1m30s", "500ms" to milliseconds; -1: is none of these, or more than 24h. */
int64_t duration_ms(const char *);
/* text.c: every series of the process, and what the process itself uses. */
struct prom_text {
    struct cv_buf *out;
    bool open;                    /* OpenMetrics 1.0; else Prometheus' 0.0.4                    */
    const struct cv_metric *last; /* HELP and TYPE stand once, before the first series of a metric */
};
void prom_write(struct cv_buf *out, bool open);
void prom_add(struct prom_text *, const struct cv_metric *, const struct cv_str *values, const double *sums,
              size_t n);
/* process.c: the process_* series that every Prometheus client library has. */
extern const struct cv_metric prom_process_metrics[];
void prom_add_process(struct prom_text *);

/* accept.c: what the header asks for (Accept, Accept-Encoding; NULL: none). Who names neither form gets the plain one. */
bool prom_wants_open(const char *accept);
bool prom_wants_gzip(const char *accept_encoding);
/* gzip.c: RFC 1952 of all of `plain`. */
void prom_gzip(const struct cv_buf *plain, struct cv_buf *out);
#endif
