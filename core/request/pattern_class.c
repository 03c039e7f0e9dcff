/* pattern_class.c: characters and classes of characters in patterns. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "request/gojson.h"
#include "request/pattern_parse.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#define CHAR_MAX_UNICODE 0x10FFFFu

static bool is_alnum(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static int hex_digit(uint32_t c)
{
    if (c >= '0' && c <= '9')
        return (int)c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (int)(c | 0x20) - 'a' + 10;
    return -1;
}

bool pattern_read_char(struct pattern_text *t, uint32_t *c, struct reason *why)
{
    size_t len;
    *c = utf8_first(t->p, (size_t)(t->end - t->p), &len);
    if (*c == UTF8_BAD && len == 1)
        return pattern_fail(why, "invalid UTF-8", t->p, t->end);
    t->p += len;
    return true;
}

/* ---- escapes ------------------------------------------------------------------------------------------ */

/* \x{…}: any number of digits, one at least. */
static bool braced_hex(struct pattern_text *t, uint32_t *c, struct reason *why, bool *ok)
{
    size_t digits = 0;
    uint32_t d;
    *c = 0;
    while (t->p < t->end) {
        if (!pattern_read_char(t, &d, why))
            return false;
        if (d == '}') {
            *ok = digits > 0;
            return true;
        }
        if (hex_digit(d) < 0)
            return true;
        *c = *c << 4 | (uint32_t)hex_digit(d);
        if (*c > CHAR_MAX_UNICODE)
            return true;
        digits++;
    }
    return true;
}

/* Behind \x. *ok stays false where it is no such escape; false is returned for invalid UTF-8 alone. */
static bool hex_escape(struct pattern_text *t, uint32_t *c, struct reason *why, bool *ok)
{
    uint32_t high, low;
    if (t->p == t->end)
        return true;
    if (!pattern_read_char(t, &high, why))
        return false;
    if (high == '{')
        return braced_hex(t, c, why, ok);
    if (t->p == t->end)
        return true;
    if (!pattern_read_char(t, &low, why))
        return false;
    if (hex_digit(high) >= 0 && hex_digit(low) >= 0) {
        *c = (uint32_t)(hex_digit(high) * 16 + hex_digit(low));
        *ok = true;
    }
    return true;
}

static bool is_octal(const struct pattern_text *t)
{
    return t->p < t->end && *t->p >= '0' && *t->p <= '7';
}

/* \0, \07, \123; \1 alone would be a back-reference, which is not RE2. */
static bool octal_escape(struct pattern_text *t, uint32_t first, uint32_t *c)
{
    if (first != '0' && !is_octal(t))
        return false;
    *c = first - '0';
    for (int i = 0; i < 2 && is_octal(t); i++)
        *c = *c * 8 + (uint32_t)(*t->p++ - '0');
    return true;
}

bool pattern_read_escape(struct pattern_text *t, uint32_t *c, struct reason *why)
{
    static const char letters[] = "afnrtv", meant[] = "\a\f\n\r\t\v";
    const char *from = t->p++;
    uint32_t first;
    if (t->p == t->end)
        return pattern_fail(why, "trailing backslash at end of expression", t->p, t->p);
    if (!pattern_read_char(t, &first, why))
        return false;
    bool ok = false;
    const char *letter = first && first < 0x80 ? strchr(letters, (int)first) : NULL;
    if (first < 0x80 && !is_alnum(first)) {
        *c = first;
        ok = true;
    } else if (letter) {
        *c = (uint32_t)meant[letter - letters];
        ok = true;
    } else if (first >= '0' && first <= '7') {
        ok = octal_escape(t, first, c);
    } else if (first == 'x' && !hex_escape(t, c, why, &ok)) {
        return false;
    }
    return ok || pattern_fail(why, "invalid escape sequence", from, t->p);
}

/* ---- groups of ASCII characters: \d, [:alpha:] -------------------------------------------------------- */

struct ascii_group {
    const char *name;
    const char *ranges; /* first and last character of each range */
    size_t n;           /* ranges */
};
static const struct ascii_group groups[] = {
    { "d", "09", 1 },           { "s", "\t\n\f\r  ", 3 },
    { "w", "09AZ__az", 4 },     { "alnum", "09AZaz", 3 },
    { "alpha", "AZaz", 2 },     { "ascii", "\0\x7f", 1 },
    { "blank", "\t\t  ", 2 },   { "cntrl", "\0\x1f\x7f\x7f", 2 },
    { "digit", "09", 1 },       { "graph", "!~", 1 },
    { "lower", "az", 1 },       { "print", " ~", 1 },
    { "punct", "!/:@[`{~", 4 }, { "space", "\t\r  ", 2 },
    { "upper", "AZ", 1 },       { "word", "09AZ__az", 4 },
    { "xdigit", "09AFaf", 3 },
};

static void write_range(struct cv_buf *out, uint32_t first, uint32_t last)
{
    if (first > last)
        return;
    gojson_write(out, "\\x{%x}-\\x{%x}", first, last);
}

/* Which of the 128 are in the group; under (?i) letters bring their other case. */
static void ascii_members(const struct ascii_group *group, bool fold, bool in[128])
{
    memset(in, 0, 128);
    for (size_t i = 0; i < group->n; i++)
        for (int c = (uint8_t)group->ranges[2 * i]; c <= (uint8_t)group->ranges[2 * i + 1]; c++)
            in[c] = true;
    for (int c = 'a'; fold && c <= 'z'; c++)
        in[c] = in[c - 32] = in[c] || in[c - 32];
}

/* Runs of members (or of the others) are ranges. Beyond ASCII there are only U+017F and U+212A, which are s
 * and k in another case. */
static void write_ascii_group(struct cv_buf *out, const struct ascii_group *group, bool negate, bool fold)
{
    bool in[128];
    ascii_members(group, fold, in);
    for (unsigned c = 0; c < 128; c++) {
        unsigned first = c;
        while (c < 128 && in[c] != negate)
            c++;
        if (c > first)
            write_range(out, first, c - 1);
    }
    if (!negate)
        return;
    write_range(out, 0x80, 0x17E);
    if (!fold || !in['s'])
        write_range(out, 0x17F, 0x17F);
    write_range(out, 0x180, 0x2129);
    if (!fold || !in['k'])
        write_range(out, 0x212A, 0x212A);
    write_range(out, 0x212B, CHAR_MAX_UNICODE);
}

static const struct ascii_group *find_group(struct cv_str name)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (cv_str_eq(name, cv_str_of(groups[i].name)))
            return &groups[i];
    return NULL;
}

/* \d and its kind; the upper-case letter means all other characters. */
static bool read_letter_group(struct pattern_text *t, bool fold, struct cv_buf *out)
{
    if (t->end - t->p < 2 || !memchr("dDsSwW", t->p[1], 6))
        return false;
    char lower = (char)(t->p[1] | 0x20);
    write_ascii_group(out, find_group((struct cv_str){ &lower, 1 }), t->p[1] != lower, fold);
    t->p += 2;
    return true;
}

/* [:alpha:], [:^alpha:]. Without its end it is no name but a bracket like any other. */
static enum pattern_group read_named_group(struct pattern_text *t, bool fold, struct cv_buf *out,
                                           struct reason *why)
{
    size_t left = (size_t)(t->end - t->p);
    if (left <= 2 || t->p[0] != '[' || t->p[1] != ':')
        return PATTERN_GROUP_NONE;
    const char *close = memmem(t->p + 2, left - 2, ":]", 2);
    if (!close)
        return PATTERN_GROUP_NONE;
    bool negate = t->p[2] == '^';
    struct cv_str name = { t->p + 2 + negate, (size_t)(close - t->p) - 2 - negate };
    const struct ascii_group *group = name.n > 1 ? find_group(name) : NULL;
    if (!group) {
        pattern_fail(why, "invalid character class range", t->p, close + 2);
        return PATTERN_GROUP_BAD;
    }
    write_ascii_group(out, group, negate, fold);
    t->p = close + 2;
    return PATTERN_GROUP_WRITTEN;
}

/* ---- Unicode groups: \pN, \p{Greek} ------------------------------------------------------------------- */

/* Names without spaces, dashes and underscores: first letter upper, the rest lower case. */
static const char *const categories[] = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
    "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
    "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs",
};
static const char *const aliases[][2] = {
    { "Casedletter", "Lc" },
    { "Closepunctuation", "Pe" },
    { "Cntrl", "Cc" },
    { "Combiningmark", "M" },
    { "Connectorpunctuation", "Pc" },
    { "Control", "Cc" },
    { "Currencysymbol", "Sc" },
    { "Dashpunctuation", "Pd" },
    { "Decimalnumber", "Nd" },
    { "Digit", "Nd" },
    { "Enclosingmark", "Me" },
    { "Finalpunctuation", "Pf" },
    { "Format", "Cf" },
    { "Initialpunctuation", "Pi" },
    { "Letter", "L" },
    { "Letternumber", "Nl" },
    { "Lineseparator", "Zl" },
    { "Lowercaseletter", "Ll" },
    { "Mark", "M" },
    { "Mathsymbol", "Sm" },
    { "Modifierletter", "Lm" },
    { "Modifiersymbol", "Sk" },
    { "Nonspacingmark", "Mn" },
    { "Number", "N" },
    { "Openpunctuation", "Ps" },
    { "Other", "C" },
    { "Otherletter", "Lo" },
    { "Othernumber", "No" },
    { "Otherpunctuation", "Po" },
    { "Othersymbol", "So" },
    { "Paragraphseparator", "Zp" },
    { "Privateuse", "Co" },
    { "Punct", "P" },
    { "Punctuation", "P" },
    { "Separator", "Z" },
    { "Spaceseparator", "Zs" },
    { "Spacingmark", "Mc" },
    { "Surrogate", "Cs" },
    { "Symbol", "S" },
    { "Titlecaseletter", "Lt" },
    { "Unassigned", "Cn" },
    { "Uppercaseletter", "Lu" },
};

static bool canonical_name(struct cv_str name, char *to, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (c == '_' || c == '-' || c == ' ')
            continue;
        if (!is_alnum((uint8_t)c) || n + 1 == size)
            return false;
        bool letter = (c | 0x20) >= 'a';
        to[n] = !letter ? c : n == 0 ? (char)(c & ~0x20) : (char)(c | 0x20);
        n++;
    }
    to[n] = '\0';
    return n > 0;
}

static bool compiles(const char *text)
{
    int code;
    size_t at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
    pcre2_code_free(re);
    return re != NULL;
}

static bool is_category(const char *name)
{
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (strcmp(name, categories[i]) == 0)
            return true;
    return false;
}

/* PCRE2 knows scripts also by codes of four letters, which Go does not; few scripts have names that short. */
static bool is_script(const char *name)
{
    char text[64];
    if (strcmp(name, "Unknown") == 0 ||
        (strlen(name) == 4 && !strstr(" Ahom Cham Kawi Lisu Thai Toto ", name)))
        return false;
    snprintf(text, sizeof text, "\\p{sc:%s}", name);
    return compiles(text);
}

/* The body of \p{…} for PCRE2; false for a name that Go does not know. In either case all cased letters are
 * one. */
static bool property(const char *name, bool negate, bool fold, struct cv_buf *out)
{
    char p = negate ? 'P' : 'p';
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(name, aliases[i][0]) == 0)
            name = aliases[i][1];
    if (fold && (strcmp(name, "Lu") == 0 || strcmp(name, "Ll") == 0 || strcmp(name, "Lt") == 0))
        name = "Lc";
    if (strcmp(name, "Assigned") == 0)
        gojson_write(out, "\\%c{Cn}", negate ? 'p' : 'P');
    else if (strcmp(name, "Any") == 0)
        gojson_write(out, "\\%c{Any}", p);
    else if (strcmp(name, "Lc") == 0)
        gojson_write(out, "\\%c{L&}", p);
    else if (is_category(name))
        gojson_write(out, "\\%c{%s}", p, name);
    else if (is_script(name))
        gojson_write(out, "\\%c{sc:%s}", p, name);
    else
        return false;
    return true;
}

static bool write_property(struct cv_str name, bool negate, bool fold, struct cv_buf *out)
{
    char canonical[48];
    if (!canonical_name(name, canonical, sizeof canonical))
        return false;
    if (strcmp(canonical, "Ascii") == 0) {
        write_ascii_group(out, find_group(CV_STR("ascii")), negate, fold);
        return true;
    }
    return property(canonical, negate, fold, out);
}

static enum pattern_group read_property(struct pattern_text *t, bool fold, struct cv_buf *out,
                                        struct reason *why)
{
    const char *from = t->p;
    if (t->end - t->p < 2 || (t->p[1] != 'p' && t->p[1] != 'P'))
        return PATTERN_GROUP_NONE;
    bool negate = t->p[1] == 'P';
    t->p += 2;
    if (t->p == t->end) {
        pattern_fail(why, "invalid character class range", from, t->p);
        return PATTERN_GROUP_BAD;
    }
    struct cv_str name = { t->p, 0 };
    uint32_t c;
    if (!pattern_read_char(t, &c, why))
        return PATTERN_GROUP_BAD;
    name.n = (size_t)(t->p - name.p);
    if (c == '{') {
        const char *close = memchr(t->p, '}', (size_t)(t->end - t->p));
        name = (struct cv_str){ t->p, close ? (size_t)(close - t->p) : 0 };
        t->p = close ? close + 1 : t->end;
    }
    if (name.n > 0 && *name.p == '^') {
        negate = !negate;
        name = (struct cv_str){ name.p + 1, name.n - 1 };
    }
    if (write_property(name, negate, fold, out))
        return PATTERN_GROUP_WRITTEN;
    pattern_fail(why, "invalid character class range", from, t->p);
    return PATTERN_GROUP_BAD;
}

enum pattern_group pattern_read_group(struct pattern_text *t, bool fold, struct cv_buf *out,
                                      struct reason *why)
{
    if (t->p == t->end || *t->p != '\\')
        return PATTERN_GROUP_NONE;
    if (read_letter_group(t, fold, out))
        return PATTERN_GROUP_WRITTEN;
    return read_property(t, fold, out, why);
}

/* ---- classes ------------------------------------------------------------------------------------------ */

static bool class_char(struct pattern_text *t, const char *class, uint32_t *c, struct reason *why)
{
    if (t->p == t->end)
        return pattern_fail(why, "missing closing ]", class, t->end);
    return *t->p == '\\' ? pattern_read_escape(t, c, why) : pattern_read_char(t, c, why);
}

/* A character or a range of them. */
static bool read_range(struct pattern_text *t, const char *class, struct cv_buf *out, struct reason *why)
{
    const char *from = t->p;
    uint32_t first, last;
    if (!class_char(t, class, &first, why))
        return false;
    last = first;
    if (t->end - t->p >= 2 && t->p[0] == '-' && t->p[1] != ']') {
        t->p++;
        if (!class_char(t, class, &last, why))
            return false;
        if (last < first)
            return pattern_fail(why, "invalid character class range", from, t->p);
    }
    write_range(out, first, last);
    return true;
}

bool pattern_read_class(struct pattern_text *t, bool fold, struct cv_buf *out, struct reason *why)
{
    const char *class = t->p++;
    bool negate = t->p < t->end && *t->p == '^';
    t->p += negate;
    gojson_write(out, "%s[%s", fold ? "(?i:" : "", negate ? "^" : "");
    for (bool first = true; first || t->p == t->end || *t->p != ']'; first = false) {
        enum pattern_group group = t->p < t->end && *t->p == '\\' ? pattern_read_group(t, fold, out, why)
                                                                  : read_named_group(t, fold, out, why);
        if (group == PATTERN_GROUP_BAD)
            return false;
        if (group == PATTERN_GROUP_NONE && !read_range(t, class, out, why))
            return false;
    }
    t->p++;
    gojson_write(out, "]%s", fold ? ")" : "");
    return true;
}
