/* fuzz_access_token.c: Access assertions of any bytes, with a key that a signature never fits. */
#include "access_headers/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct access_keys *keys(void)
{
    static struct access_keys *set;
    if (!set)
        set = access_keys_read(CV_STR("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"x\":"
                                      "\"qWV-aoVYggeE0kCwxFxQUmS_NKUqv18YfY4n4SK4Jxw\","
                                      "\"y\":\"cbwWU_U0mNajSEBGzTDZRK0s0fISkWPu96omChFU_tY\"}]}"),
                               NULL);
    return set;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct access_cache *cache;
    struct access_jws jws;
    struct access_claims claims;
    struct cv_str token = { (const char *)bytes, n }, client;
    struct access_check check = { .issuer = CV_STR("https://t.cloudflareaccess.com"),
                                  .es256 = true,
                                  .strict = true };
    if (!cache)
        cache = access_cache_new();
    CV_ASSERT(access_verify(cache, keys(), &check, token, 1800000000, &client) != ACCESS_PASS);
    if (access_jws_read(token, &jws) == ACCESS_PASS &&
        access_claims_read(jws.payload, &claims) == ACCESS_PASS)
        access_claims_free(&claims);
    return 0;
}
