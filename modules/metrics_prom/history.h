/* history.h: the last minutes of each rule, for the status page: a sample every few seconds. Main thread. */
#ifndef PROM_HISTORY_H
#define PROM_HISTORY_H
#include "culvert/operate.h"

enum { HISTORY_SAMPLES = 60, HISTORY_PERIOD_MS = 5000, HISTORY_RULES_MAX = 100 };

/* Figures that nobody has, yet: NAN. */
struct figures {
    double requests, errors; /* since the process began     */
    double errors_lately;    /* in the last minute          */
    double rate;             /* per second, the last sample */
    double open;             /* of the process as a whole   */
    double latency_now_ms;   /* to the first byte of the answer, mean of the latest sample that has one */
    double latency_ms[HISTORY_SAMPLES];
    size_t n; /* samples so far */
};

struct history;
struct history *history_new(const struct cv_self *);
void history_free(struct history *);
int64_t history_age_s(const struct history *); /* since history_new() */
/* A rule that is beyond the limit, or has just come, has its totals alone. */
void history_of_rule(const struct history *, const struct cv_rule *, struct figures *);
void history_of_all(const struct history *, struct figures *);

#endif
