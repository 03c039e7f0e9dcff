/* member.h: is there a member of that name at the top of a JSON object? Looked for byte by byte as the text comes, with a
 * state of a few bytes: nothing is kept, nothing is refused. */
#ifndef REQUEST_MEMBER_H
#define REQUEST_MEMBER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct member_scan {
    const char *name;  /* plain letters; a name written with escapes is not found */
    const char *value; /* a literal: "true"; NULL: any */
    unsigned depth;
    uint8_t matched; /* bytes of name or value */
    enum { MEMBER_ELSEWHERE, MEMBER_NAME, MEMBER_TEXT, MEMBER_COLON, MEMBER_VALUE } where;
    bool before_name; /* what comes next at the top is a name */
    bool escape;
    bool found;
};
void member_scan(struct member_scan *, const uint8_t *, size_t n);
#endif
