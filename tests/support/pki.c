/* pki.c: a certificate authority made at run time, for tests: it lives and dies with the process. */
#include "pki.h"

#include "culvert/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pki {
    EVP_PKEY *key;
    X509 *cert;
};

enum { HOUR = 3600, DAY = 24 * HOUR };

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CV_ASSERT(key);
    return key;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CV_ASSERT(ext && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
}

/* A certificate without extensions and signature. issuer NULL: its own. */
static X509 *new_cert(EVP_PKEY *key, const char *common_name, const X509 *issuer, long ends_in)
{
    X509 *cert = X509_new();
    CV_ASSERT(cert && X509_set_version(cert, X509_VERSION_3));
    uint64_t serial = 0;
    CV_ASSERT(RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1);
    CV_ASSERT(ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1));
    X509_gmtime_adj(X509_getm_notBefore(cert), -HOUR);
    X509_gmtime_adj(X509_getm_notAfter(cert), ends_in);
    X509_NAME *name = X509_get_subject_name(cert);
    CV_ASSERT(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0));
    CV_ASSERT(X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name));
    CV_ASSERT(X509_set_pubkey(cert, key));
    return cert;
}

struct pki *pki_new(const char *common_name)
{
    struct pki *pki = cv_xcalloc(1, sizeof(*pki));
    pki->key = new_key();
    pki->cert = new_cert(pki->key, common_name, NULL, DAY);
    add_extension(pki->cert, pki->cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(pki->cert, pki->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(pki->cert, pki->cert, NID_subject_key_identifier, "hash");
    CV_ASSERT(X509_sign(pki->cert, pki->key, EVP_sha256()));
    return pki;
}

static bool write_key(const struct pki *pki, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f)
        return false;
    bool written =
        PEM_write_PrivateKey(f, pki->key, NULL, NULL, 0, NULL, NULL) && PEM_write_X509(f, pki->cert);
    return fclose(f) == 0 && written;
}

struct pki *pki_kept(const char *common_name, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        struct pki *made = pki_new(common_name);
        if (write_key(made, path))
            return made;
        pki_free(made);
        return NULL;
    }
    struct pki *pki = cv_xcalloc(1, sizeof(*pki));
    pki->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    pki->cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    if (pki->key && pki->cert)
        return pki;
    pki_free(pki);
    return NULL;
}

void pki_free(struct pki *pki)
{
    if (!pki)
        return;
    X509_free(pki->cert);
    EVP_PKEY_free(pki->key);
    free(pki);
}

X509 *pki_ca(const struct pki *pki)
{
    return pki->cert;
}

static bool write_certificate(X509 *cert, const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return false;
    bool written = PEM_write_X509(f, cert) == 1;
    return fclose(f) == 0 && written;
}

bool pki_write_ca(const struct pki *pki, const char *path)
{
    return write_certificate(pki->cert, path);
}

bool pki_write_server(const SSL_CTX *ctx, const char *certificate, const char *key)
{
    FILE *f = fopen(key, "we");
    if (!f)
        return false;
    bool written = PEM_write_PrivateKey(f, SSL_CTX_get0_privatekey(ctx), NULL, NULL, 0, NULL, NULL) == 1;
    return fclose(f) == 0 && written && write_certificate(SSL_CTX_get0_certificate(ctx), certificate);
}

/* "a.example,127.0.0.1" as OpenSSL wants it: "DNS:a.example,IP:127.0.0.1". */
static char *alternative_names(const char *names)
{
    struct cv_buf out = { 0 };
    while (*names) {
        size_t n = strcspn(names, ",");
        char *name = cv_xmemdup0(names, n);
        uint8_t addr[16];
        bool ip = inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
        const char *kind = ip ? "IP:" : "DNS:";
        if (out.n)
            cv_buf_add(&out, ",", 1);
        cv_buf_add(&out, kind, strlen(kind));
        cv_buf_add(&out, name, n);
        free(name);
        names += n + (names[n] == ',');
    }
    char *text = cv_xmemdup0(out.p, out.n);
    cv_buf_free(&out);
    return text;
}

static X509 *new_leaf(const struct pki *pki, EVP_PKEY *key, const char *names, enum pki_fault fault)
{
    X509 *cert = new_cert(key, "leaf", pki->cert, fault == PKI_EXPIRED ? -60 : DAY);
    char *san = alternative_names(names);
    add_extension(cert, pki->cert, NID_subject_alt_name, san);
    free(san);
    add_extension(cert, pki->cert, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(cert, pki->cert, NID_ext_key_usage, "serverAuth");
    add_extension(cert, pki->cert, NID_authority_key_identifier, "keyid");
    EVP_PKEY *signer = fault == PKI_FOREIGN ? new_key() : pki->key;
    CV_ASSERT(X509_sign(cert, signer, EVP_sha256()));
    if (signer != pki->key)
        EVP_PKEY_free(signer);
    return cert;
}

SSL_CTX *pki_server(const struct pki *pki, const char *names, enum pki_fault fault)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = new_key();
    X509 *cert = new_leaf(pki, key, names, fault);
    CV_ASSERT(ctx && SSL_CTX_use_certificate(ctx, cert) && SSL_CTX_use_PrivateKey(ctx, key));
    CV_ASSERT(SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768:P-256:X25519"));
    CV_ASSERT(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION));
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

SSL_CTX *pki_client(const struct pki *pki)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CV_ASSERT(ctx && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), pki->cert));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}
