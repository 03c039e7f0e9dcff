/* jwt.h: Access assertions as bytes: compact JWS (RFC 7515), their claims (RFC 7519), and keys to verify them with (RFC 7517).
 *
 * Pure: no clock, no socket, no state. A key set is immutable and shared between threads by counting. */
#ifndef ACCESS_JWT_H
#define ACCESS_JWT_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <yyjson.h>

/* What became of a request; also the label `result` of the metric, by access_verdict_name(). */
#define ACCESS_VERDICTS(X)                                                                                   \
    X(PASS, "pass", 0, "")                                                                                   \
    X(MISSING, "missing", 403, "an Access assertion is required")                                            \
    X(MALFORMED, "malformed", 401, "the Access assertion is not well formed")                                \
    X(ALGORITHM, "algorithm", 401, "the Access assertion is signed in a way that is not accepted")           \
    X(KEY, "unknown_key", 401, "the Access assertion is not signed by a current key")                        \
    X(SIGNATURE, "signature", 401, "the signature of the Access assertion is wrong")                         \
    X(ISSUER, "issuer", 401, "the Access assertion comes from another team")                                 \
    X(EXPIRED, "expired", 401, "the Access assertion has expired")                                           \
    X(EARLY, "not_yet_valid", 401, "the Access assertion is not valid yet")                                  \
    X(AUDIENCE, "audience", 403, "the Access assertion is for another application")                          \
    X(TYPE, "type", 403, "the Access assertion is not one of an application")                                \
    X(CLIENT, "client", 403, "this service token is not allowed here")                                       \
    X(NO_KEYS, "no_keys", 503, "Access cannot be checked at the moment")                                     \
    X(NO_BEARER, "bearer_missing", 401, "an API key is required")                                            \
    X(BAD_BEARER, "bearer_malformed", 401, "the API key is not well formed")                                 \
    X(UNKNOWN_BEARER, "bearer_unknown", 401, "the API key is not valid")                                     \
    X(BYPASS, "bypass", 0, "")                                                                               \
    X(WAIT, "waits", 0, "")
#define ACCESS_X(id, name, status, text) ACCESS_##id,
enum access_verdict { ACCESS_VERDICTS(ACCESS_X) ACCESS_VERDICTS_N };
#undef ACCESS_X

enum access_algorithm { ACCESS_RS256, ACCESS_ES256, ACCESS_ALGORITHMS };

/* ---- jwt.c --------------------------------------------------------------------------------------------- */

enum { ACCESS_TOKEN_MAX = 16384, ACCESS_AUD_MAX = 64 };

struct access_claims {
    yyjson_doc *doc; /* owns what the strings point to */
    struct cv_str iss, type, common_name;
    struct cv_str *aud;
    size_t n_aud;
    bool has_exp, has_nbf, has_iat;
    int64_t exp, nbf, iat; /* seconds since 1970; a fraction is cut off */
};

struct access_jws {
    enum access_algorithm algorithm;
    struct cv_str kid; /* empty: none */
    struct cv_str signed_bytes, payload;
    uint8_t signature[1024];
    size_t signature_n;
    char kid_text[256];
};
/* Borrows from the token. ACCESS_PASS, _MALFORMED or _ALGORITHM. */
enum access_verdict access_jws_read(struct cv_str token, struct access_jws *);
/* The claims of a payload, to be asked for once the signature is known to be good. ACCESS_PASS or _MALFORMED. */
enum access_verdict access_claims_read(struct cv_str payload, struct access_claims *);
void access_claims_free(struct access_claims *);

/* RFC 4648 §5 without padding, nothing else in it; false if not. `to` has room for 3 bytes per 4 characters begun. */
bool access_base64url(struct cv_str text, uint8_t *to, size_t *n);

/* ---- jwks.c -------------------------------------------------------------------------------------------- */

enum { ACCESS_KEYS_MAX = 64, ACCESS_JWKS_BYTES = 1 << 18 };

struct access_key {
    enum access_algorithm algorithm;
    char *kid; /* "" for none */
    EVP_PKEY *key;
};
struct access_keys {
    atomic_uint refs;
    struct access_key v[ACCESS_KEYS_MAX];
    size_t n;
};
/* NULL if there is no usable key in it; then err says why. One reference. */
struct access_keys *access_keys_read(struct cv_str document, struct cv_err *err);
struct access_keys *access_keys_ref(struct access_keys *);
void access_keys_unref(struct access_keys *); /* NULL is fine */
/* ACCESS_PASS, _KEY (none of that id and algorithm) or _SIGNATURE. */
enum access_verdict access_keys_verify(const struct access_keys *, const struct access_jws *);

#endif
