/* bearer.c: API keys: their form (RFC 6750 §2.1), and whether one is among those whose hashes a file holds. */
#include "access.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

enum { KEY_MAX = 8192, HASHES_MAX = 1000000 };

/* ---- the file ---------------------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static struct cv_str trimmed(struct cv_str line)
{
    const char *comment = line.n ? memchr(line.p, '#', line.n) : NULL;
    if (comment)
        line.n = (size_t)(comment - line.p);
    while (line.n > 0 && strchr(" \t\r", line.p[line.n - 1]))
        line.n--;
    while (line.n > 0 && strchr(" \t", line.p[0]))
        line.p++, line.n--;
    return line;
}

static bool hash_of_line(struct cv_str line, uint8_t hash[static 32])
{
    static const char prefix[] = "sha256:";
    size_t at = strlen(prefix);
    if (line.n != at + 64 || memcmp(line.p, prefix, at) != 0)
        return false;
    for (size_t i = 0; i < 32; i++) {
        int high = hex_of(line.p[at + 2 * i]), low = hex_of(line.p[at + 2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

struct access_hashes *access_hashes_read(const char *file, struct cv_str text, struct cv_err *err)
{
    struct access_hashes *h = cv_xcalloc(1, sizeof(*h));
    struct cv_buf buf = { 0 };
    unsigned number = 0;
    h->refs = 1;
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        struct cv_str line = trimmed((struct cv_str){ text.p, n });
        uint8_t hash[32];
        number++;
        if (line.n > 0 && (!hash_of_line(line, hash) || h->n == HASHES_MAX)) {
            cv_fail(err, CV_E_CONF,
                    "%s:%u: not sha256: and 64 hexadecimal digits; culvert hash-key makes such lines", file,
                    number);
            cv_buf_free(&buf);
            free(h);
            return NULL;
        }
        if (line.n > 0) {
            cv_buf_add(&buf, hash, sizeof(hash));
            h->n++;
        }
        n += end ? 1 : 0;
        text = (struct cv_str){ text.p + n, text.n - n };
    }
    h->v = (uint8_t(*)[32])(void *)buf.p;
    if (h->v)
        qsort(h->v, h->n, sizeof(*h->v), by_bytes);
    return h;
}

struct access_hashes *access_hashes_ref(struct access_hashes *h)
{
    if (h)
        atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void access_hashes_unref(struct access_hashes *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(h->v);
    free(h);
}

/* The first of those that begin with `byte` or a higher one. */
static size_t first_of(const struct access_hashes *h, unsigned byte)
{
    size_t low = 0, high = h->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->v[middle][0] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* All that share the first byte are compared to the end: time tells nothing of where a hash differs. */
bool access_hashes_hold(const struct access_hashes *h, struct cv_str key)
{
    uint8_t hash[32];
    SHA256((const uint8_t *)key.p, key.n, hash);
    size_t end = first_of(h, hash[0] + 1u);
    bool found = false;
    for (size_t i = first_of(h, hash[0]); i < end; i++)
        found |= CRYPTO_memcmp(h->v[i], hash, sizeof(hash)) == 0;
    return found;
}

/* ---- what a client shows ----------------------------------------------------------------------------------- */

static bool is_token68(struct cv_str s)
{
    static const char marks[] = "-._~+/";
    size_t i = 0;
    for (; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && !(c && strchr(marks, c)))
            break;
    }
    size_t body = i;
    while (i < s.n && s.p[i] == '=')
        i++;
    return body > 0 && i == s.n && s.n <= KEY_MAX;
}

static bool bearer_token(struct cv_str value, struct cv_str *token)
{
    static const char scheme[] = "bearer";
    size_t n = strlen(scheme);
    if (value.n <= n || !cv_str_caseeq((struct cv_str){ value.p, n }, CV_STR("bearer")) || value.p[n] != ' ')
        return false;
    while (n < value.n && value.p[n] == ' ')
        n++;
    *token = (struct cv_str){ value.p + n, value.n - n };
    return is_token68(*token);
}

/* Every key that is shown must be good: the router may look at either. */
enum access_verdict access_bearer(const struct access_shown *s, bool api_key_counts,
                                  const struct access_hashes *hashes)
{
    bool api_key = s->n_api_key > 0 && api_key_counts;
    struct cv_str token;
    if (s->n_authorization == 0 && !api_key)
        return ACCESS_NO_BEARER;
    if (s->n_authorization > 1 || (s->n_authorization == 1 && !bearer_token(s->authorization, &token)))
        return ACCESS_BAD_BEARER;
    if (api_key && (s->n_api_key > 1 || !is_token68(s->api_key)))
        return ACCESS_BAD_BEARER;
    if (!hashes)
        return ACCESS_PASS;
    bool known = s->n_authorization == 0 || access_hashes_hold(hashes, token);
    known &= !api_key || access_hashes_hold(hashes, s->api_key);
    return known ? ACCESS_PASS : ACCESS_UNKNOWN_BEARER;
}

/* ---- culvert hash-key -------------------------------------------------------------------------------------- */

int access_hash_key(struct cv_self *self, int argc, char **argv)
{
    char key[KEY_MAX + 2];
    (void)self, (void)argv;
    if (argc > 0) {
        fputs(
            "culvert hash-key takes the key from its standard input, where no list of processes shows it.\n",
            stderr);
        return 2;
    }
    size_t n = fread(key, 1, sizeof(key), stdin);
    while (n > 0 && (key[n - 1] == '\n' || key[n - 1] == '\r'))
        n--;
    if (!is_token68((struct cv_str){ key, n })) {
        OPENSSL_cleanse(key, sizeof(key));
        fputs("That is no bearer key: letters, digits and -._~+/ and then = are allowed (RFC 6750).\n",
              stderr);
        return 1;
    }
    uint8_t hash[32];
    SHA256((const uint8_t *)key, n, hash);
    OPENSSL_cleanse(key, sizeof(key));
    fputs("sha256:", stdout);
    for (size_t i = 0; i < sizeof(hash); i++)
        printf("%02x", hash[i]);
    putchar('\n');
    return fflush(stdout) == 0 ? 0 : 1;
}
