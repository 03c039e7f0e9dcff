/* token.c: a tunnel token: who we are to the edge (docs/protocol.md §2.1). */
#include "tunnel/token.h"
#include "request/base64.h"
#include "request/gojson.h"

#include <string.h>

#define TOKEN_MAX (64 * 1024)

struct raw_token {
    struct cv_str account_tag, endpoint;
    struct gojson_list secret;
    uint8_t id[16];
};

/* ---- UUID --------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* 32 digits, with a hyphen before those of `hyphens`. */
static bool parse_digits(const char *p, bool hyphens, uint8_t id[16])
{
    for (int i = 0; i < 16; i++) {
        if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-')
            return false;
        int high = hex_digit(p[0]), low = high < 0 ? -1 : hex_digit(p[1]);
        if (low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    return true;
}

/* All four ways to write one: plain, urn:uuid:, in braces (whatever the two outer characters are), without
 * hyphens. */
static bool read_uuid(struct cv_str s, void *value, struct reason *why)
{
    size_t skip = 0;
    switch (s.n) {
    case 32:
    case 36: break;
    case 38: skip = 1; break;
    case 45:
        skip = 9;
        if (cv_str_caseeq((struct cv_str){ s.p, skip }, CV_STR("urn:uuid:")))
            break;
        reason_fail(why, "invalid urn prefix");
        return false;
    default: reason_fail(why, "invalid UUID length: %zu", s.n); return false;
    }
    uint8_t id[16];
    if (parse_digits(s.p + skip, s.n != 32, id)) {
        memcpy(value, id, sizeof id);
        return true;
    }
    reason_fail(why, "invalid UUID format");
    return false;
}

/* ---- the document ------------------------------------------------------------------------------------- */

static const struct gojson_type string = { .name = "string",
                                           .kind = GOJSON_STRING,
                                           .size = sizeof(struct cv_str) };
static const struct gojson_type bytes = { .name = "[]uint8",
                                          .kind = GOJSON_BYTES,
                                          .size = sizeof(struct gojson_list) };
static const struct gojson_type uuid = {
    .name = "uuid.UUID", .kind = GOJSON_TEXT, .size = 16, .read = read_uuid
};
static const struct gojson_field fields[] = {
    { "a", &string, offsetof(struct raw_token, account_tag), GOJSON_ALWAYS },
    { "s", &bytes, offsetof(struct raw_token, secret), GOJSON_ALWAYS },
    { "t", &uuid, offsetof(struct raw_token, id), GOJSON_ALWAYS },
    { "e", &string, offsetof(struct raw_token, endpoint), GOJSON_ALWAYS },
    { .name = NULL },
};
static const struct gojson_type token_type = { .name = "connection.TunnelToken",
                                               .kind = GOJSON_STRUCT,
                                               .size = sizeof(struct raw_token),
                                               .fields = fields };

enum cv_error token_parse(struct cv_secret text, struct token *token, struct cv_err *err)
{
    *token = (struct token){ .account_tag = NULL };
    struct cv_str given = cv_reveal(text);
    if (given.n > TOKEN_MAX)
        return cv_fail(err, CV_E_CONF, "more than %d characters", TOKEN_MAX);
    struct bump mem = { NULL };
    uint8_t *json = bump_array(&mem, given.n / 4 + 1, 3);
    size_t n;
    enum cv_error error = base64_decode(given, json, &n);
    if (error) {
        bump_free(&mem);
        return cv_fail(err, error, "illegal base64 data at input byte %zu", n);
    }
    struct raw_token raw = { .secret = { .v = NULL } };
    struct reason why;
    error = gojson_read(&mem, (struct cv_str){ (const char *)json, n }, &token_type, &raw, &why);
    if (error) {
        cv_fail(err, error, "%s", why.text);
    } else {
        token->account_tag = cv_xmemdup0(raw.account_tag.p, raw.account_tag.n);
        token->secret = (struct cv_secret){ cv_xmemdup0(raw.secret.v, raw.secret.n), raw.secret.n };
        memcpy(token->id, raw.id, sizeof token->id);
        token->endpoint = cv_xmemdup0(raw.endpoint.p, raw.endpoint.n);
    }
    explicit_bzero(&why, sizeof why);
    bump_free(&mem);
    return error;
}

void token_free(struct token *token)
{
    char *secret = (char *)cv_reveal(token->secret).p;
    if (secret)
        explicit_bzero(secret, token->secret.n);
    free(secret);
    free(token->account_tag);
    free(token->endpoint);
    *token = (struct token){ .account_tag = NULL };
}
