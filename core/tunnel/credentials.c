/* credentials.c: who this connector is, as told to the edge at every registration (docs/protocol.md §10.1). */
#include "tunnel/credentials.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "culvert/mem.h"

#if defined(__x86_64__)
#define ARCH "linux_amd64"
#elif defined(__aarch64__)
#define ARCH "linux_arm64"
#elif defined(__arm__)
#define ARCH "linux_arm"
#elif defined(__i386__)
#define ARCH "linux_386"
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH "linux_riscv64"
#elif defined(__s390x__)
#define ARCH "linux_s390x"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define ARCH "linux_ppc64le"
#else
#define ARCH "linux_unknown"
#endif

static const char *const always[] = { "allow_remote_config", "serialized_headers", "support_datagram_v2",
                                      "support_quic_eof", "management_logs" };
/* Names of datagram versions that are gone from the protocol: never announced, whoever asks. */
static const char *const retired[] = { "support_datagram_v3", "support_datagram_v3_1" };

static bool is_retired(struct cv_str name)
{
    for (size_t i = 0; i < sizeof(retired) / sizeof(retired[0]); i++)
        if (cv_str_eq(name, cv_str_of(retired[i])))
            return true;
    return false;
}

static void add_feature(struct cv_list *list, struct cv_str name)
{
    struct cv_str *v = (struct cv_str *)list->v;
    for (size_t i = 0; i < list->n; i++)
        if (cv_str_eq(v[i], name))
            return;
    if (name.n == 0 || is_retired(name))
        return;
    v = cv_xrealloc(v, list->n + 1, sizeof(*v));
    v[list->n++] = (struct cv_str){ cv_xmemdup0(name.p, name.n), name.n };
    list->v = v;
}

static struct cv_list make_features(const struct credentials_source *from)
{
    struct cv_list list = { NULL, 0 };
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        add_feature(&list, cv_str_of(always[i]));
    if (from->post_quantum)
        add_feature(&list, CV_STR("postquantum"));
    for (size_t i = 0; i < from->extra_features->n; i++)
        add_feature(&list, from->extra_features->v[i]);
    return list;
}

struct credentials *credentials_new(struct token *token_take, unsigned generation,
                                    const struct credentials_source *from)
{
    struct credentials *c = cv_xcalloc(1, sizeof(*c));
    c->refs = 1;
    c->generation = generation;
    c->token = *token_take;
    *token_take = (struct token){ 0 };
    memcpy(c->client_id, from->client_id, sizeof(c->client_id));
    c->features = make_features(from);
    c->arch = ARCH;
    c->local_config = cv_xstrdup(from->local_config);
    return c;
}

struct credentials *credentials_ref(struct credentials *c)
{
    c->refs++;
    return c;
}

void credentials_unref(struct credentials *c)
{
    if (!c || --c->refs > 0)
        return;
    token_free(&c->token);
    for (size_t i = 0; i < c->features.n; i++)
        free((char *)c->features.v[i].p);
    free((struct cv_str *)c->features.v);
    free(c->local_config);
    free(c);
}

void uuid_random(uint8_t uuid[16])
{
    CV_ASSERT(RAND_bytes(uuid, 16) == 1);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

void uuid_text(const uint8_t uuid[16], char text[UUID_TEXT])
{
    static const uint8_t dash_before[16] = { [4] = 1, [6] = 1, [8] = 1, [10] = 1 };
    char *p = text;
    for (size_t i = 0; i < 16; i++) {
        if (dash_before[i])
            *p++ = '-';
        p += snprintf(p, 3, "%02x", uuid[i]);
    }
}
