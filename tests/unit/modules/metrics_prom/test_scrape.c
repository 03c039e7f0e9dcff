/* test_scrape.c: which form a scraper gets, what stands in it, and how long that takes. */
#include "metrics_prom/prom.h"

#include "loop/loop.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

/* ---- negotiation ------------------------------------------------------------------------------------------ */

#define OPEN "application/openmetrics-text"

static void the_form_that_is_liked_best_is_chosen(void)
{
    static const struct {
        const char *accept;
        bool open;
    } cases[] = {
        { NULL, false },
        { "", false },
        { "*/*", false },
        { "text/html", false },
        { OPEN, true },
        { "Application/OpenMetrics-Text ; version=1.0.0", true },
        { OPEN ";version=\"1.0.0\"", true },
        { OPEN "; version=1.0.0; charset=utf-8, text/plain;q=0.5", true },
        { OPEN ";version=0.0.1", false }, /* another one */
        { OPEN ";version=0.0.1, text/plain;q=0.1", false },
        { OPEN ";q=0", false },
        { OPEN ";q=0.2, text/plain;q=0.3", false },
        { OPEN ";q=0.3, text/plain;q=0.2", true },
        { OPEN ";q=0.5, text/plain;q=0.5", false },
        { "application/*;q=0.9, text/*;q=0.8", true },
        { "application/*;q=0.9, " OPEN ";q=0.1, text/*;q=0.8", false }, /* the closer one counts */
        { "*/*;q=0.9, text/plain;q=0.1", true },
        { OPEN ";q=1.5, text/plain;q=0.1", false }, /* no quality: as if it were not there */
        { OPEN ";q=.5", false },
        { "text/plain; x=\"a, " OPEN "\"; q=0.5", false },
        { OPEN "; x=\"a;q=0\"", true },
        /* what Prometheus 2.42 and 3 send */
        { OPEN ";version=1.0.0," OPEN ";version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
          true },
        { OPEN ";version=1.0.0;escaping=allow-utf-8;q=0.6," OPEN
               ";version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
               "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
          true },
        { ",,;;=,\"", false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CU_ASSERT_EQUAL(prom_wants_open(cases[i].accept), cases[i].open);
        if (prom_wants_open(cases[i].accept) != cases[i].open)
            fprintf(stderr, "  Accept: %s\n", cases[i].accept);
    }
}

static void gzip_is_sent_to_those_who_take_it(void)
{
    static const struct {
        const char *accept;
        bool gzip;
    } cases[] = {
        { NULL, false },
        { "", false },
        { "identity", false },
        { "gzip", true },
        { "deflate, GZIP;q=0.5, br", true },
        { "gzip;q=0", false },
        { "gzip; q=0.000", false },
        { "gzip;q=0.5, identity", false },
        { "gzip;q=0.5, identity;q=0.4", true },
        { "*", true },
        { "*;q=0, gzip", true },
        { "gzip;q=0, *", false },
        { "x-gzipped", false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CU_ASSERT_EQUAL(prom_wants_gzip(cases[i].accept), cases[i].gzip);
        if (prom_wants_gzip(cases[i].accept) != cases[i].gzip)
            fprintf(stderr, "  Accept-Encoding: %s\n", cases[i].accept);
    }
}

/* ---- text ------------------------------------------------------------------------------------------------- */

enum { REQUESTS, OLD, TEMPERATURE, SECONDS };
static const double bounds[] = { 0.25, 1, 10, 0 };
static const struct cv_metric rows[] = {
    [REQUESTS] = { "t_requests_total", "Say \"hi\"\\\n.", CV_COUNTER, "rule|code", NULL },
    [OLD] = { "t_old_bytes", "Named before.", CV_COUNTER, NULL, NULL },
    [TEMPERATURE] = { "t_temperature", "Now.", CV_GAUGE, .per = 10 },
    [SECONDS] = { "t_wait_seconds", "Wait.", CV_HISTOGRAM, NULL, bounds },
    CV_METRIC_END
};
static const struct cv_module module = { .name = "t", .metrics = rows };
static const struct cv_instance instance = { .module = &module, .name = "t" };
static const struct cv_self self = { .instance = &instance };

static struct cv_series *series(unsigned id)
{
    return cv_series(&self, id, (const struct cv_str[]){ CV_STR("a\"b\\c\nd"), CV_STR("200") });
}

static void count_something(void)
{
    cv_add(series(REQUESTS), 3);
    cv_add(series(OLD), 12345678901234);
    cv_gauge_set(series(TEMPERATURE), -153);
    cv_observe(series(SECONDS), 0.1);
    cv_observe(series(SECONDS), 7);
}

/* What is written before the process's own numbers. */
static void check_text(bool open, const char *want)
{
    struct cv_buf out = { 0 };
    prom_write(&out, open);
    cv_buf_add(&out, "", 1);
    const char *text = (const char *)out.p;
    CU_ASSERT_EQUAL(strncmp(text, want, strlen(want)), 0);
    if (strncmp(text, want, strlen(want)) != 0)
        fprintf(stderr, "%.900s\n", text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nprocess_cpu_seconds_total "));
    CU_ASSERT_EQUAL(strstr(text, "# EOF\n") == text + out.n - 7, open);
    cv_buf_free(&out);
}

static void both_forms_say_the_same_of_the_same_names(void)
{
    metrics_setup(1);
    count_something();
    check_text(false, "# HELP t_requests_total Say \"hi\"\\\\\\n.\n"
                      "# TYPE t_requests_total counter\n"
                      "t_requests_total{rule=\"a\\\"b\\\\c\\nd\",code=\"200\"} 3\n"
                      "# HELP t_old_bytes Named before.\n"
                      "# TYPE t_old_bytes counter\n"
                      "t_old_bytes 12345678901234\n"
                      "# HELP t_temperature Now.\n"
                      "# TYPE t_temperature gauge\n"
                      "t_temperature -15.3\n"
                      "# HELP t_wait_seconds Wait.\n"
                      "# TYPE t_wait_seconds histogram\n"
                      "t_wait_seconds_bucket{le=\"0.25\"} 1\n"
                      "t_wait_seconds_bucket{le=\"1\"} 1\n"
                      "t_wait_seconds_bucket{le=\"10\"} 2\n"
                      "t_wait_seconds_bucket{le=\"+Inf\"} 2\n"
                      "t_wait_seconds_sum 7.1\n"
                      "t_wait_seconds_count 2\n");
    check_text(true, "# HELP t_requests Say \\\"hi\\\"\\\\\\n.\n"
                     "# TYPE t_requests counter\n"
                     "t_requests_total{rule=\"a\\\"b\\\\c\\nd\",code=\"200\"} 3\n"
                     "# HELP t_old_bytes Named before.\n"
                     "# TYPE t_old_bytes unknown\n"
                     "# UNIT t_old_bytes bytes\n"
                     "t_old_bytes 12345678901234\n"
                     "# HELP t_temperature Now.\n"
                     "# TYPE t_temperature gauge\n"
                     "t_temperature -15.3\n"
                     "# HELP t_wait_seconds Wait.\n"
                     "# TYPE t_wait_seconds histogram\n"
                     "# UNIT t_wait_seconds seconds\n"
                     "t_wait_seconds_bucket{le=\"0.25\"} 1\n"
                     "t_wait_seconds_bucket{le=\"1.0\"} 1\n"
                     "t_wait_seconds_bucket{le=\"10.0\"} 2\n"
                     "t_wait_seconds_bucket{le=\"+Inf\"} 2\n"
                     "t_wait_seconds_sum 7.1\n"
                     "t_wait_seconds_count 2\n");
    metrics_free();
}

static void what_is_packed_unpacks(void)
{
    metrics_setup(1);
    count_something();
    struct cv_buf plain = { 0 }, packed = { 0 }, again = { 0 };
    prom_write(&plain, false);
    prom_gzip(&plain, &packed);
    CU_ASSERT_TRUE(packed.n < plain.n);
    z_stream z = { .next_in = packed.p, .avail_in = (uInt)packed.n };
    CU_ASSERT_EQUAL_FATAL(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
    z.next_out = cv_buf_reserve(&again, plain.n + 1);
    z.avail_out = (uInt)plain.n + 1;
    CU_ASSERT_EQUAL(inflate(&z, Z_FINISH), Z_STREAM_END);
    CU_ASSERT_EQUAL(z.total_out, plain.n);
    CU_ASSERT_EQUAL(memcmp(again.p, plain.p, plain.n), 0);
    inflateEnd(&z);
    cv_buf_free(&plain);
    cv_buf_free(&packed);
    cv_buf_free(&again);
    metrics_free();
}

/* ---- time ------------------------------------------------------------------------------------------------- */

enum { SERIES = 10000, FAMILIES = 10 };

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void make_many_series(void)
{
    static struct cv_metric many[FAMILIES];
    static const struct cv_module m = { .name = "m", .metrics = many };
    static const struct cv_instance i = { .module = &m, .name = "m" };
    const struct cv_self s = { .instance = &i };
    static char names[FAMILIES][32];
    for (unsigned f = 0; f < FAMILIES; f++) {
        snprintf(names[f], sizeof(names[f]), "t_many_%u_total", f);
        many[f] = (struct cv_metric){
            .name = names[f], .help = "Many.", .type = CV_COUNTER, .labels = "rule|code"
        };
        for (unsigned k = 0; k < SERIES / FAMILIES; k++) {
            char rule[48];
            int n = snprintf(rule, sizeof(rule), "a-hostname-%u.example.com", k);
            cv_add(cv_series(&s, f, (const struct cv_str[]){ { rule, (size_t)n }, CV_STR("2xx") }), k * 977);
        }
    }
}

static double best_of_five(bool gzip, size_t *size)
{
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        struct cv_buf out = { 0 }, packed = { 0 };
        double began = milliseconds();
        prom_write(&out, false);
        if (gzip)
            prom_gzip(&out, &packed);
        double took = milliseconds() - began;
        best = took < best ? took : best;
        *size = gzip ? packed.n : out.n;
        cv_buf_free(&out);
        cv_buf_free(&packed);
    }
    return best;
}

static void ten_thousand_series_are_written_in_less_than_20_ms(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const double allowed = 400;
#else
    const double allowed = 20;
#endif
    metrics_setup(2);
    make_many_series();
    for (int gzip = 0; gzip <= 1; gzip++) {
        size_t size;
        double took = best_of_five(gzip, &size);
        printf("\n    %d series%s: %.1f ms, %zu bytes", SERIES, gzip ? ", gzip" : "", took, size);
        CU_ASSERT_TRUE(took < allowed);
    }
    metrics_free();
    metrics_setup(1);
}

SUITE(scrape, TEST(the_form_that_is_liked_best_is_chosen), TEST(gzip_is_sent_to_those_who_take_it),
      TEST(both_forms_say_the_same_of_the_same_names), TEST(what_is_packed_unpacks),
      TEST(ten_thousand_series_are_written_in_less_than_20_ms));
