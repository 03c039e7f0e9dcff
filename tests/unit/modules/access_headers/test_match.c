/* test_match.c: networks in every spelling, and API keys in theirs. */
#include "rig.h"

static void networks_hold_their_addresses(void)
{
    static const struct {
        const char *net, *ip;
        bool holds;
    } table[] = { { "10.0.0.0/8", "10.1.2.3", true },
                  { "10.0.0.0/8", "11.1.2.3", false },
                  { "10.0.0.0/8", "::ffff:10.1.2.3", true },
                  { "192.0.2.7", "192.0.2.7", true },
                  { "192.0.2.7", "192.0.2.8", false },
                  { "192.0.2.128/25", "192.0.2.127", false },
                  { "2001:db8::/33", "2001:db8:7fff::1", true },
                  { "2001:db8::/33", "2001:db8:8000::1", false },
                  { "0.0.0.0/0", "203.0.113.9", true },
                  { "0.0.0.0/0", "2001:db8::1", false },
                  { "::/0", "2001:db8::1", true },
                  { "10.0.0.0/8", "10.1.2.3, 1.2.3.4", false },
                  { "10.0.0.0/8", " 10.1.2.3", false },
                  { "10.0.0.0/8", "010.1.2.3", false },
                  { "10.0.0.0/8", "", false } };
    static const char *const wrong[] = { "",     "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x",   "::/129",
                                         "host", "/8",          "10.0.0/8",  "10.0.0.0/0008" };
    struct access_net net;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        CU_ASSERT_TRUE(access_net_read(cv_str_of(table[i].net), &net));
        CU_ASSERT_EQUAL(access_nets_hold(&net, 1, cv_str_of(table[i].ip)), table[i].holds);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CU_ASSERT_FALSE(access_net_read(cv_str_of(wrong[i]), &net));
}

/* ---- API keys ---------------------------------------------------------------------------------------------- */

static struct access_hashes *hashes_of(const char *key)
{
    char line[80] = "sha256:";
    uint8_t hash[32];
    EVP_Digest(key, strlen(key), hash, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < 32; i++)
        snprintf(line + 7 + 2 * i, 3, "%02X", hash[i]);
    struct cv_buf text = { 0 };
    cv_buf_add(&text, "# team A\n\n", 10);
    for (unsigned i = 0; i < 300; i++) { /* others around it */
        char other[80];
        snprintf(other, sizeof(other), "sha256:%02x%062x # %u\r\n", i & 0xff, i, i);
        cv_buf_add(&text, other, strlen(other));
    }
    cv_buf_add(&text, line, strlen(line));
    struct access_hashes *h =
        access_hashes_read("keys", (struct cv_str){ (const char *)text.p, text.n }, NULL);
    cv_buf_free(&text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    return h;
}

static void bearer_keys_in_every_form(void)
{
    static const struct {
        const char *authorization, *api_key;
        unsigned n_authorization, n_api_key;
        bool counts;
        enum access_verdict present, known;
    } table[] = {
        { "", "", 0, 0, true, ACCESS_NO_BEARER, ACCESS_NO_BEARER },
        { "Bearer sk-good", "", 1, 0, false, ACCESS_PASS, ACCESS_PASS },
        { "bEARER   sk-good", "", 1, 0, false, ACCESS_PASS, ACCESS_PASS },
        { "Bearer sk-bad", "", 1, 0, false, ACCESS_PASS, ACCESS_UNKNOWN_BEARER },
        { "Bearer sk-good", "", 2, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer ", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer\tsk-good", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer sk-good x", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer a=b", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer ===", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer QUJD==", "", 1, 0, false, ACCESS_PASS, ACCESS_UNKNOWN_BEARER },
        { "Bearer sk-\xc3\xa9", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Basic sk-good", "", 1, 0, false, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "", "sk-good", 0, 1, true, ACCESS_PASS, ACCESS_PASS },
        { "", "sk-good", 0, 1, false, ACCESS_NO_BEARER, ACCESS_NO_BEARER },
        { "", "sk-good", 0, 2, true, ACCESS_BAD_BEARER, ACCESS_BAD_BEARER },
        { "Bearer sk-good", "sk-bad", 1, 1, true, ACCESS_PASS, ACCESS_UNKNOWN_BEARER },
        { "Bearer sk-bad", "sk-good", 1, 1, true, ACCESS_PASS, ACCESS_UNKNOWN_BEARER },
    };
    struct access_hashes *h = hashes_of("sk-good");
    CU_ASSERT_EQUAL(h->n, 301);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct access_shown shown = { cv_str_of(table[i].authorization), cv_str_of(table[i].api_key),
                                      table[i].n_authorization, table[i].n_api_key };
        CU_ASSERT_EQUAL(access_bearer(&shown, table[i].counts, NULL), table[i].present);
        CU_ASSERT_EQUAL(access_bearer(&shown, table[i].counts, h), table[i].known);
    }
    access_hashes_unref(h);
}

static void a_file_of_hashes_with_a_mistake_is_refused_with_its_line(void)
{
    static const char *const wrong[] = {
        "#\nsk-good\n", "\nsha256:00\n", "\nmd5:00000000000000000000000000000000\n",
        "\nsha256:zz00000000000000000000000000000000000000000000000000000000000000\n"
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct cv_err err = { "" };
        CU_ASSERT_PTR_NULL(access_hashes_read("keys", cv_str_of(wrong[i]), &err));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "keys:2: "));
        CU_ASSERT_PTR_NULL(strstr(err.text, "sk-good"));
    }
    struct access_hashes *h = access_hashes_read("keys", cv_str_of(""), NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    CU_ASSERT_FALSE(access_hashes_hold(h, CV_STR("any")));
    access_hashes_unref(h);
}

SUITE(access_match, TEST(networks_hold_their_addresses), TEST(bearer_keys_in_every_form),
      TEST(a_file_of_hashes_with_a_mistake_is_refused_with_its_line));
