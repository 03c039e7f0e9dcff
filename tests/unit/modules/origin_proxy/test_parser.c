/* test_parser.c: responses as an origin may send them, good and bad, in whole and in pieces. */
#include "origin_proxy/origin.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

/* What the parser said, as text: "200 A=b|body|T:c." */
struct said {
    char text[4096];
    size_t n;
    bool body;
};

static void say(struct said *s, const char *bytes, size_t n)
{
    if (n > sizeof(s->text) - 1 - s->n)
        n = sizeof(s->text) - 1 - s->n;
    memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n] = '\0';
}

static void say_pair(struct said *s, struct cv_str name, const char *between, struct cv_str value)
{
    say(s, name.p, name.n);
    say(s, between, strlen(between));
    say(s, value.p, value.n);
    say(s, " ", 1);
}

static void on_field(void *arg, struct cv_str name, struct cv_str value)
{
    say_pair(arg, name, "=", value);
}

static void on_trailer(void *arg, struct cv_str name, struct cv_str value)
{
    say_pair(arg, name, ":", value);
}

static void on_head(void *arg, int status)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d|", status);
    say(arg, text, (size_t)n);
}

static void on_body(void *arg, const void *bytes, size_t n)
{
    say(arg, bytes, n);
}

static const struct origin_sink sink = { on_field, on_head, on_body, on_trailer };

enum { NO_BODY = 1, MAY_UPGRADE = 2, THEN_EOF = 4 };

/* Feeds `in` in pieces of at most `piece` bytes (0: random ones); what follows the response is reported as
 * "+rest". */
static enum cv_error parse(struct origin_parser *p, const char *in, size_t n, size_t piece, int how,
                           struct said *s)
{
    origin_parser_init(p, &sink, s, 1024);
    p->no_body = how & NO_BODY;
    p->may_upgrade = how & MAY_UPGRADE;
    size_t at = 0;
    while (at < n && p->reading != ORIGIN_READ_DONE && p->reading != ORIGIN_READ_RAW) {
        size_t most = piece ? piece : 1 + (size_t)rand() % 9;
        size_t part = most < n - at ? most : n - at, used;
        enum cv_error error = origin_parser_feed(p, in + at, part, &used);
        if (error)
            return error;
        at += used;
    }
    if (at < n) {
        say(s, "+", 1);
        say(s, in + at, n - at);
    }
    return how & THEN_EOF ? origin_parser_eof(p) : CV_OK;
}

struct good {
    const char *in, *said;
    int how;
    bool keep_alive;
};

#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct good good[] = {
    { OK "Content-Length: 5\r\n\r\nhello", "Content-Length=5 200|hello", 0, true },
    { OK "Content-Length: 5 \r\n\r\nhello", "Content-Length=5 200|hello", 0, true },
    { OK "Content-Length: 0\r\n\r\n", "Content-Length=0 200|", 0, true },
    { OK "content-length:5\r\nX:\r\n\r\nhello", "content-length=5 X= 200|hello", 0, true },
    { OK "Content-Length: 5\r\nConnection: close\r\n\r\nhello", "Content-Length=5 Connection=close 200|hello",
      0, false },
    { OK "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200", "Content-Length=5 200|hello+HTTP/1.1 200", 0, true },
    { OK "Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
      "Set-Cookie=a Set-Cookie=b Content-Length=0 200|", 0, true },
    { "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", "Content-Length=1 200|x", 0, true },
    { "HTTP/1.1 999 Odd\r\nContent-Length: 1\r\n\r\nx", "Content-Length=1 999|x", 0, true },
    { "HTTP/1.0 200 OK\r\n\r\nall the rest", "200|all the rest", THEN_EOF, false },
    { OK "\r\nall the rest", "200|all the rest", THEN_EOF, false },
    { "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
      "Connection=keep-alive Content-Length=2 200|ok", 0, true },
    { CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "200|hello world", 0, true },
    { OK "transfer-encoding: Chunked\r\n\r\na\r\n0123456789\r\n00\r\n\r\n", "200|0123456789", 0, true },
    { CHUNKED "5;name=\"v\"\r\nhello\r\n0\r\n\r\n", "200|hello", 0, true },
    { CHUNKED "1\r\nx\r\n0\r\nGrpc-Status: 0\r\nX: y\r\n\r\n", "200|xGrpc-Status:0 X:y ", 0, true },
    { CHUNKED "0\r\nTrailer: x\r\n\r\n+", "200|++", 0, true },
    { OK "Trailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200|", 0, true },
    { OK "Content-Length: 5\r\n\r\n", "Content-Length=5 200|", NO_BODY, true },
    { CHUNKED, "200|", NO_BODY, true },
    { OK "\r\n", "200|", NO_BODY, true },
    { "HTTP/1.1 204 No\r\n\r\n", "204|", 0, true },
    { "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "Content-Length=5 304|", 0, true },
    { "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" OK "Content-Length: 1\r\n\r\nx",
      "Content-Length=1 200|x", 0, true },
    { "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81",
      "Upgrade=websocket Connection=Upgrade 101|+\x81", MAY_UPGRADE, true },
    { OK "Content-Length: 1\r\n\r\nx", "Content-Length=1 200|x", MAY_UPGRADE, true },
    { OK "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\nx",
      "Upgrade=h2c Connection=Upgrade Content-Length=1 200|x", 0, true },
};

static void check_good(const struct good *g, size_t piece)
{
    struct said s = { .n = 0 };
    struct origin_parser p;
    enum cv_error error = parse(&p, g->in, strlen(g->in), piece, g->how, &s);
    CU_ASSERT_EQUAL(error, CV_OK);
    CU_ASSERT_STRING_EQUAL(s.text, g->said);
    CU_ASSERT_EQUAL(p.keep_alive, g->keep_alive);
    CU_ASSERT_EQUAL(p.reading, strncmp(g->in, "HTTP/1.1 101", 12) ? ORIGIN_READ_DONE : ORIGIN_READ_RAW);
    CU_ASSERT_EQUAL(p.line.cap, 0); /* nothing is held once the head is there */
    if (error || strcmp(s.text, g->said) != 0)
        fprintf(stderr, "    %s\n    in pieces of %zu: \"%s\" (%s)\n", g->in, piece, s.text,
                p.why ? p.why : "");
    origin_parser_free(&p);
}

static void reads_what_origins_send_in_any_pieces(void)
{
    srand(1);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        check_good(&good[i], 1 << 20);
        check_good(&good[i], 1);
        for (int round = 0; round < 20; round++)
            check_good(&good[i], 0);
    }
}

struct bad {
    const char *in;
    int how;
    enum cv_error error;
};

#define LONG16 "0123456789abcdef"
#define LONG256                                                                                              \
    LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 LONG16 \
        LONG16
#define LONG1280 LONG256 LONG256 LONG256 LONG256 LONG256
#define GO       "HTTP/1.1 100 Go\r\n\r\n"

static const struct bad bad[] = {
    /* two ways to tell the length */
    { OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 0, CV_E_PROTO },
    { OK "Content-Length: 5, 6\r\n\r\nhello", 0, CV_E_PROTO },
    /* a length that is none */
    { OK "Content-Length: +5\r\n\r\nhello", 0, CV_E_PROTO },
    { OK "Content-Length: -5\r\n\r\nhello", 0, CV_E_PROTO },
    { OK "Content-Length: 0x5\r\n\r\nhello", 0, CV_E_PROTO },
    { OK "Content-Length: 5 5\r\n\r\nhello", 0, CV_E_PROTO },
    { OK "Content-Length:\r\n\r\nhello", 0, CV_E_PROTO },
    { OK "Content-Length: 18446744073709551616\r\n\r\nhello", 0, CV_E_PROTO },
    /* codings that are not exactly chunked */
    { OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Transfer-Encoding: chunked, gzip\r\n\r\nx", THEN_EOF, CV_E_PROTO },
    { OK "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Transfer-Encoding: xchunked\r\n\r\nx", THEN_EOF, CV_E_PROTO },
    { OK "Transfer-Encoding: \"chunked\"\r\n\r\nx", THEN_EOF, CV_E_PROTO },
    { OK "Transfer-Encoding: \x0b"
         "chunked\r\n\r\nx",
      THEN_EOF, CV_E_PROTO },
    { OK "Transfer-Encoding:\r\n\r\nx", THEN_EOF, CV_E_PROTO },
    { OK "Transfer-Encoding: identity\r\n\r\nx", THEN_EOF, CV_E_PROTO },
    { OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { OK "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, CV_E_PROTO },
    /* chunks */
    { CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "-1\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "g\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED ";x\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5\rhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5\r\nhello\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5\r\nhello0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5\r\nhelloXY0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5\r\nhello\r\n0\r\n\n", 0, CV_E_PROTO },
    { CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 0, CV_E_PROTO },
    { CHUNKED "5;" LONG1280 "\r\nhello\r\n0\r\n\r\n", 0, CV_E_LIMIT },
    { CHUNKED "0\r\nX: " LONG1280 "\r\n\r\n", 0, CV_E_LIMIT },
    { CHUNKED "0\r\nContent-Length: 1\r\n\r\n", 0, CV_E_PROTO },
    /* lines */
    { "HTTP/1.1 200 OK\nContent-Length: 1\n\na", 0, CV_E_PROTO },
    { OK "X: a\nY: b\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X: a\rY: b\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X: a\r\n\tb\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK " X: a\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X: a\x01\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X: a\x7f\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK ": a\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X Y: a\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { OK "X(: a\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    /* start lines */
    { "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "ICY 200 OK\r\n\r\n", 0, CV_E_PROTO },
    { "\x15\x03\x01\x00\x02\x02\x16", 0, CV_E_PROTO },
    /* interim responses and upgrades */
    { GO GO GO GO GO GO GO GO GO OK "Content-Length: 0\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 0, CV_E_PROTO },
    { "HTTP/1.1 100 Go\r\nTransfer-Encoding: gzip\r\n\r\n", 0, CV_E_PROTO },
    /* too long */
    { OK "X: " LONG1280 "\r\n\r\n", 0, CV_E_LIMIT },
    { OK LONG1280 ": x\r\n\r\n", 0, CV_E_LIMIT },
    { OK "A: " LONG256 "\r\nB: " LONG256 "\r\nC: " LONG256 "\r\nD: " LONG256 "\r\n\r\n", 0, CV_E_LIMIT },
    { "HTTP/1.1 100 Go\r\nX: " LONG1280 "\r\n\r\n", 0, CV_E_LIMIT },
    /* cut */
    { "", THEN_EOF, CV_E_IO },
    { "HTTP/1.1 200 OK\r\nContent-Le", THEN_EOF, CV_E_IO },
    { GO, THEN_EOF, CV_E_IO },
    { OK "Content-Length: 5\r\n\r\nhell", THEN_EOF, CV_E_IO },
    { CHUNKED "5\r\nhello\r\n", THEN_EOF, CV_E_IO },
    { CHUNKED "5\r\nhello\r\n0\r\n", THEN_EOF, CV_E_IO },
};

static void check_bad(const struct bad *b, size_t piece)
{
    struct said s = { .n = 0 };
    struct origin_parser p;
    enum cv_error error = parse(&p, b->in, strlen(b->in), piece, b->how, &s);
    CU_ASSERT_EQUAL(error, b->error);
    CU_ASSERT(error == CV_OK || p.why != NULL);
    if (error != b->error)
        fprintf(stderr, "    %s\n    in pieces of %zu: \"%s\"\n", b->in, piece, s.text);
    origin_parser_free(&p);
}

static void refuses_what_could_be_read_in_two_ways(void)
{
    srand(2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_bad(&bad[i], 1 << 20);
        check_bad(&bad[i], 1);
        for (int round = 0; round < 20; round++)
            check_bad(&bad[i], 0);
    }
}

static void refuses_a_nul_anywhere_in_a_head(void)
{
    static const char text[] = OK "X: value\r\nContent-Length: 0\r\n\r\n";
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char in[sizeof(text)];
        memcpy(in, text, sizeof(text));
        in[i] = '\0';
        bool reason = i >= 13 && i < 15; /* the reason phrase is not looked at and goes nowhere */
        struct said s = { .n = 0 };
        struct origin_parser p;
        CU_ASSERT(reason || parse(&p, in, sizeof(text) - 1, 1 << 20, 0, &s) == CV_E_PROTO);
        if (!reason)
            origin_parser_free(&p);
    }
}

static void bounds_white_space_that_is_no_field(void)
{
    struct said s = { .n = 0 };
    struct origin_parser p;
    origin_parser_init(&p, &sink, &s, 1024);
    enum cv_error error = CV_OK;
    size_t used;
    for (int i = 0; i < 100 && !error; i++)
        error = origin_parser_feed(&p, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 20, &used);
    CU_ASSERT_EQUAL(error, CV_E_LIMIT);
    origin_parser_free(&p);
}

static void tells_what_may_bypass_it(void)
{
    struct said s = { .n = 0 };
    struct origin_parser p;
    size_t used;
    origin_parser_init(&p, &sink, &s, 1024);
    CU_ASSERT_EQUAL(origin_parser_direct(&p, 100), 0);
    origin_parser_feed(&p, OK "Content-Length: 10\r\n\r\nabc", strlen(OK "Content-Length: 10\r\n\r\nabc"),
                       &used);
    CU_ASSERT_EQUAL(origin_parser_direct(&p, 100), 7);
    CU_ASSERT_EQUAL(origin_parser_direct(&p, 4), 4);
    origin_parser_took(&p, 6);
    CU_ASSERT_EQUAL(p.reading, ORIGIN_READ_LENGTH);
    origin_parser_took(&p, 1);
    CU_ASSERT_EQUAL(p.reading, ORIGIN_READ_DONE);
    CU_ASSERT(p.keep_alive);
    origin_parser_free(&p);

    origin_parser_init(&p, &sink, &s, 1024);
    origin_parser_feed(&p, CHUNKED, strlen(CHUNKED), &used);
    CU_ASSERT_EQUAL(origin_parser_direct(&p, 100), 0);
    origin_parser_free(&p);
}

SUITE(origin_parser, TEST(reads_what_origins_send_in_any_pieces),
      TEST(refuses_what_could_be_read_in_two_ways), TEST(refuses_a_nul_anywhere_in_a_head),
      TEST(bounds_white_space_that_is_no_field), TEST(tells_what_may_bypass_it));
