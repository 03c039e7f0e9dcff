/* test_90_secrets.c: of all that the processes of this run have printed, at level debug, nothing is a secret. */
#include "scene.h"

#define BEARER "sk-culvert-test-7f3a9c51" /* test_30_http.c sends it too */

/* What tests/vectors/token/good.txt holds: the secret is the bytes 0 to 31. */
static const struct {
    const char *what, *bytes;
    size_t n;
} secrets[] = {
    { "the beginning of the token", "eyJhIjoiMDEyMzQ1Njc4OWFiY2RlZjAx", 32 },
    { "a part of the token that holds its secret", "QUFFQ0F3UUZCZ2NJQ1FvTERBME9EeEFS", 32 },
    { "the secret in base64", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", 43 },
    { "the secret in hexadecimal", "000102030405060708090a0b0c0d0e0f", 32 },
    { "the secret in hexadecimal capitals", "000102030405060708090A0B0C0D0E0F", 32 },
    { "the secret",
      "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16", 22 },
    { "a bearer's key", BEARER, sizeof(BEARER) - 1 },
    { "a key in the query of a URL", "query-5e0d9c2b61", 16 },
    { "the token of an operator", "operator-41c2f0de77", 19 },
    { "a bearer's key in base64", "c2stY3VsdmVydC10ZXN0LTdmM2E5YzUx", 32 },
    { "a password in base64", "dmlzaXRvcjpvcGVuIHNlc2FtZQ==", 28 },
    { "a cookie", "session=bitter-almond", 21 },
    { "an assertion", "eyJhbGciOiJSUzI1NiJ9.made.up", 28 },
};

static void visit_with_secrets(struct scene *t, const char *host)
{
    static const char *const fields[] = { "Authorization: Bearer " BEARER "\r\n",
                                          "Authorization: Basic dmlzaXRvcjpvcGVuIHNlc2FtZQ==\r\n",
                                          "Cookie: session=bitter-almond\r\n",
                                          "Cf-Access-Jwt-Assertion: eyJhbGciOiJSUzI1NiJ9.made.up\r\n" };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char all[256];
        snprintf(all, sizeof(all), "Host: %s\r\n%s", host, fields[i]);
        struct answer a = scene_visit(t, "GET", "/", all, NULL, 0);
        CU_ASSERT_TRUE(a.status != 0);
        answer_free(&a);
    }
}

/* What the metrics server tells must not hold the token either. */
static void ask_everything(struct scene *t)
{
    static const char *const targets[] = { "/metrics",     "/config",     "/ready", "/diag/configuration",
                                           "/diag/tunnel", "/diag/system" };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct answer a = scene_metrics(t, targets[i]);
        CU_ASSERT_TRUE(a.status != 0);
        for (size_t k = 0; k < sizeof(secrets) / sizeof(secrets[0]); k++)
            CU_ASSERT_TRUE(a.body.n == 0 || !memmem(a.body.p, a.body.n, secrets[k].bytes, secrets[k].n));
        answer_free(&a);
    }
}

static void nothing_that_was_printed_is_a_secret(void)
{
    static const char rules[] = "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"},"
                                "{\"hostname\":\"dead.example\",\"service\":\"http://127.0.0.1:1\"},"
                                "{\"service\":\"http_status:404\"}]}";
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){
            .transport = transport, .rules = rules, .script = "refuse:retry:1s:Unauthorized for now\n" });
        CU_ASSERT_TRUE(process_says(t->culvert, " DBG ", PATIENCE_MS));
        visit_with_secrets(t, "a.example");
        visit_with_secrets(t, "dead.example");
        visit_with_secrets(t, "unknown.example");
        ask_everything(t);
        scene_stop(t);
    }
    CU_ASSERT_PTR_NOT_NULL(
        process_that_said("Registered tunnel connection", 28)); /* the search finds things */
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        const char *name = process_that_said(secrets[i].bytes, secrets[i].n);
        CU_ASSERT_PTR_NULL(name);
        if (name)
            fprintf(stderr, "  %s printed %s\n", name, secrets[i].what);
    }
}

SUITE(system_90_secrets, TEST(nothing_that_was_printed_is_a_secret));
