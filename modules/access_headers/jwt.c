/* jwt.c: an assertion's three parts, its header and its claims; whatever is unusual in them is refused. */
#include "jwt.h"

#include <string.h>

enum { HEADER_MAX = 4096 };
static const int64_t time_max = INT64_C(1) << 53; /* what a JSON number says exactly */

/* ---- base64url ------------------------------------------------------------------------------------------- */

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool access_base64url(struct cv_str text, uint8_t *to, size_t *n)
{
    uint32_t bits = 0;
    unsigned have = 0;
    *n = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = value_of(text.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[(*n)++] = (uint8_t)(bits >> have);
        }
    }
    /* One way to write one value: the bits left over are zero, and fewer than six. */
    return have < 6 && (bits & ((1u << have) - 1)) == 0;
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

/* A base64url part that holds a JSON object; NULL if not. */
static yyjson_doc *object_of(struct cv_str part, size_t max)
{
    if (part.n == 0 || part.n > max)
        return NULL;
    uint8_t *json = cv_xmalloc(part.n / 4 * 3 + 3);
    size_t n;
    yyjson_doc *doc = NULL;
    if (access_base64url(part, json, &n))
        doc = yyjson_read((const char *)json, n, 0);
    free(json);
    if (doc && !yyjson_is_obj(yyjson_doc_get_root(doc))) {
        yyjson_doc_free(doc);
        doc = NULL;
    }
    return doc;
}

/* The member of that name. False if it is there twice: two readers would disagree. */
static bool member(yyjson_doc *doc, const char *name, yyjson_val **value)
{
    size_t i, n;
    yyjson_val *key, *v;
    *value = NULL;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, n, key, v)
    {
        if (!yyjson_equals_str(key, name))
            continue;
        if (*value)
            return false;
        *value = v;
    }
    return true;
}

/* Absent and null are an empty string. */
static bool text_member(yyjson_doc *doc, const char *name, struct cv_str *s)
{
    yyjson_val *v;
    *s = (struct cv_str){ "", 0 };
    if (!member(doc, name, &v) || (v && !yyjson_is_str(v) && !yyjson_is_null(v)))
        return false;
    if (yyjson_is_str(v))
        *s = (struct cv_str){ yyjson_get_str(v), yyjson_get_len(v) };
    return true;
}

static bool digits(struct cv_str s, int64_t *value)
{
    *value = 0;
    if (s.n == 0 || s.n > 15)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        *value = *value * 10 + (s.p[i] - '0');
    }
    return true;
}

/* Numbers, with a fraction or without, and strings of digits, as docs/protocol.md §19 says. */
static bool time_member(yyjson_doc *doc, const char *name, bool *has, int64_t *value)
{
    yyjson_val *v;
    if (!member(doc, name, &v))
        return false;
    *has = v && !yyjson_is_null(v);
    if (!*has)
        return true;
    if (yyjson_is_str(v))
        return digits((struct cv_str){ yyjson_get_str(v), yyjson_get_len(v) }, value);
    double number = yyjson_get_num(v);
    *value = (int64_t)(number > -1 && number < (double)time_max ? number : 0);
    return yyjson_is_num(v) && number > -1 && number < (double)time_max;
}

/* ---- the three parts ------------------------------------------------------------------------------------- */

static bool cut(struct cv_str *rest, struct cv_str *part)
{
    const char *dot = memchr(rest->p, '.', rest->n);
    if (!dot)
        return false;
    *part = (struct cv_str){ rest->p, (size_t)(dot - rest->p) };
    *rest = (struct cv_str){ dot + 1, rest->n - part->n - 1 };
    return true;
}

static bool header_members(yyjson_doc *doc, struct access_jws *jws, struct cv_str *alg)
{
    struct cv_str kid;
    yyjson_val *crit;
    if (!text_member(doc, "alg", alg) || !text_member(doc, "kid", &kid) || !member(doc, "crit", &crit))
        return false;
    if (crit || kid.n >= sizeof(jws->kid_text)) /* extensions that must be understood: none are */
        return false;
    memcpy(jws->kid_text, kid.p, kid.n);
    jws->kid = (struct cv_str){ jws->kid_text, kid.n };
    return true;
}

/* Keys and addresses of keys that a header may carry (jwk, jku, x5c, x5u) are not looked at: the sender chose them. */
static enum access_verdict header_read(struct cv_str part, struct access_jws *jws)
{
    yyjson_doc *doc = object_of(part, HEADER_MAX);
    struct cv_str alg;
    enum access_verdict verdict = ACCESS_MALFORMED;
    if (doc && header_members(doc, jws, &alg)) {
        bool rs256 = cv_str_eq(alg, CV_STR("RS256"));
        verdict = rs256 || cv_str_eq(alg, CV_STR("ES256")) ? ACCESS_PASS : ACCESS_ALGORITHM;
        jws->algorithm = rs256 ? ACCESS_RS256 : ACCESS_ES256;
    }
    yyjson_doc_free(doc);
    return verdict;
}

enum access_verdict access_jws_read(struct cv_str token, struct access_jws *jws)
{
    struct cv_str rest = token, header;
    if (token.n > ACCESS_TOKEN_MAX || !cut(&rest, &header) || !cut(&rest, &jws->payload))
        return ACCESS_MALFORMED;
    jws->signed_bytes = (struct cv_str){ token.p, header.n + 1 + jws->payload.n };
    enum access_verdict verdict = header_read(header, jws);
    if (verdict)
        return verdict;
    bool ok = rest.n > 0 && rest.n <= sizeof(jws->signature) &&
              access_base64url(rest, jws->signature, &jws->signature_n);
    return ok ? ACCESS_PASS : ACCESS_MALFORMED;
}

/* ---- claims ---------------------------------------------------------------------------------------------- */

static bool audience(struct access_claims *c, yyjson_val *aud)
{
    size_t n = yyjson_is_arr(aud) ? yyjson_arr_size(aud) : yyjson_is_str(aud) ? 1 : 0;
    if (n > ACCESS_AUD_MAX || (n == 0 && aud && !yyjson_is_arr(aud) && !yyjson_is_null(aud)))
        return false;
    c->aud = cv_xcalloc(n, sizeof(*c->aud));
    for (; c->n_aud < n; c->n_aud++) {
        yyjson_val *v = yyjson_is_arr(aud) ? yyjson_arr_get(aud, c->n_aud) : aud;
        if (!yyjson_is_str(v))
            return false;
        c->aud[c->n_aud] = (struct cv_str){ yyjson_get_str(v), yyjson_get_len(v) };
    }
    return true;
}

enum access_verdict access_claims_read(struct cv_str payload, struct access_claims *c)
{
    yyjson_val *aud;
    *c = (struct access_claims){ .doc = object_of(payload, ACCESS_TOKEN_MAX) };
    if (c->doc && text_member(c->doc, "iss", &c->iss) && text_member(c->doc, "type", &c->type) &&
        text_member(c->doc, "common_name", &c->common_name) && member(c->doc, "aud", &aud) &&
        audience(c, aud) && time_member(c->doc, "exp", &c->has_exp, &c->exp) &&
        time_member(c->doc, "nbf", &c->has_nbf, &c->nbf) && time_member(c->doc, "iat", &c->has_iat, &c->iat))
        return ACCESS_PASS;
    access_claims_free(c);
    return ACCESS_MALFORMED;
}

void access_claims_free(struct access_claims *c)
{
    yyjson_doc_free(c->doc);
    free(c->aud);
    *c = (struct access_claims){ 0 };
}
