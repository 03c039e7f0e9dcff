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
/* text.c: Prometheus text format 0.0.4 of every series in the process. */
void prom_write_series(struct evbuffer *);
/* process.c: the process_* series that every Prometheus client library has. */
void prom_write_process(struct evbuffer *);
#endif
