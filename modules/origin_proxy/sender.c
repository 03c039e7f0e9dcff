/* sender.c: a request on its way out: its head, then the body from a pipe under HTTP/1.1 framing, without a
 * copy. */
#include "origin.h"

#include <stdio.h>
#include <string.h>

enum { CHUNK_MAX = 64 * 1024 }; /* of the transfer coding: several chunks of a pipe */

static void frame_next(struct origin_sender *s, const struct cv_pipe *body)
{
    size_t n = cv_pipe_held(body);
    if (n == 0 && !cv_pipe_finished(body))
        return;
    s->left = n < CHUNK_MAX ? n : CHUNK_MAX;
    s->last = n == 0;
    s->tail = s->last ? 0 : 2;
    s->frame_sent = 0;
    s->frame_n =
        (uint8_t)snprintf(s->frame, sizeof(s->frame), s->last ? "0\r\n\r\n" : "%zx\r\n", (size_t)s->left);
}

static bool is_between_chunks(const struct origin_sender *s)
{
    return s->frame_sent == s->frame_n && s->left == 0 && s->tail == 0;
}

/* How much of the pipe may go now. */
static size_t body_bytes(const struct origin_sender *s, const struct cv_pipe *body)
{
    size_t held = cv_pipe_held(body);
    if (s->framing == ORIGIN_NO_BODY)
        return 0;
    return s->framing == ORIGIN_RAW || held < s->left ? held : (size_t)s->left;
}

static int body_iov(struct cv_pipe *body, size_t n, struct iovec *iov, int max)
{
    int found = n ? cv_pipe_peek(body, 0, iov, max) : 0;
    int used = 0;
    for (; used < found && n > 0; used++) {
        if (iov[used].iov_len > n)
            iov[used].iov_len = n;
        n -= iov[used].iov_len;
    }
    return used;
}

static size_t total(const struct iovec *iov, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

int origin_sender_iov(struct origin_sender *s, struct cv_pipe *body, struct iovec *iov, int max)
{
    static const char crlf[] = "\r\n";
    int n = 0;
    if (s->framing == ORIGIN_CHUNKED && !s->last && is_between_chunks(s))
        frame_next(s, body);
    if (s->head_sent < s->head.n)
        iov[n++] = (struct iovec){ s->head.p + s->head_sent, s->head.n - s->head_sent };
    if (s->frame_sent < s->frame_n)
        iov[n++] = (struct iovec){ s->frame + s->frame_sent, (size_t)(s->frame_n - s->frame_sent) };
    int first = n;
    n += body_iov(body, body_bytes(s, body), iov + n, max - n - 1);
    if (s->tail && total(iov + first, n - first) == s->left)
        iov[n++] = (struct iovec){ (void *)(crlf + 2 - s->tail), s->tail };
    return n;
}

static size_t take(size_t *n, size_t at_most)
{
    size_t taken = *n < at_most ? *n : at_most;
    *n -= taken;
    return taken;
}

void origin_sender_sent(struct origin_sender *s, struct cv_pipe *body, size_t n)
{
    s->head_sent += take(&n, s->head.n - s->head_sent);
    s->frame_sent = (uint8_t)(s->frame_sent + take(&n, (size_t)(s->frame_n - s->frame_sent)));
    size_t from_pipe = take(&n, body_bytes(s, body));
    if (from_pipe > 0) {
        cv_pipe_consume(body, from_pipe);
        s->begun = true;
        if (s->framing != ORIGIN_RAW)
            s->left -= from_pipe;
    }
    s->tail = (uint8_t)(s->tail - take(&n, s->tail));
}

/* Copies from the pipe what fits. */
static size_t copy(struct cv_pipe *body, uint8_t *to, size_t n)
{
    struct iovec iov[4];
    size_t done = 0;
    int found;
    while (done < n && (found = body_iov(body, n - done, iov, 4)) > 0) {
        for (int i = 0; i < found; i++) {
            memcpy(to + done, iov[i].iov_base, iov[i].iov_len);
            cv_pipe_consume(body, iov[i].iov_len);
            done += iov[i].iov_len;
        }
    }
    return done;
}

size_t origin_sender_take(struct origin_sender *s, struct cv_pipe *body, uint8_t *to, size_t max)
{
    size_t kept = s->head.n - s->head_sent;
    if (kept > 0) {
        size_t n = kept < max ? kept : max;
        memcpy(to, s->head.p + s->head_sent, n);
        s->head_sent += n;
        return n;
    }
    size_t held = s->framing == ORIGIN_NO_BODY ? 0 : cv_pipe_held(body);
    if (s->framing == ORIGIN_LENGTH && held > s->left)
        held = (size_t)s->left;
    size_t n = copy(body, to, held < max ? held : max);
    s->begun = s->begun || n > 0;
    if (s->framing == ORIGIN_LENGTH)
        s->left -= n;
    s->last = cv_pipe_ended(body);
    return n;
}

void origin_sender_rewind(struct origin_sender *s)
{
    CV_ASSERT(!s->begun);
    s->head_sent = 0;
    s->frame_sent = 0;
}

void origin_sender_settle(struct origin_sender *s)
{
    if (s->head_sent < s->head.n)
        return;
    cv_buf_free(&s->head);
    s->head_sent = 0;
}

bool origin_sender_done(const struct origin_sender *s)
{
    if (s->head_sent < s->head.n)
        return false;
    switch (s->framing) {
    case ORIGIN_NO_BODY: return true;
    case ORIGIN_LENGTH: return s->left == 0;
    case ORIGIN_CHUNKED: return s->last && s->frame_sent == s->frame_n;
    default: return false;
    }
}
