/* test_tls.c: the TLS policy: the table of roots against the certificates' own data, files of roots, handshakes. */
#include "pki.h"
#include "suite.h"
#include "tunnel/tls.h"
#include "tunnel/trust.h"
#include "vectors.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the table ------------------------------------------------------------------------------------------- */

static void anchors_have_the_names_and_keys_of_the_certificates(void)
{
    yyjson_doc *doc = vector_json("ca/cloudflare-roots");
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "certificates");
    CU_ASSERT_EQUAL(yyjson_arr_size(list), TLS_ANCHORS);
    for (size_t i = 0; i < TLS_ANCHORS; i++) {
        yyjson_val *want = yyjson_arr_get(list, i);
        X509 *cert = tls_anchor_cert(&tls_anchors[i]);
        uint8_t *spki = NULL;
        int n = i2d_PUBKEY(X509_get0_pubkey(cert), &spki);
        struct cv_buf bytes = { 0 };
        vector_unhex(&bytes, vector_str(want, "spki_der_hex"));
        CU_ASSERT_EQUAL(bytes.n, (size_t)n);
        CU_ASSERT(memcmp(bytes.p, spki, bytes.n) == 0);
        BIO *text = BIO_new(BIO_s_mem());
        char *p;
        BIO_printf(text, "subject=");
        X509_NAME_print_ex(text, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253);
        long length = BIO_get_mem_data(text, &p);
        CU_ASSERT(vector_same((struct cv_str){ p, (size_t)length }, vector_str(want, "subject_rfc2253")));
        CU_ASSERT_EQUAL(X509_check_ca(cert), 1);
        BIO_free(text);
        cv_buf_free(&bytes);
        OPENSSL_free(spki);
        X509_free(cert);
    }
    yyjson_doc_free(doc);
}

/* A leaf signed by a key that is an anchor's, made here: name and key alone decide. */
static void a_chain_may_end_at_an_anchor(void)
{
    struct pki *pki = pki_new("An authority");
    EVP_PKEY *key = X509_get_pubkey(pki_ca(pki));
    BIO *pem = BIO_new(BIO_s_mem());
    char *p;
    PEM_write_bio_PUBKEY(pem, key);
    BIO_write(pem, "", 1);
    BIO_get_mem_data(pem, &p);
    struct tls_anchor anchor = { .subject = { { "CN", "An authority" } },
                                 .not_after = "20991231000000Z",
                                 .key = p };
    X509 *root = tls_anchor_cert(&anchor);
    SSL_CTX *server = pki_server(pki, "h2.cftunnel.com", PKI_GOOD);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, root);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_CTX_init(ctx, store, SSL_CTX_get0_certificate(server), NULL);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    CU_ASSERT_EQUAL(X509_verify_cert(ctx), 1);
    CU_ASSERT_STRING_EQUAL(X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)), "ok");
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    SSL_CTX_free(server);
    EVP_PKEY_free(key);
    BIO_free(pem);
    pki_free(pki);
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static char path[] = "/tmp/culvert-tls-XXXXXX";

static void write_file(const char *text)
{
    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void refuses_files_that_hold_no_roots(void)
{
    static const char *const cases[][2] = {
        { "", "holds no certificate" },
        { "just text\n", "holds no certificate" },
        { "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1" },
        { "-----BEGIN CERTIFICATE-----\nAAAA\n", "certificate 1" },
    };
    struct cv_err err;
    CU_ASSERT_EQUAL(tls_setup("/nonexistent/ca.pem", false, &err), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent/ca.pem: No such file"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(cases[i][0]);
        CU_ASSERT_EQUAL(tls_setup(path, false, &err), CV_E_CONF);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i][1]));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
        unlink(path);
    }
    CU_ASSERT_EQUAL(ERR_peek_error(), 0);
}

/* ---- handshakes ------------------------------------------------------------------------------------------ */

struct outcome {
    bool ok;
    char text[512], group[32];
    const char *alpn;
};

/* In memory, both ends turn by turn. */
static struct outcome shake(SSL_CTX *server_ctx, const char *name, enum cv_tls_min min)
{
    struct outcome o = { 0 };
    SSL *client = cv_edge_ssl(NULL, name, NULL, min), *server = SSL_new(server_ctx);
    BIO *a, *b;
    BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < 20 && !o.ok; i++) {
        int c = SSL_do_handshake(client);
        if (c < 0 && SSL_get_error(client, c) != SSL_ERROR_WANT_READ)
            break;
        SSL_do_handshake(server);
        o.ok = c == 1;
    }
    if (!o.ok)
        snprintf(o.text, sizeof(o.text), "%s", cv_edge_ssl_error(client).text);
    else
        snprintf(o.group, sizeof(o.group), "%s", SSL_get0_group_name(client));
    ERR_clear_error();
    SSL_free(client);
    SSL_free(server);
    return o;
}

static void says_why_a_certificate_is_not_accepted(void)
{
    static const struct {
        const char *names;
        enum pki_fault fault;
        const char *text; /* NULL: accepted */
    } cases[] = {
        { "h2.cftunnel.com", PKI_GOOD, NULL },
        { "*.cftunnel.com", PKI_GOOD, NULL },
        { "other.example.com", PKI_GOOD, "not an edge of Cloudflare" },
        { "h2.cftunnel.com", PKI_EXPIRED, "is the clock of this machine right?" },
        { "h2.cftunnel.com", PKI_FOREIGN, "not accepted" },
    };
    struct pki *pki = pki_new("Test CA");
    struct cv_err err;
    write_file("");
    CU_ASSERT(pki_write_ca(pki, path));
    CU_ASSERT_EQUAL(tls_setup(path, false, &err), CV_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *server = pki_server(pki, cases[i].names, cases[i].fault);
        struct outcome o = shake(server, "h2.cftunnel.com", CV_TLS12);
        CU_ASSERT_EQUAL(o.ok, cases[i].text == NULL);
        if (cases[i].text)
            CU_ASSERT_PTR_NOT_NULL(strstr(o.text, cases[i].text));
        SSL_CTX_free(server);
    }
    tls_free();
    unlink(path);
    pki_free(pki);
}

static void offers_the_groups_of_the_protocol(void)
{
    static const struct {
        bool post_quantum;
        const char *server, *got; /* NULL: none in common */
    } cases[] = {
        { false, "X25519MLKEM768:P-256:X25519", "X25519MLKEM768" },
        { false, "P-256", "secp256r1" },
        { false, "X25519:P-384", NULL },
        { true, "X25519MLKEM768:P-256", "X25519MLKEM768" },
        { true, "P-256:X25519", NULL },
    };
    struct pki *pki = pki_new("Test CA");
    write_file("");
    CU_ASSERT(pki_write_ca(pki, path));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *server = pki_server(pki, "h2.cftunnel.com", PKI_GOOD);
        SSL_CTX_set1_groups_list(server, cases[i].server);
        CU_ASSERT_EQUAL(tls_setup(path, cases[i].post_quantum, NULL), CV_OK);
        struct outcome o = shake(server, "h2.cftunnel.com", CV_TLS12);
        CU_ASSERT_EQUAL(o.ok, cases[i].got != NULL);
        if (cases[i].got)
            CU_ASSERT_STRING_EQUAL(o.group, cases[i].got);
        SSL_CTX_free(server);
    }
    tls_free();
    unlink(path);
    pki_free(pki);
}

static void tls_1_2_is_enough_only_where_it_is_asked_for(void)
{
    struct pki *pki = pki_new("Test CA");
    write_file("");
    CU_ASSERT(pki_write_ca(pki, path));
    CU_ASSERT_EQUAL(tls_setup(path, false, NULL), CV_OK);
    SSL_CTX *server = pki_server(pki, "h2.cftunnel.com", PKI_GOOD);
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    CU_ASSERT(shake(server, "h2.cftunnel.com", CV_TLS12).ok);
    struct outcome o = shake(server, "h2.cftunnel.com", CV_TLS13);
    CU_ASSERT(!o.ok);
    CU_ASSERT_PTR_NOT_NULL(strstr(o.text, "TLS handshake"));
    SSL_CTX_free(server);
    tls_free();
    unlink(path);
    pki_free(pki);
}

static int roots_in(const char *file, const char *directories)
{
    X509_STORE *store = trust_read(file, directories);
    STACK_OF(X509) *all = X509_STORE_get1_all_certs(store);
    int n = sk_X509_num(all);
    OSSL_STACK_OF_X509_free(all);
    X509_STORE_free(store);
    return n;
}

static void reads_the_roots_of_a_file_and_of_hashed_names(void)
{
    char dir[] = "/tmp/culvert-roots-XXXXXX", hashed[64], other[64], both[160];
    struct pki *pki = pki_new("a root of the system");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(hashed, sizeof(hashed), "%s/0a1b2c3d.0", dir);
    snprintf(other, sizeof(other), "%s/root.pem", dir);
    snprintf(both, sizeof(both), "/nonexistent:%s", dir);
    pki_write_ca(pki, other);
    CU_ASSERT_EQUAL(roots_in("/nonexistent", dir), TLS_ANCHORS);
    CU_ASSERT_EQUAL(roots_in(other, ""), TLS_ANCHORS + 1);
    pki_write_ca(pki, hashed);
    CU_ASSERT_EQUAL(roots_in("/nonexistent", both), TLS_ANCHORS + 1);
    CU_ASSERT_EQUAL(roots_in(other, dir), TLS_ANCHORS + 1);
    CU_ASSERT_EQUAL(ERR_peek_error(), 0);
    unlink(hashed);
    unlink(other);
    rmdir(dir);
    pki_free(pki);
}

SUITE(tls, TEST(anchors_have_the_names_and_keys_of_the_certificates), TEST(a_chain_may_end_at_an_anchor),
      TEST(refuses_files_that_hold_no_roots), TEST(reads_the_roots_of_a_file_and_of_hashed_names),
      TEST(says_why_a_certificate_is_not_accepted), TEST(offers_the_groups_of_the_protocol),
      TEST(tls_1_2_is_enough_only_where_it_is_asked_for));
