/* jwks.c: the keys that Access publishes, and signatures checked with them. */
#include "jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, EC_BYTES = 32, TRIES_MAX = 8 };

/* ---- one key --------------------------------------------------------------------------------------------- */

static bool bytes_of(yyjson_val *key, const char *member, uint8_t out[RSA_BITS_MAX / 8], size_t *n)
{
    yyjson_val *v = yyjson_obj_get(key, member);
    struct cv_str text = { yyjson_get_str(v), yyjson_get_len(v) };
    return text.p && text.n > 0 && text.n <= RSA_BITS_MAX / 6 && access_base64url(text, out, n);
}

static EVP_PKEY *made(const char *type, OSSL_PARAM_BLD *parts)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(parts);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;
    CV_ASSERT(params && ctx);
    if (EVP_PKEY_fromdata_init(ctx) <= 0 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *rsa_key(yyjson_val *object)
{
    uint8_t n[RSA_BITS_MAX / 8], e[RSA_BITS_MAX / 8];
    size_t n_n, e_n;
    if (!bytes_of(object, "n", n, &n_n) || !bytes_of(object, "e", e, &e_n))
        return NULL;
    BIGNUM *modulus = BN_bin2bn(n, (int)n_n, NULL), *exponent = BN_bin2bn(e, (int)e_n, NULL);
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    CV_ASSERT(modulus && exponent && parts);
    EVP_PKEY *key = NULL;
    if (BN_num_bits(modulus) >= RSA_BITS_MIN && BN_num_bits(exponent) <= 64 && BN_is_odd(exponent) &&
        !BN_is_one(exponent) && OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, modulus) &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, exponent))
        key = made("RSA", parts);
    OSSL_PARAM_BLD_free(parts);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *ec_key(yyjson_val *object)
{
    uint8_t x[RSA_BITS_MAX / 8], y[RSA_BITS_MAX / 8], point[1 + 2 * EC_BYTES] = { 4 }; /* uncompressed */
    size_t x_n, y_n;
    if (!yyjson_equals_str(yyjson_obj_get(object, "crv"), "P-256") || !bytes_of(object, "x", x, &x_n) ||
        !bytes_of(object, "y", y, &y_n) || x_n != EC_BYTES || y_n != EC_BYTES)
        return NULL;
    memcpy(point + 1, x, EC_BYTES);
    memcpy(point + 1 + EC_BYTES, y, EC_BYTES);
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    CV_ASSERT(parts && OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) &&
              OSSL_PARAM_BLD_push_octet_string(parts, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)));
    EVP_PKEY *key = made("EC", parts);
    OSSL_PARAM_BLD_free(parts);
    return key;
}

/* Absent is fine, anything else must be exactly this. */
static bool agrees(yyjson_val *object, const char *member, const char *value)
{
    yyjson_val *v = yyjson_obj_get(object, member);
    return !v || yyjson_equals_str(v, value);
}

static void add(struct access_keys *keys, yyjson_val *object)
{
    yyjson_val *kid = yyjson_obj_get(object, "kid");
    bool rsa = yyjson_equals_str(yyjson_obj_get(object, "kty"), "RSA");
    bool ec = yyjson_equals_str(yyjson_obj_get(object, "kty"), "EC");
    if (!(rsa || ec) || !agrees(object, "use", "sig") || !agrees(object, "alg", rsa ? "RS256" : "ES256"))
        return;
    EVP_PKEY *key = rsa ? rsa_key(object) : ec_key(object);
    if (key)
        keys->v[keys->n++] =
            (struct access_key){ rsa ? ACCESS_RS256 : ACCESS_ES256,
                                 cv_xstrdup(yyjson_is_str(kid) ? yyjson_get_str(kid) : ""), key };
    ERR_clear_error();
}

/* ---- a set ----------------------------------------------------------------------------------------------- */

struct access_keys *access_keys_read(struct cv_str document, struct cv_err *err)
{
    yyjson_doc *doc =
        document.n <= ACCESS_JWKS_BYTES ? yyjson_read(document.p ? document.p : "", document.n, 0) : NULL;
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "keys"), *object;
    struct access_keys *keys = cv_xcalloc(1, sizeof(*keys));
    size_t i, n;
    keys->refs = 1;
    yyjson_arr_foreach(list, i, n, object)
    {
        if (keys->n < ACCESS_KEYS_MAX)
            add(keys, object);
    }
    bool whole = yyjson_is_arr(list);
    yyjson_doc_free(doc);
    if (keys->n > 0)
        return keys;
    cv_fail(err, CV_E_PROTO, whole ? "no key in it can be used" : "it is not a set of keys in JSON");
    access_keys_unref(keys);
    return NULL;
}

struct access_keys *access_keys_ref(struct access_keys *keys)
{
    if (keys)
        atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

void access_keys_unref(struct access_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < keys->n; i++) {
        EVP_PKEY_free(keys->v[i].key);
        free(keys->v[i].kid);
    }
    free(keys);
}

/* ---- signatures ------------------------------------------------------------------------------------------ */

/* RFC 7518 §3.4: r and s side by side; OpenSSL wants them in DER. Returns its length; 0 if it is not one. */
static int ecdsa_der(const struct access_jws *jws, uint8_t der[static 80])
{
    if (jws->signature_n != (size_t)2 * EC_BYTES)
        return 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(jws->signature, EC_BYTES, NULL),
           *s = BN_bin2bn(jws->signature + EC_BYTES, EC_BYTES, NULL);
    CV_ASSERT(sig && r && s && ECDSA_SIG_set0(sig, r, s));
    int n = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
    return n > 0 ? n : 0;
}

static bool verified_by(EVP_PKEY *key, const struct access_jws *jws)
{
    uint8_t der[80];
    const uint8_t *signature = jws->signature;
    size_t n = jws->signature_n;
    if (jws->algorithm == ACCESS_ES256) {
        n = (size_t)ecdsa_der(jws, der);
        signature = der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CV_ASSERT(ctx);
    bool good =
        n > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestVerify(ctx, signature, n, (const uint8_t *)jws->signed_bytes.p, jws->signed_bytes.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

enum access_verdict access_keys_verify(const struct access_keys *keys, const struct access_jws *jws)
{
    unsigned tries = 0;
    for (size_t i = 0; i < keys->n && tries < TRIES_MAX; i++) {
        const struct access_key *k = &keys->v[i];
        if (k->algorithm != jws->algorithm || (jws->kid.n && !cv_str_eq(jws->kid, cv_str_of(k->kid))))
            continue;
        tries++;
        if (verified_by(k->key, jws))
            return ACCESS_PASS;
    }
    return tries ? ACCESS_SIGNATURE : ACCESS_KEY;
}
