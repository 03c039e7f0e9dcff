/* fuzz_h1_response.c: a response means the same in whatever pieces it comes. First byte: what the request was. */
#include "origin_proxy/origin.h"

#include <string.h>

struct said {
    uint64_t hash;
    int heads;
};

static void say(struct said *s, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->hash = (s->hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

static void on_field(void *arg, struct cv_str name, struct cv_str value)
{
    CV_ASSERT(name.n > 0 && !memchr(name.p, ':', name.n) && !memchr(name.p, '\n', name.n));
    CV_ASSERT(!value.n || (!memchr(value.p, '\n', value.n) && !memchr(value.p, '\0', value.n)));
    say(arg, name.p, name.n);
    say(arg, "=", 1);
    say(arg, value.p, value.n);
}

static void on_head(void *arg, int status)
{
    CV_ASSERT(status >= 101 && status <= 999 && ++((struct said *)arg)->heads == 1);
    say(arg, &status, sizeof(status));
}

static void on_body(void *arg, const void *bytes, size_t n)
{
    say(arg, bytes, n);
}

static const struct origin_sink sink = { on_field, on_head, on_body, on_field };

struct outcome {
    struct said said;
    enum cv_error error, at_eof;
    enum origin_reading reading;
    size_t used;
};

static struct outcome parse(const uint8_t *bytes, size_t n, int how, size_t piece)
{
    struct outcome o = { .error = CV_OK };
    struct origin_parser p;
    origin_parser_init(&p, &sink, &o.said, 1 << 20);
    p.no_body = how & 1;
    p.may_upgrade = how & 2;
    while (o.used < n && !o.error && p.reading != ORIGIN_READ_DONE && p.reading != ORIGIN_READ_RAW) {
        size_t part = piece < n - o.used ? piece : n - o.used, used;
        o.error = origin_parser_feed(&p, bytes + o.used, part, &used);
        CV_ASSERT(used <= part && (!o.error || p.why));
        o.used += used;
    }
    o.reading = p.reading;
    if (!o.error && p.reading != ORIGIN_READ_DONE)
        o.at_eof = origin_parser_eof(&p);
    origin_parser_free(&p);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    struct outcome whole = parse(bytes + 1, n - 1, bytes[0], n);
    for (size_t piece = 1; piece <= 7; piece += 3) {
        struct outcome o = parse(bytes + 1, n - 1, bytes[0], piece);
        CV_ASSERT(o.error == whole.error);
        if (o.error)
            continue; /* how far it came before is not the point */
        CV_ASSERT(o.reading == whole.reading && o.used == whole.used && o.at_eof == whole.at_eof);
        CV_ASSERT(o.said.hash == whole.said.hash && o.said.heads == whole.said.heads);
    }
    return 0;
}
