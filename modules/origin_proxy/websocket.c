/* websocket.c: the frames of a WebSocket server (RFC 6455 §5), and the answer to its handshake (§4.2.2). */
#include "websocket.h"

#include "culvert/mem.h"

#include <openssl/evp.h>
#include <string.h>

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, CONTINUATION = 0, TEXT = 1 };

static enum origin_ws_found fault(struct origin_ws *ws, const char *why)
{
    ws->why = why;
    return ORIGIN_WS_FOUND_FAULT;
}

/* ---- heads ------------------------------------------------------------------------------------------- */

static unsigned opcode(const struct origin_ws *ws)
{
    return ws->head[0] & OPCODE;
}

static bool is_control(const struct origin_ws *ws)
{
    return opcode(ws) >= ORIGIN_WS_CLOSE;
}

/* How many bytes follow the first two to say how long the frame is. */
static unsigned length_bytes(const struct origin_ws *ws)
{
    unsigned n = ws->head[1] & 0x7f;
    return n == 127 ? 8 : n == 126 ? 2 : 0;
}

static unsigned head_length(const struct origin_ws *ws)
{
    return ws->head_n < 2 ? 2 : 2 + length_bytes(ws) + 4;
}

static const char *wrong_with_head(const struct origin_ws *ws)
{
    unsigned op = opcode(ws);
    if (ws->head[0] & RESERVED)
        return "a WebSocket frame uses an extension that was not agreed on";
    if (!(ws->head[1] & MASKED))
        return "a WebSocket frame of the client is not masked";
    if (is_control(ws) && (!(ws->head[0] & FIN) || length_bytes(ws) > 0))
        return "a WebSocket control frame is in parts or longer than 125 bytes";
    if (op > ORIGIN_WS_PONG || (op > ORIGIN_WS_BINARY && op < ORIGIN_WS_CLOSE))
        return "a WebSocket frame has an unknown opcode";
    if (!is_control(ws) && (op == CONTINUATION) != ws->in_message)
        return op == CONTINUATION ? "a WebSocket frame continues no message"
                                  : "a WebSocket message begins within another";
    return NULL;
}

static void begin_frame(struct origin_ws *ws)
{
    unsigned n = length_bytes(ws);
    ws->left = n ? 0 : ws->head[1] & 0x7f;
    for (unsigned i = 0; i < n; i++)
        ws->left = ws->left << 8 | ws->head[2 + i];
    ws->mask = ws->head + 2 + n;
    ws->at = 0;
    ws->in_frame = true;
    if (is_control(ws)) {
        ws->control_n = 0;
        return;
    }
    if (opcode(ws) != CONTINUATION)
        ws->discard = opcode(ws) == TEXT && !ws->echo;
    ws->in_message = !(ws->head[0] & FIN);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static const char *read_head(struct origin_ws *ws, uint8_t byte)
{
    ws->head[ws->head_n++] = byte;
    if (ws->head_n < head_length(ws))
        return ws->head_n == 2 ? wrong_with_head(ws) : NULL;
    if (length_bytes(ws) == 8 && ws->head[2] & 0x80)
        return "a WebSocket frame is longer than there are numbers";
    begin_frame(ws);
    return NULL;
}

/* The same head without mask: shorter than what was read. */
static size_t echo_head(const struct origin_ws *ws, uint8_t *out)
{
    size_t n = 2 + length_bytes(ws);
    memcpy(out, ws->head, n);
    out[1] &= (uint8_t)~MASKED;
    return n;
}

static void unmask(struct origin_ws *ws, const uint8_t *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] ^ ws->mask[(ws->at + i) & 3];
}

static size_t read_payload(struct origin_ws *ws, const uint8_t *in, size_t n, uint8_t *out, size_t *out_n)
{
    size_t part = n < ws->left ? n : (size_t)ws->left;
    if (is_control(ws)) {
        unmask(ws, in, part, ws->control + ws->control_n);
        ws->control_n = (uint8_t)(ws->control_n + part);
    } else if (!ws->discard) {
        unmask(ws, in, part, out + *out_n);
        *out_n += part;
    }
    ws->at += part;
    ws->left -= part;
    return part;
}

static enum origin_ws_found end_frame(struct origin_ws *ws)
{
    ws->in_frame = false;
    ws->head_n = 0;
    switch (opcode(ws)) {
    case ORIGIN_WS_PING: return ORIGIN_WS_FOUND_PING;
    case ORIGIN_WS_CLOSE: return ORIGIN_WS_FOUND_CLOSE;
    default: return ORIGIN_WS_FOUND_NOTHING;
    }
}

enum origin_ws_found origin_ws_read(struct origin_ws *ws, const uint8_t *in, size_t n, size_t *used,
                                    uint8_t *out, size_t *out_n)
{
    *used = *out_n = 0;
    while (*used < n) {
        if (ws->in_frame) {
            *used += read_payload(ws, in + *used, n - *used, out, out_n);
        } else {
            const char *why = read_head(ws, in[(*used)++]);
            if (why)
                return fault(ws, why);
            if (ws->echo && ws->in_frame && !is_control(ws))
                *out_n += echo_head(ws, out + *out_n);
        }
        enum origin_ws_found found = ws->in_frame && ws->left == 0 ? end_frame(ws) : ORIGIN_WS_FOUND_NOTHING;
        if (found)
            return found;
    }
    return ORIGIN_WS_FOUND_NOTHING;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

size_t origin_ws_head(uint8_t out[ORIGIN_WS_HEAD_MAX], unsigned op, size_t n)
{
    unsigned bytes = n < 126 ? 0 : n <= UINT16_MAX ? 2 : 8;
    out[0] = (uint8_t)(FIN | op);
    out[1] = (uint8_t)(bytes == 0 ? n : bytes == 2 ? 126 : 127);
    for (unsigned i = 0; i < bytes; i++)
        out[2 + i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

void origin_ws_accept(struct cv_str key, char out[ORIGIN_WS_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    CV_ASSERT(md && EVP_DigestInit_ex(md, EVP_sha1(), NULL) && EVP_DigestUpdate(md, key.p, key.n) &&
              EVP_DigestUpdate(md, guid, sizeof(guid) - 1) && EVP_DigestFinal_ex(md, digest, &n));
    EVP_MD_CTX_free(md);
    EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}
