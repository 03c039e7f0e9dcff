/* pki.h: a certificate authority made at run time, for tests: it lives and dies with the process. */
#ifndef TESTS_PKI_H
#define TESTS_PKI_H

#include <openssl/ssl.h>
#include <stdbool.h>

struct pki;

/* A self-signed P-256 authority, valid from one hour ago for a day. Never NULL: without randomness or memory
 * the process ends. */
struct pki *pki_new(const char *common_name);
/* The authority kept in the PEM file, or a new one written there if the file does not exist. NULL: the file
 * is neither an authority nor can it be made. */
struct pki *pki_kept(const char *common_name, const char *path);
void pki_free(struct pki *);

/* The authority's certificate as PEM, for --cacert. False: errno says why. */
bool pki_write_ca(const struct pki *, const char *path);
/* Certificate and key of a context of pki_server(), for servers that read files. False: errno says why. */
bool pki_write_server(const SSL_CTX *, const char *certificate, const char *key);
/* Borrowed. */
X509 *pki_ca(const struct pki *);

enum pki_fault {
    PKI_GOOD,
    PKI_EXPIRED, /* ended a minute ago */
    PKI_FOREIGN, /* signed by a key that is not the authority's */
};
/* A TLS context for servers with a new P-256 leaf. names: comma separated, each a DNS name or an IP address.
 * Groups are X25519MLKEM768, P-256 and X25519, in this order. Free it with SSL_CTX_free(). */
SSL_CTX *pki_server(const struct pki *, const char *names, enum pki_fault);
/* A TLS context for clients that trusts this authority alone and verifies. Free it with SSL_CTX_free(). */
SSL_CTX *pki_client(const struct pki *);

#endif
