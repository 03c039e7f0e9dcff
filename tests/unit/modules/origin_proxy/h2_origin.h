/* h2_origin.h: an HTTP/2 origin that the test plays over a connection of the rig, frame by frame if it likes. */
#ifndef H2_ORIGIN_H
#define H2_ORIGIN_H
#include "rig.h"

#include <nghttp2/nghttp2.h>

enum { H2_ORIGIN_STREAMS = 32 };

/* What came in on a stream, by number: streams[0] is the first of the connection. */
struct h2_origin_stream {
    int32_t id;
    char head[1024]; /* "name=value " for each field */
    size_t body_n;
    bool ended, reset;
    uint32_t code; /* of the reset */
};
struct h2_origin {
    struct rig *rig;
    int fd;
    nghttp2_session *session;
    struct h2_origin_stream streams[H2_ORIGIN_STREAMS];
    size_t n;
    bool gone; /* the client has closed */
};
/* Waits for a connection that the rig's module dials. It must come. */
struct h2_origin *h2_origin_accept(struct rig *);
void h2_origin_free(struct h2_origin *);
/* Bytes both ways, until nothing is left to do at once. */
void h2_origin_turn(struct h2_origin *);
bool h2_origin_until(struct h2_origin *, const bool *what);
/* Fields as they come, name and value by turns, NULL behind the last. flags: NGHTTP2_FLAG_END_STREAM or 0. */
void h2_origin_fields(struct h2_origin *, int32_t id, uint8_t flags, const char *const *fields);
/* The head of a response; then n bytes of body and, if `trailers` is not NULL, "grpc-status" of that value. */
void h2_origin_head(struct h2_origin *, int32_t id, const char *type);
void h2_origin_send(struct h2_origin *, int32_t id, size_t n, const char *trailer);
/* All of it. */
void h2_origin_answer(struct h2_origin *, int32_t id);
#endif
