/* pattern_parse.h: reading a pattern of RE2 syntax and writing it for PCRE2; private to pattern*.c. */
#ifndef REQUEST_PATTERN_PARSE_H
#define REQUEST_PATTERN_PARSE_H
#include "request/pattern.h"

/* What is left to read. Functions that read advance p. */
struct pattern_text {
    const char *p, *end;
};
/* "error parsing regexp: WHAT: `FROM…TO`"; returns false. */
bool pattern_fail(struct reason *, const char *what, const char *from, const char *to);

/* Writes PCRE2 code for the whole pattern. */
enum cv_error pattern_translate(struct cv_str text, struct cv_buf *out, struct reason *);

/* ---- pattern_class.c ---------------------------------------------------------------------------------- */

/* One character, perhaps not valid UTF-8. */
bool pattern_read_char(struct pattern_text *, uint32_t *c, struct reason *);
/* A backslash and what belongs to it, where that means one character. */
bool pattern_read_escape(struct pattern_text *, uint32_t *c, struct reason *);
void pattern_write_char(struct cv_buf *, uint32_t c);

/* A group like \d, \pN or \P{Greek} at p is written as items of a PCRE2 class. `fold`: under (?i). */
enum pattern_group { PATTERN_GROUP_NONE, PATTERN_GROUP_WRITTEN, PATTERN_GROUP_BAD };
enum pattern_group pattern_read_group(struct pattern_text *, bool fold, struct cv_buf *, struct reason *);
/* A class from its opening bracket on. */
bool pattern_read_class(struct pattern_text *, bool fold, struct cv_buf *, struct reason *);
#endif
