/* websocket.h: the frames of a WebSocket server, the part of RFC 6455 that carries bytes: no extensions, no text but in
 * an echo. */
#ifndef ORIGIN_WEBSOCKET_H
#define ORIGIN_WEBSOCKET_H
#include "culvert/culvert.h"

enum { ORIGIN_WS_BINARY = 2, ORIGIN_WS_CLOSE = 8, ORIGIN_WS_PING = 9, ORIGIN_WS_PONG = 10 };
enum {
    ORIGIN_WS_HEAD_MAX = 10, /* of a frame that we send */
    ORIGIN_WS_CONTROL_MAX = 125,
};

/* Where in the client's bytes the reader is. {0} is the beginning. */
struct origin_ws {
    uint8_t head[14], head_n; /* of the frame under way */
    uint64_t left, at;        /* bytes of its payload to come; bytes that have come */
    const uint8_t *mask;      /* in head */
    bool in_frame;
    bool in_message, discard; /* a message is under way; it is text */
    bool echo; /* set at the beginning: out gets frames, as a server would send them back; text, too */
    uint8_t control[ORIGIN_WS_CONTROL_MAX], control_n;
    const char *why;
};
enum origin_ws_found {
    ORIGIN_WS_FOUND_NOTHING, /* all of the bytes are used */
    ORIGIN_WS_FOUND_PING,    /* to be answered with control[0…control_n) */
    ORIGIN_WS_FOUND_CLOSE,   /* the client's last frame; its code, if it gave one, is in control */
    ORIGIN_WS_FOUND_FAULT,   /* why; the connection is to be cut */
};
/* Reads *used of n bytes, up to the end of a ping or close. What binary messages hold goes to out, without masks, piece
 * by piece as it comes, however long a message is. out has room for n bytes and may be `in` itself; an echo needs room
 * of its own, ORIGIN_WS_HEAD_MAX bytes more. */
enum origin_ws_found origin_ws_read(struct origin_ws *, const uint8_t *in, size_t n, size_t *used,
                                    uint8_t *out, size_t *out_n);
/* Writes the head of an unmasked frame that is a whole message of n bytes; returns its length. */
size_t origin_ws_head(uint8_t out[ORIGIN_WS_HEAD_MAX], unsigned opcode, size_t n);
/* Sec-WebSocket-Accept for the client's key, terminated. */
enum { ORIGIN_WS_ACCEPT_SIZE = 29 };
void origin_ws_accept(struct cv_str key, char out[ORIGIN_WS_ACCEPT_SIZE]);

#endif
