/* prom.h: the metrics server (docs/protocol.md §21): its pages, and the text that Prometheus reads. */
#ifndef PROM_H
#define PROM_H
#include "culvert/culvert.h"

#include <event2/buffer.h>

/* text.c: Prometheus text format 0.0.4 of every series in the process. */
void prom_write_series(struct evbuffer *);
/* process.c: the process_* series that every Prometheus client library has. */
void prom_write_process(struct evbuffer *);
#endif
