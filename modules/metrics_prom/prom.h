/* prom.h: the metrics server (docs/protocol.md §21): its options, and the text that Prometheus reads. */
#ifndef PROM_H
#define PROM_H
#include "culvert/culvert.h"

#include <event2/buffer.h>

struct prom_conf {
    const char *listen;
    struct cv_secret token;
    int ready_connections;
    bool ready_rules, ready_modules;
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
/* text.c: Prometheus text format 0.0.4 of every series in the process. */
void prom_write_series(struct evbuffer *);
/* process.c: the process_* series that every Prometheus client library has. */
void prom_write_process(struct evbuffer *);
#endif
