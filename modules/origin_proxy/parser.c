/* parser.c: bytes to a response, with llhttp in its strict mode and a few more refusals (RFC 9112). */
#include "origin.h"

#include <string.h>

enum { INTERIM_MAX = 8, EXTENSION_MAX = 1024 };

static struct origin_parser *owner(llhttp_t *http)
{
    return CV_OWNER(http, struct origin_parser, http);
}

static int refuse(struct origin_parser *p, enum cv_error error, const char *why)
{
    p->error = error;
    p->why = why;
    return HPE_USER;
}

/* ---- fields ------------------------------------------------------------------------------------------ */

static int add(struct origin_parser *p, const char *bytes, size_t n)
{
    p->head_n += n;
    if (p->head_n > p->head_max)
        return refuse(p, CV_E_LIMIT, "response headers are too long");
    cv_buf_add(&p->line, bytes, n);
    return 0;
}

static int on_name(llhttp_t *http, const char *bytes, size_t n)
{
    return add(owner(http), bytes, n);
}

static int on_name_end(llhttp_t *http)
{
    struct origin_parser *p = owner(http);
    p->name_n = p->line.n;
    return 0;
}

static int on_value(llhttp_t *http, const char *bytes, size_t n)
{
    return add(owner(http), bytes, n);
}

static struct cv_str without_final_space(struct cv_str s)
{
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Framing is consumed here: what goes on to the edge is framed anew. */
static bool is_framing(struct cv_str name)
{
    return cv_str_caseeq(name, CV_STR("transfer-encoding")) || cv_str_caseeq(name, CV_STR("trailer"));
}

static int on_field(struct origin_parser *p, struct cv_str name, struct cv_str value)
{
    bool interim = p->http.status_code / 100 == 1 && p->http.status_code != 101;
    if (!is_framing(name)) {
        if (!interim)
            p->sink->field(p->arg, name, value);
        return 0;
    }
    if (cv_str_caseeq(name, CV_STR("trailer")))
        return 0;
    if (p->coded || !cv_str_caseeq(value, CV_STR("chunked")))
        return refuse(p, CV_E_PROTO, "Transfer-Encoding is not exactly \"chunked\"");
    p->coded = true;
    return 0;
}

static int on_value_end(llhttp_t *http)
{
    struct origin_parser *p = owner(http);
    const char *line = (const char *)p->line.p;
    struct cv_str name = { line, p->name_n };
    struct cv_str value = without_final_space((struct cv_str){ line + p->name_n, p->line.n - p->name_n });
    p->line.n = p->name_n = 0;
    p->head_n += strlen(": \r\n");
    if (p->reading == ORIGIN_READ_HEAD)
        return on_field(p, name, value);
    if (!is_framing(name))
        p->sink->trailer(p->arg, name, value);
    return 0;
}

/* ---- head and body ----------------------------------------------------------------------------------- */

static int on_interim(struct origin_parser *p)
{
    if (++p->interim > INTERIM_MAX)
        return refuse(p, CV_E_PROTO, "too many interim responses");
    p->coded = false;
    return 1; /* no body: the next head follows */
}

static enum origin_reading body_of(const struct origin_parser *p)
{
    if (p->http.status_code == 101)
        return ORIGIN_READ_RAW;
    if (p->no_body || p->http.status_code == 204 || p->http.status_code == 304)
        return ORIGIN_READ_DONE;
    if (p->coded)
        return ORIGIN_READ_CHUNKED;
    return p->http.flags & F_CONTENT_LENGTH ? ORIGIN_READ_LENGTH : ORIGIN_READ_TO_EOF;
}

static int on_head_end(llhttp_t *http)
{
    struct origin_parser *p = owner(http);
    if (http->http_major != 1)
        return refuse(p, CV_E_PROTO, "response is not HTTP/1");
    if (http->status_code < 100)
        return refuse(p, CV_E_PROTO, "response status is below 100");
    if (p->coded && http->http_minor == 0)
        return refuse(p, CV_E_PROTO, "Transfer-Encoding in an HTTP/1.0 response");
    if (http->status_code == 101 && !p->may_upgrade)
        return refuse(p, CV_E_PROTO, "protocol switched without being asked to");
    if (http->status_code < 200 && http->status_code != 101)
        return on_interim(p);
    p->reading = body_of(p);
    p->left = http->content_length;
    p->keep_alive = llhttp_should_keep_alive(http);
    p->sink->head(p->arg, http->status_code);
    return p->reading == ORIGIN_READ_RAW    ? 2
           : p->reading == ORIGIN_READ_DONE ? 1
                                            : 0; /* 2: hand over, 1: no body */
}

static int on_body(llhttp_t *http, const char *bytes, size_t n)
{
    struct origin_parser *p = owner(http);
    p->left -= p->reading == ORIGIN_READ_LENGTH ? n : 0;
    p->sink->body(p->arg, bytes, n);
    return 0;
}

static int on_extension(llhttp_t *http, const char *bytes, size_t n)
{
    (void)bytes;
    struct origin_parser *p = owner(http);
    p->extension_n += n;
    return p->extension_n > EXTENSION_MAX ? refuse(p, CV_E_LIMIT, "chunk extensions are too long") : 0;
}

static int on_chunk_end(llhttp_t *http)
{
    owner(http)->extension_n = 0;
    return 0;
}

static int on_message_end(llhttp_t *http)
{
    struct origin_parser *p = owner(http);
    if (p->reading == ORIGIN_READ_HEAD || p->reading == ORIGIN_READ_RAW)
        return 0; /* an interim response; an upgrade, which llhttp stops at by itself */
    p->reading = ORIGIN_READ_DONE;
    p->keep_alive = llhttp_should_keep_alive(http);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_field_complete = on_name_end,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_head_end,
    .on_body = on_body,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_chunk_complete = on_chunk_end,
    .on_message_complete = on_message_end,
};

/* ---- interface --------------------------------------------------------------------------------------- */

void origin_parser_init(struct origin_parser *p, const struct origin_sink *sink, void *arg, size_t head_max)
{
    *p = (struct origin_parser){ .sink = sink, .arg = arg, .head_max = head_max };
    llhttp_init(&p->http, HTTP_RESPONSE, &settings);
}

enum cv_error origin_parser_feed(struct origin_parser *p, const void *bytes, size_t n, size_t *used)
{
    *used = n;
    if (p->reading == ORIGIN_READ_HEAD)
        p->fed += n;
    llhttp_errno_t error = llhttp_execute(&p->http, bytes, n);
    if (error == HPE_PAUSED || error == HPE_PAUSED_UPGRADE) {
        *used = (size_t)(llhttp_get_error_pos(&p->http) - (const char *)bytes);
        error = HPE_OK;
    }
    if (p->reading != ORIGIN_READ_HEAD && p->reading != ORIGIN_READ_CHUNKED)
        cv_buf_free(&p->line); /* an idle stream holds no buffer */
    if (error == HPE_OK && p->reading == ORIGIN_READ_LENGTH && p->left == 0)
        p->reading = ORIGIN_READ_DONE;
    /* Bytes that no callback sees, as white space, count too; those of this very call need not. */
    if (error == HPE_OK && p->reading == ORIGIN_READ_HEAD && p->fed > p->head_max + n)
        error = (llhttp_errno_t)refuse(p, CV_E_LIMIT, "response headers are too long");
    if (error == HPE_OK)
        return CV_OK;
    if (!p->error)
        refuse(p, CV_E_PROTO, llhttp_get_error_reason(&p->http));
    return p->error;
}

size_t origin_parser_direct(const struct origin_parser *p, size_t want)
{
    if (p->reading == ORIGIN_READ_LENGTH)
        return p->left < want ? (size_t)p->left : want;
    return p->reading == ORIGIN_READ_TO_EOF || p->reading == ORIGIN_READ_RAW ? want : 0;
}

void origin_parser_took(struct origin_parser *p, size_t n)
{
    if (p->reading != ORIGIN_READ_LENGTH)
        return;
    CV_ASSERT(n <= p->left);
    p->left -= n;
    if (p->left == 0)
        p->reading = ORIGIN_READ_DONE;
}

enum cv_error origin_parser_eof(struct origin_parser *p)
{
    switch (p->reading) {
    case ORIGIN_READ_TO_EOF:
    case ORIGIN_READ_RAW:
        p->reading = ORIGIN_READ_DONE;
        p->keep_alive = false;
        return CV_OK;
    case ORIGIN_READ_HEAD:
        p->why = p->fed ? "the connection closed within the response's head"
                        : "the connection closed without a response";
        return CV_E_IO;
    default: p->why = "the connection closed before the response's end"; return CV_E_IO;
    }
}

void origin_parser_free(struct origin_parser *p)
{
    cv_buf_free(&p->line);
}
