/* rig.h: what tests of Access need: keys, tokens made to order, a server of keys over real TLS. */
#ifndef ACCESS_RIG_H
#define ACCESS_RIG_H
#include "access_headers/access.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

#define AUD "0bc545634b1732494b3f9472794a549c883fabd48de9dfe0e0413e59c3f96c38"
#define ISS "https://testteam.cloudflareaccess.com"

/* RSA of 2048 bits (0 and 1) and P-256 (2), made once a process; named "one", "two", "ec". */
enum rig_key { RIG_ONE, RIG_TWO, RIG_EC };
/* The set of those keys whose bits are set (1 << RIG_ONE …) as JSON; free() it. */
char *rig_jwks(unsigned which);
/* Header and payload as they are, signed with that key; free() it. */
char *rig_token(const char *header, const char *payload, enum rig_key);
/* A good one for team "testteam" and AUD, RS256 by that key; more: further claims, ",\"x\":1". */
char *rig_good(enum rig_key, const char *more);

enum rig_mode { RIG_SERVES, RIG_500, RIG_GARBAGE, RIG_SLOW, RIG_HUGE, RIG_REDIRECTS };
struct rig_server;
/* Over TLS on 127.0.0.1; its authority's certificate is written to ca_file. */
struct rig_server *rig_server_start(const char *ca_file);
void rig_server_stop(struct rig_server *);
void rig_server_set(struct rig_server *, enum rig_mode, const char *body);
unsigned rig_server_asked(struct rig_server *); /* how often so far */
unsigned rig_server_port(const struct rig_server *);
#endif
