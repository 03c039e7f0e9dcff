/* rig.c: keys, tokens and a server of keys for the tests of Access. */
#include "rig.h"

#include "pki.h"
#include "process.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const names[] = { "one", "two", "ec" };

/* ---- keys and tokens --------------------------------------------------------------------------------------- */

static EVP_PKEY *key_of(enum rig_key which)
{
    static EVP_PKEY *keys[3];
    if (!keys[which])
        keys[which] = which == RIG_EC ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    CV_ASSERT(keys[which]);
    return keys[which];
}

static void add64(struct cv_buf *out, const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v =
            (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);
        size_t chars = n - i >= 3 ? 4 : n - i + 1;
        for (size_t j = 0; j < chars; j++)
            cv_buf_add(out, &digits[v >> (18 - 6 * j) & 63], 1);
    }
}

static void add_text(struct cv_buf *out, const char *text)
{
    cv_buf_add(out, text, strlen(text));
}

static void add_number(struct cv_buf *out, EVP_PKEY *key, const char *param)
{
    BIGNUM *n = NULL;
    uint8_t bytes[512];
    CV_ASSERT(EVP_PKEY_get_bn_param(key, param, &n));
    bool ec = EVP_PKEY_is_a(key, "EC");
    int size = ec ? BN_bn2binpad(n, bytes, 32) : BN_bn2bin(n, bytes);
    add64(out, bytes, (size_t)size);
    BN_free(n);
}

char *rig_jwks(unsigned which)
{
    struct cv_buf out = { 0 };
    const char *comma = "";
    add_text(&out, "{\"keys\":[");
    for (unsigned i = 0; i < 3; i++) {
        if (!(which & 1u << i))
            continue;
        bool ec = i == RIG_EC;
        add_text(&out, comma);
        add_text(&out, ec ? "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"" : "{\"kty\":\"RSA\",\"kid\":\"");
        add_text(&out, names[i]);
        add_text(&out, ec ? "\",\"x\":\"" : "\",\"n\":\"");
        add_number(&out, key_of(i), ec ? OSSL_PKEY_PARAM_EC_PUB_X : OSSL_PKEY_PARAM_RSA_N);
        add_text(&out, ec ? "\",\"y\":\"" : "\",\"e\":\"");
        add_number(&out, key_of(i), ec ? OSSL_PKEY_PARAM_EC_PUB_Y : OSSL_PKEY_PARAM_RSA_E);
        add_text(&out, "\"}");
        comma = ",";
    }
    add_text(&out, "]}");
    cv_buf_add(&out, "", 1);
    return (char *)out.p;
}

static size_t raw_signature(uint8_t *der, size_t n, uint8_t out[static 64])
{
    const uint8_t *at = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)n);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32);
    ECDSA_SIG_free(sig);
    return 64;
}

char *rig_token(const char *header, const char *payload, enum rig_key key)
{
    struct cv_buf out = { 0 };
    uint8_t signature[512], raw[64];
    size_t n = sizeof(signature);
    add64(&out, header, strlen(header));
    add_text(&out, ".");
    add64(&out, payload, strlen(payload));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CV_ASSERT(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key_of(key)) == 1);
    CV_ASSERT(EVP_DigestSign(ctx, signature, &n, out.p, out.n) == 1);
    EVP_MD_CTX_free(ctx);
    bool ec = key == RIG_EC;
    if (ec)
        n = raw_signature(signature, n, raw);
    add_text(&out, ".");
    add64(&out, ec ? raw : signature, n);
    cv_buf_add(&out, "", 1);
    return (char *)out.p;
}

char *rig_good(enum rig_key key, const char *more)
{
    char header[64], payload[512];
    snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", key == RIG_EC ? "ES256" : "RS256",
             names[key]);
    snprintf(payload, sizeof(payload), "{\"iss\":\"" ISS "\",\"aud\":[\"" AUD "\"],\"exp\":4102444800%s}",
             more);
    return rig_token(header, payload, key);
}

/* ---- the server -------------------------------------------------------------------------------------------- */

struct rig_server {
    pthread_t thread;
    pthread_mutex_t lock;
    SSL_CTX *ctx;
    int fd;
    unsigned port, asked;
    enum rig_mode mode;
    char *body;
    bool over;
};

static void serve(struct rig_server *s, SSL *ssl)
{
    static const char *const heads[] = { [RIG_SERVES] = "HTTP/1.1 200 OK",
                                         [RIG_500] = "HTTP/1.1 500 No",
                                         [RIG_GARBAGE] = "\x16\x03 this is no HTTP",
                                         [RIG_SLOW] = "HTTP/1.1 200 OK",
                                         [RIG_HUGE] = "HTTP/1.1 200 OK",
                                         [RIG_REDIRECTS] = "HTTP/1.1 302 Found" };
    char in[4096], head[256];
    if (SSL_accept(ssl) != 1 || SSL_read(ssl, in, sizeof(in)) <= 0)
        return;
    pthread_mutex_lock(&s->lock);
    s->asked++;
    enum rig_mode mode = s->mode;
    char *body = cv_xstrdup(s->body);
    pthread_mutex_unlock(&s->lock);
    size_t n = mode == RIG_HUGE ? (size_t)10 << 20 : strlen(body);
    int head_n = snprintf(head, sizeof(head),
                          "%s\r\nContent-Length: %zu\r\nLocation: https://127.0.0.1:%u/other\r\n\r\n",
                          heads[mode], n, s->port);
    if (mode == RIG_SLOW)
        sleep_ms(1500);
    SSL_write(ssl, head, head_n);
    for (size_t sent = 0; mode == RIG_HUGE && sent < n; sent += sizeof(in))
        if (SSL_write(ssl, in, sizeof(in)) <= 0)
            break;
    if (mode != RIG_HUGE)
        SSL_write(ssl, body, (int)n);
    SSL_shutdown(ssl);
    free(body);
}

static void *run(void *arg)
{
    struct rig_server *s = arg;
    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        pthread_mutex_lock(&s->lock);
        bool over = s->over;
        pthread_mutex_unlock(&s->lock);
        if (over || fd < 0) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        SSL *ssl = SSL_new(s->ctx);
        SSL_set_fd(ssl, fd);
        serve(s, ssl);
        SSL_free(ssl);
        close(fd);
    }
}

struct rig_server *rig_server_start(const char *ca_file)
{
    struct rig_server *s = cv_xcalloc(1, sizeof(*s));
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(addr);
    struct pki *pki = pki_new("keys");
    CV_ASSERT(pki_write_ca(pki, ca_file));
    s->ctx = pki_server(pki, "127.0.0.1,localhost", PKI_GOOD);
    pki_free(pki);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CV_ASSERT(bind(s->fd, (struct sockaddr *)&addr, size) == 0 && listen(s->fd, 64) == 0);
    getsockname(s->fd, (struct sockaddr *)&addr, &size);
    s->port = ntohs(addr.sin_port);
    s->body = cv_xstrdup("");
    pthread_mutex_init(&s->lock, NULL);
    CV_ASSERT(pthread_create(&s->thread, NULL, run, s) == 0);
    return s;
}

void rig_server_stop(struct rig_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->over = true;
    pthread_mutex_unlock(&s->lock);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    SSL_CTX_free(s->ctx);
    pthread_mutex_destroy(&s->lock);
    free(s->body);
    free(s);
}

void rig_server_set(struct rig_server *s, enum rig_mode mode, const char *body)
{
    pthread_mutex_lock(&s->lock);
    s->mode = mode;
    free(s->body);
    s->body = cv_xstrdup(body);
    pthread_mutex_unlock(&s->lock);
}

unsigned rig_server_asked(struct rig_server *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->asked;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned rig_server_port(const struct rig_server *s)
{
    return s->port;
}
