/* headers.c: the origin's header fields as one value, the way the edge expects them (docs/protocol.md §11.6, §11.7). */
#include "h2.h"

static bool begins(struct cv_str s, struct cv_str prefix)
{
    return s.n >= prefix.n && cv_str_caseeq((struct cv_str){ s.p, prefix.n }, prefix);
}

bool h2_is_control_header(struct cv_str name)
{
    return begins(name, CV_STR(":")) || begins(name, CV_STR("cf-int-")) ||
           begins(name, CV_STR("cf-cloudflared-")) || begins(name, CV_STR("cf-proxy-"));
}

static size_t base64_size(size_t n)
{
    return (n * 4 + 2) / 3; /* no padding */
}

static char *add_base64(char *out, const char *in, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t three = (uint32_t)(uint8_t)in[i] << 16;
        three |= left > 1 ? (uint32_t)(uint8_t)in[i + 1] << 8 : 0;
        three |= left > 2 ? (uint8_t)in[i + 2] : 0;
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        if (left > 1)
            *out++ = digits[three >> 6 & 63];
        if (left > 2)
            *out++ = digits[three & 63];
    }
    return out;
}

struct cv_str h2_serialize_headers(struct cv_req *req, const struct cv_headers *headers)
{
    struct cv_str name, value;
    size_t size = 0, longest = 0;
    for (size_t i = 0; cv_header_at(headers, i, &name, &value); i++) {
        size += base64_size(name.n) + base64_size(value.n) + 2;
        longest = name.n > longest ? name.n : longest;
    }
    if (!size)
        return CV_STR("");
    char *begin = cv_alloc(req, size), *out = begin;
    char *canonical = cv_alloc(req, longest);
    for (size_t i = 0; cv_header_at(headers, i, &name, &value); i++) {
        if (h2_is_control_header(name))
            continue;
        if (out != begin)
            *out++ = ';';
        cv_canonical_name(name, canonical);
        out = add_base64(out, canonical, name.n);
        *out++ = ':';
        out = add_base64(out, value.p, value.n);
    }
    return (struct cv_str){ begin, (size_t)(out - begin) };
}
