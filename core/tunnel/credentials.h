/* credentials.h: who this connector is: token, connector id, features. Immutable, shared by threads, counted. */
#ifndef CV_TUNNEL_CREDENTIALS_H
#define CV_TUNNEL_CREDENTIALS_H

#include "tunnel/token.h"

/* What the edge is told; it decides by them what it may send (docs/protocol.md §10.1). */
#define CLIENT_VERSION "2026.8.2"

struct credentials {
    _Atomic unsigned refs;
    unsigned generation; /* one more with every new token */
    struct token token;
    uint8_t client_id[16];
    struct cv_list features; /* owned */
    const char *arch;        /* "linux_amd64" */
    char *local_config;      /* what updateLocalConfiguration sends; owned */
};

struct credentials_source {
    const uint8_t *client_id; /* 16 bytes */
    const struct cv_list *extra_features;
    bool post_quantum;
    const char *local_config;
};
/* Takes the token over, also its memory; one reference. */
struct credentials *credentials_new(struct token *token_take, unsigned generation,
                                    const struct credentials_source *);
struct credentials *credentials_ref(struct credentials *);
void credentials_unref(struct credentials *); /* NULL is fine; the last one wipes the secret */

/* Random, version 4. */
void uuid_random(uint8_t uuid[16]);
enum { UUID_TEXT = 37 };
void uuid_text(const uint8_t uuid[16], char text[UUID_TEXT]);

#endif
