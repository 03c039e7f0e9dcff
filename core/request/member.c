/* member.c: finds one member of a JSON object in a stream of bytes. */
#include "request/member.h"

#include <string.h>

static void in_text(struct member_scan *s, uint8_t c)
{
    bool is_name = s->where == MEMBER_NAME;
    if (s->escape) {
        s->escape = false;
    } else if (c == '\\') {
        s->escape = true;
        s->where = MEMBER_TEXT;
    } else if (c == '"') {
        s->where = is_name && s->name[s->matched] == '\0' ? MEMBER_COLON : MEMBER_ELSEWHERE;
    } else if (is_name) {
        bool same = c && s->name[s->matched] == (char)c;
        s->matched += same;
        s->where = same ? MEMBER_NAME : MEMBER_TEXT;
    }
}

static void begin_value(struct member_scan *s)
{
    s->where = MEMBER_VALUE;
    s->matched = 0;
    s->found = !s->value;
}

/* Marks, numbers and literals. */
static void outside(struct member_scan *s, uint8_t c)
{
    bool top = s->depth == 1;
    switch (c) {
    case '"':
        s->where = top && s->before_name ? MEMBER_NAME : MEMBER_TEXT;
        s->matched = 0;
        s->before_name = false;
        return;
    case ':':
        if (s->where == MEMBER_COLON)
            begin_value(s);
        return;
    case '{':
    case '[':
        s->depth++;
        s->before_name = s->depth == 1 && c == '{';
        break;
    case '}':
    case ']': s->depth -= s->depth > 0; break;
    case ',': s->before_name = top; break;
    default:
        if (s->where == MEMBER_VALUE && s->value[s->matched] == (char)c) {
            s->found = s->value[++s->matched] == '\0';
            return;
        }
    }
    s->where = MEMBER_ELSEWHERE;
}

void member_scan(struct member_scan *s, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n && !s->found; i++) {
        if (s->where == MEMBER_NAME || s->where == MEMBER_TEXT)
            in_text(s, p[i]);
        else if (!memchr(" \t\r\n", p[i], 4))
            outside(s, p[i]);
    }
}
