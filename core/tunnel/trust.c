/* trust.c: the roots that origins are checked by, the system's and Cloudflare's: read once, shared by all workers. */
#include "tunnel/trust.h"

#include <dirent.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "tunnel/tls.h"

static X509_STORE *roots;

/* The names under which OpenSSL looks for certificates in a directory: 8 hexadecimal digits, a dot, a number. */
static bool is_hashed(const char *name)
{
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] != '\0' &&
           strspn(name + 9, "0123456789") == strlen(name + 9);
}

static void add_directory(X509_STORE *store, const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    char file[4096];
    while (dir && (e = readdir(dir)))
        if (is_hashed(e->d_name) &&
            snprintf(file, sizeof(file), "%s/%s", path, e->d_name) < (int)sizeof(file))
            X509_STORE_load_file(store, file);
    if (dir)
        closedir(dir);
}

static void add_anchors(X509_STORE *store)
{
    for (size_t i = 0; i < TLS_ANCHORS; i++) {
        X509 *cert = tls_anchor_cert(&tls_anchors[i]);
        CV_ASSERT(X509_STORE_add_cert(store, cert) == 1);
        X509_free(cert);
    }
}

X509_STORE *trust_read(const char *file, const char *directories)
{
    X509_STORE *store = X509_STORE_new();
    char *list = strdup(directories), *rest = list;
    CV_ASSERT(store && list);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_load_file(store, file);
    for (const char *path; (path = strsep(&rest, ":"));)
        add_directory(store, path);
    free(list);
    add_anchors(store);
    ERR_clear_error();
    return store;
}

static const char *setting(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);
    return value ? value : otherwise;
}

static void load(void)
{
    roots = trust_read(setting(X509_get_default_cert_file_env(), X509_get_default_cert_file()),
                       setting(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
}

X509_STORE *cv_trust_store(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return roots;
}
