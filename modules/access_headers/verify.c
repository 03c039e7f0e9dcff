/* verify.c: a token against what a section or a rule demands; what a good signature said is remembered. */
#include "access.h"

#include <stdio.h>
#include <string.h>

enum { SETS = 512, WAYS = 2, DIGEST = 32 };

/* A token whose signature was good with these keys. Only such tokens get here, so nobody can push others out. */
struct entry {
    uint8_t digest[DIGEST];
    struct access_keys *keys; /* NULL: free */
    enum access_algorithm algorithm;
    struct access_claims claims;
};
struct access_cache {
    EVP_MD *sha256;
    EVP_MD_CTX *ctx;
    unsigned turn;
    struct entry v[SETS][WAYS];
};

struct access_cache *access_cache_new(void)
{
    struct access_cache *c = cv_xcalloc(1, sizeof(*c));
    c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    c->ctx = EVP_MD_CTX_new();
    CV_ASSERT(c->sha256 && c->ctx && EVP_DigestInit_ex2(c->ctx, c->sha256, NULL) == 1);
    return c;
}

static void forget(struct entry *e)
{
    access_keys_unref(e->keys);
    access_claims_free(&e->claims);
    *e = (struct entry){ .keys = NULL };
}

void access_cache_free(struct access_cache *c)
{
    for (size_t i = 0; i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++)
            forget(&c->v[i][j]);
    EVP_MD_CTX_free(c->ctx);
    EVP_MD_free(c->sha256);
    free(c);
}

static struct entry *set_of(struct access_cache *c, const uint8_t digest[static DIGEST])
{
    return c->v[(digest[0] << 8 | digest[1]) % SETS];
}

static const struct entry *find(struct access_cache *c, const uint8_t digest[static DIGEST],
                                const struct access_keys *keys)
{
    struct entry *set = set_of(c, digest);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].keys == keys && memcmp(set[i].digest, digest, DIGEST) == 0)
            return &set[i];
    return NULL;
}

static const struct entry *remember(struct access_cache *c, const uint8_t digest[static DIGEST],
                                    const struct access_keys *keys, const struct access_jws *jws,
                                    const struct access_claims *claims_take)
{
    struct entry *e = &set_of(c, digest)[c->turn++ % WAYS];
    forget(e);
    memcpy(e->digest, digest, DIGEST);
    e->keys = access_keys_ref((struct access_keys *)keys);
    e->algorithm = jws->algorithm;
    e->claims = *claims_take;
    return e;
}

/* ---- what must be true of the claims ----------------------------------------------------------------------- */

static bool for_us(const struct access_claims *c, struct cv_list audience)
{
    for (size_t i = 0; i < c->n_aud; i++)
        for (size_t j = 0; j < audience.n; j++)
            if (cv_str_eq(c->aud[i], audience.v[j]))
                return true;
    return false;
}

static enum access_verdict judge(const struct entry *e, const struct access_check *check, int64_t now)
{
    const struct access_claims *c = &e->claims;
    if (e->algorithm == ACCESS_ES256 && !check->es256)
        return ACCESS_ALGORITHM;
    if (!cv_str_eq(c->iss, check->issuer))
        return ACCESS_ISSUER;
    if (!c->has_exp || c->exp + check->exp_leeway <= now)
        return ACCESS_EXPIRED;
    if ((c->has_nbf && c->nbf - check->nbf_leeway > now) ||
        (check->strict && c->has_iat && c->iat - check->nbf_leeway > now))
        return ACCESS_EARLY;
    if (check->strict && c->type.n &&
        !cv_str_eq(c->type, CV_STR("app"))) /* "org" is the session of the whole team */
        return ACCESS_TYPE;
    return for_us(c, check->audience) ? ACCESS_PASS : ACCESS_AUDIENCE;
}

static enum access_verdict verify_signature(struct access_cache *c, const uint8_t digest[static DIGEST],
                                            const struct access_keys *keys, const struct access_check *check,
                                            struct cv_str token, const struct entry **e)
{
    struct access_jws jws;
    struct access_claims claims;
    enum access_verdict verdict = access_jws_read(token, &jws);
    if (!verdict && jws.algorithm == ACCESS_ES256 && !check->es256)
        verdict = ACCESS_ALGORITHM;
    if (!verdict)
        verdict = keys ? access_keys_verify(keys, &jws) : ACCESS_NO_KEYS;
    if (!verdict)
        verdict = access_claims_read(jws.payload, &claims);
    if (!verdict)
        *e = remember(c, digest, keys, &jws, &claims);
    return verdict;
}

enum access_verdict access_verify(struct access_cache *c, const struct access_keys *keys,
                                  const struct access_check *check, struct cv_str token, int64_t now,
                                  struct cv_str *client)
{
    uint8_t digest[DIGEST];
    if (token.n == 0)
        return ACCESS_MISSING;
    if (token.n > ACCESS_TOKEN_MAX)
        return ACCESS_MALFORMED;
    CV_ASSERT(EVP_DigestInit_ex2(c->ctx, NULL, NULL) == 1 &&
              EVP_DigestUpdate(c->ctx, token.p, token.n) == 1 &&
              EVP_DigestFinal_ex(c->ctx, digest, NULL) == 1);
    const struct entry *e = keys ? find(c, digest, keys) : NULL;
    enum access_verdict verdict = e ? ACCESS_PASS : verify_signature(c, digest, keys, check, token, &e);
    if (verdict)
        return verdict;
    *client = e->claims.common_name;
    return judge(e, check, now);
}

struct cv_str access_issuer(struct cv_str team, bool fed, char out[static ACCESS_ISSUER_MAX])
{
    bool ok = team.n > 0 && team.n <= 63;
    for (size_t i = 0; ok && i < team.n; i++) {
        char c = team.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
             c == '_';
    }
    if (!ok)
        return (struct cv_str){ "", 0 };
    int n = snprintf(out, ACCESS_ISSUER_MAX, "https://" CV_STR_FMT "%s.cloudflareaccess.com",
                     CV_STR_ARG(team), fed ? ".fed" : "");
    return (struct cv_str){ out, (size_t)n };
}
