/* token.h: a tunnel token: who we are to the edge. Source: docs/protocol.md §2.1. */
#ifndef TUNNEL_TOKEN_H
#define TUNNEL_TOKEN_H
#include "culvert/culvert.h"

struct token {
    char *account_tag;       /* terminated; never checked by anybody here */
    struct cv_secret secret; /* may be empty                              */
    uint8_t id[16];          /* of the tunnel                             */
    char *endpoint;          /* "" or a region, "fed" say                 */
};
/* text: the token as it was given, which is not trimmed. On success the token owns its parts. Operators get
 * the one text of §2.1 whatever is wrong: the error text may quote a character or a number of the token. */
enum cv_error token_parse(struct cv_secret text, struct token *, struct cv_err *);
/* Wipes. A token that is {0} is fine. */
void token_free(struct token *);
#endif
