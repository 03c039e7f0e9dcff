/* fuzz_token.c: any bytes as a token. */
#include "tunnel/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct token token;
    struct cv_err err;
    token_parse((struct cv_secret){ (const char *)p, n }, &token, &err);
    token_free(&token);
    return 0;
}
