/* facts.c: what files, the environment and the service account's token say of the cluster. */
#include "guard.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yyjson.h>

enum { FILE_MAX_BYTES = 1 << 20 };

static const char *const options[GUARD_FACTS] = {
    [GUARD_CA] = "ca_sha256",        [GUARD_UID] = "cluster_uid",   [GUARD_ISSUER] = "issuer",
    [GUARD_NAMESPACE] = "namespace", [GUARD_VARIABLE] = "variable", [GUARD_FILE] = "file_value",
};

const char *guard_option(enum guard_fact fact)
{
    return options[fact];
}

const char *guard_wanted(const struct guard_conf *c, enum guard_fact fact)
{
    const char *const wanted[GUARD_FACTS] = { c->ca_sha256, c->cluster_uid, c->issuer,
                                              c->namespace, c->variable,    c->file_value };
    return wanted[fact];
}

static bool read_file(const char *path, struct cv_buf *buf, struct guard_found *found)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        cv_fail(&found->why, CV_E_CONF, "%s: %m", path);
        return false;
    }
    buf->n = fread(cv_buf_reserve(buf, FILE_MAX_BYTES + 1), 1, FILE_MAX_BYTES + 1, f);
    bool ok = !ferror(f) && buf->n > 0 && buf->n <= FILE_MAX_BYTES;
    fclose(f);
    if (!ok)
        cv_fail(&found->why, CV_E_CONF, "%s: empty, too long or not readable", path);
    return ok;
}

/* As `sha256sum` prints it: operators can compute it where the file is. */
static void find_ca(const struct guard_conf *c, struct guard_found *found)
{
    struct cv_buf buf = { 0 };
    uint8_t hash[32];
    if (read_file(c->ca_file, &buf, found) && EVP_Digest(buf.p, buf.n, hash, NULL, EVP_sha256(), NULL) == 1)
        for (size_t i = 0; i < sizeof(hash); i++)
            snprintf(found->text + 2 * i, 3, "%02x", hash[i]);
    cv_buf_free(&buf);
}

/* ---- the token: its claims are read, not verified: it was mounted by the kubelet, and only says where we are --- */

static bool decode64url(struct cv_str s, struct cv_buf *out)
{
    int n;
    struct cv_buf text = { 0 };
    for (size_t i = 0; i < s.n; i++)
        cv_buf_add(&text, s.p[i] == '-' ? "+" : s.p[i] == '_' ? "/" : &s.p[i], 1);
    size_t pad = (4 - s.n % 4) % 4;
    cv_buf_add(&text, "===", pad);
    n = EVP_DecodeBlock(cv_buf_reserve(out, text.n), text.p, (int)text.n);
    cv_buf_free(&text);
    out->n = n > (int)pad ? (size_t)n - pad : 0;
    return out->n > 0;
}

static yyjson_doc *claims_of(const struct cv_buf *token)
{
    struct cv_buf json = { 0 };
    struct cv_str s = { (const char *)token->p, token->n };
    const char *dot = memchr(s.p, '.', s.n);
    const char *end = dot ? memchr(dot + 1, '.', s.n - (size_t)(dot + 1 - s.p)) : NULL;
    yyjson_doc *doc = NULL;
    if (end && decode64url((struct cv_str){ dot + 1, (size_t)(end - dot - 1) }, &json))
        doc = yyjson_read((const char *)json.p, json.n, 0);
    cv_buf_free(&json);
    return doc;
}

static void find_claim(const struct guard_conf *c, const char *pointer, struct guard_found *found)
{
    struct cv_buf token = { 0 };
    if (!read_file(c->token_file, &token, found)) {
        cv_buf_free(&token);
        return;
    }
    yyjson_doc *doc = claims_of(&token);
    const char *claim = yyjson_get_str(yyjson_doc_ptr_get(doc, pointer));
    if (claim && *claim && strlen(claim) < sizeof(found->text))
        snprintf(found->text, sizeof(found->text), "%s", claim);
    else
        cv_fail(&found->why, CV_E_CONF, "%s: a service account's token with the claim %s is wanted",
                c->token_file, pointer);
    yyjson_doc_free(doc);
    OPENSSL_cleanse(token.p, token.n);
    cv_buf_free(&token);
}

/* ---- the operator's own ------------------------------------------------------------------------------------ */

/* wanted is NAME=VALUE; so is what is found. */
static void find_variable(const struct guard_conf *c, struct guard_found *found)
{
    char name[128];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(c->variable, "="), c->variable);
    const char *value = getenv(name);
    if (value)
        snprintf(found->text, sizeof(found->text), "%s=%s", name, value);
    else
        cv_fail(&found->why, CV_E_CONF, "the environment has no %s", name);
}

static void find_file(const struct guard_conf *c, struct guard_found *found)
{
    struct cv_buf buf = { 0 };
    if (read_file(c->file, &buf, found)) {
        while (buf.n > 0 && strchr(" \t\r\n", buf.p[buf.n - 1]))
            buf.n--;
        size_t n = buf.n < sizeof(found->text) ? buf.n : sizeof(found->text) - 1;
        memcpy(found->text, buf.p, n);
    }
    cv_buf_free(&buf);
}

void guard_find(const struct guard_conf *c, enum guard_fact fact, struct guard_found *found)
{
    *found = (struct guard_found){ .text = "" };
    switch (fact) {
    case GUARD_CA: find_ca(c, found); break;
    case GUARD_ISSUER: find_claim(c, "/iss", found); break;
    case GUARD_NAMESPACE: find_claim(c, "/kubernetes.io/namespace", found); break;
    case GUARD_VARIABLE: find_variable(c, found); break;
    case GUARD_FILE: find_file(c, found); break;
    case GUARD_UID:
    case GUARD_FACTS: break;
    }
}

bool guard_agrees(enum guard_fact fact, const char *wanted, const char *found)
{
    bool hex = fact == GUARD_CA || fact == GUARD_UID;
    return *found && (hex ? strcasecmp(wanted, found) : strcmp(wanted, found)) == 0;
}
