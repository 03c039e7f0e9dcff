/* reason.h: why a document was refused: a bounded text, put together piece by piece, quoted as Go quotes.
 *
 * The edge shows these texts to people who know them from cloudflared, so they are worded and quoted the
 * same. */
#ifndef REQUEST_REASON_H
#define REQUEST_REASON_H
#include "culvert/culvert.h"

struct reason {
    char text[1024]; /* always terminated; what does not fit is cut */
    size_t n;
};
void reason_clear(struct reason *);
void reason_add(struct reason *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void reason_str(struct reason *, struct cv_str);
/* "like \"this\"\n": Go's strconv.Quote */
void reason_quote(struct reason *, struct cv_str);
/* 'x' of the first character of a text that is not empty; '\xff' for a byte that is no UTF-8 */
void reason_char(struct reason *, struct cv_str);
/* Clears, adds, and returns CV_E_CONF. */
enum cv_error reason_fail(struct reason *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define UTF8_BAD 0xFFFDu
/* The first character of n > 0 bytes, and in *len how many they are. Bytes that are no UTF-8 give UTF8_BAD
 * and 1. */
uint32_t utf8_first(const char *p, size_t n, size_t *len);
/* Writes at most 4 bytes, returns how many; what is no character becomes UTF8_BAD. */
size_t utf8_write(char *to, uint32_t c);
#endif
