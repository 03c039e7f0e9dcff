/* ini.c: an ini file through libinih, with the line of every key and all errors at once.
 *
 * libinih knows no line numbers in its callback, cuts long lines and names, is silent about a section without
 * keys, and takes an indented line for the continuation of the one above. So it reads through read_line(),
 * which counts, refuses what would be cut, removes indentation, and puts a line `=` behind each section
 * header to have it reported. */
#include "boot.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum after { NOTHING, HEADER, ENTRY, FULL_LINE };

struct reader {
    struct ini *ini;
    struct problems *problems;
    FILE *file;
    char *line; /* getline()'s */
    size_t cap, read;
    unsigned number;
    enum after after;   /* what libinih was given last        */
    bool reported;      /* it has called back for that line   */
    bool lost;          /* inside a section without a usable name */
    bool too_long_file; /* said once                          */
};

#define AT(r, fmt) "%s:%u: " fmt, (r)->ini->file, (r)->number

static struct ini_section *section_named(const struct ini *ini, const char *name)
{
    for (size_t i = 0; i < ini->n; i++)
        if (strcmp(ini->v[i].name, name) == 0)
            return &ini->v[i];
    return NULL;
}

/* Words with one blank between them. The result is as long as the input at most. */
static void squeeze(char *s)
{
    char *to = s;
    for (const char *word = s; *(word += strspn(word, " \t"));) {
        size_t n = strcspn(word, " \t");
        if (to != s)
            *to++ = ' ';
        memmove(to, word, n);
        to += n;
        word += n;
    }
    *to = '\0';
}

/* The keys of [rewrite] are URLs: they end at the first =, not at the : that libinih stops at. Both strings are ours to
 * free, NULL if there is no =. */
static void split_rewrite(const struct reader *r, const char *key, const char *value, char **from, char **to)
{
    char line[INI_LINE + 8];
    bool cut = r->line[strcspn(r->line, ":=")] == ':';
    snprintf(line, sizeof(line), "%s%s%s", key, cut ? ":" : " = ", value);
    char *equals = strchr(line, '=');
    *from = *to = NULL;
    if (!equals)
        return;
    *equals = '\0';
    squeeze(line);
    squeeze(equals + 1);
    *from = cv_xstrdup(line);
    *to = cv_xstrdup(equals + 1);
}

static void add_entry(struct reader *r, struct ini_section *s, const char *key, const char *value)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->v[i].key, key) == 0) {
            problem(r->problems, AT(r, "%s is already set on line %u"), key, s->v[i].line);
            return;
        }
    }
    s->v = cv_xrealloc(s->v, s->n + 1, sizeof(*s->v));
    s->v[s->n++] = (struct ini_entry){ cv_xstrdup(key), cv_xstrdup(value), r->number };
}

static void add_rewrite(struct reader *r, struct ini_section *s, const char *key, const char *value)
{
    char *from, *to;
    split_rewrite(r, key, value, &from, &to);
    if (from)
        add_entry(r, s, from, to);
    else
        problem(r->problems, AT(r, "this is not service = target"));
    free(from);
    free(to);
}

/* A key line without its section is not reported a second time: the header was. */
static int on_entry(void *arg, const char *section, const char *key, const char *value)
{
    struct reader *r = arg;
    if (r->reported)
        return 1;
    r->reported = true;
    if (r->lost)
        return 1;
    char name[INI_SECTION + 1];
    snprintf(name, sizeof(name), "%s", section);
    squeeze(name);
    struct ini_section *s = section_named(r->ini, name);
    if (r->after == HEADER) {
        if (s)
            return 1;
        r->ini->v = cv_xrealloc(r->ini->v, r->ini->n + 1, sizeof(*r->ini->v));
        r->ini->v[r->ini->n++] = (struct ini_section){ .name = cv_xstrdup(name), .line = r->number };
        return 1;
    }
    if (!s)
        return problem(r->problems, AT(r, "%s stands before the first [section]"), key), 1;
    if (!*key)
        return problem(r->problems, AT(r, "a key is missing before =")), 1;
    if (strcmp(name, "rewrite") == 0)
        return add_rewrite(r, s, key, value), 1;
    add_entry(r, s, key, value);
    return 1;
}

/* libinih would take a header that it cannot read for nothing and go on in the section before. */
static bool header_is_good(struct reader *r, const char *line)
{
    const char *end = strchr(line, ']');
    const char *rest = end ? end + 1 + strspn(end + 1, " \t") : NULL;
    if (!end)
        problem(r->problems, AT(r, "the section name does not end in ]"));
    else if (end - line - 1 > INI_SECTION)
        problem(r->problems, AT(r, "the section name is longer than %d bytes"), INI_SECTION);
    else if (memchr(line, ';', (size_t)(end - line)))
        problem(r->problems, AT(r, "a section name holds no ;"));
    else if (line[1 + strspn(line + 1, " \t")] == ']')
        problem(r->problems, AT(r, "the section has no name"));
    else if (*rest && *rest != ';' && *rest != '#')
        problem(r->problems, AT(r, "nothing but a comment may stand behind ]"));
    else
        return true;
    return false;
}

/* The text between the blanks at both ends, or NULL with the problem said. */
static char *usable(struct reader *r, char *line, size_t n)
{
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        n--;
    char *from = line;
    while (n > 0 && isspace((unsigned char)*from))
        from++, n--;
    if (r->number == 1 && n >= 3 && memcmp(from, "\xEF\xBB\xBF", 3) == 0)
        from += 3, n -= 3;
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)from[i] < 0x20 && from[i] != '\t') || from[i] == 0x7f)
            return problem(r->problems, AT(r, "byte 0x%02x is not text"), (unsigned char)from[i]), NULL;
    from[n] = '\0';
    if (*from == ';' || *from == '#')
        return from + n;
    if (n > INI_LINE)
        return problem(r->problems, AT(r, "the line is longer than %d bytes"), INI_LINE), NULL;
    return from;
}

static char *next_usable(struct reader *r)
{
    for (ssize_t n; (n = getline(&r->line, &r->cap, r->file)) >= 0;) {
        r->number++;
        r->read += (size_t)n;
        if (r->read > INI_SIZE) {
            problem(r->problems, AT(r, "the file is larger than %d bytes"), INI_SIZE);
            return NULL;
        }
        char *line = usable(r, r->line, (size_t)n);
        if (!line && r->line[strspn(r->line, " \t")] == '[')
            r->lost = true;
        if (!line || !*line)
            continue;
        if (*line != '[')
            return line;
        r->lost = !header_is_good(r, line);
        if (!r->lost)
            return line;
    }
    return NULL;
}

static void no_answer_is_a_problem(struct reader *r)
{
    if (r->after == ENTRY && !r->reported)
        problem(r->problems, AT(r, "this is neither [section] nor key = value"));
    r->after = NOTHING;
}

/* libinih's fgets. */
static char *read_line(char *to, int size, void *arg)
{
    struct reader *r = arg;
    CV_ASSERT(size > 2);
    if (r->after == HEADER && !r->reported)
        return memcpy(to, "=\n", 3);
    if (r->after == FULL_LINE) {
        /* newer versions skip the rest of a line that fills the buffer: there is none */
        r->after = ENTRY;
        return memcpy(to, "\n", 2);
    }
    no_answer_is_a_problem(r);
    char *line = next_usable(r);
    if (!line)
        return NULL;
    r->reported = false;
    size_t n = strlen(line);
    CV_ASSERT(n < (size_t)size);
    memcpy(to, line, n + 1);
    r->after = *line == '[' ? HEADER : ENTRY;
    if (n + 1 < (size_t)size)
        memcpy(to + n, "\n", 2);
    else
        r->after = FULL_LINE;
    return to;
}

void ini_read_stream(struct ini *ini, const char *name, FILE *file, struct problems *problems)
{
    *ini = (struct ini){ .file = cv_xstrdup(name) };
    struct reader r = { .ini = ini, .problems = problems, .file = file };
    ini_parse_stream(read_line, &r, on_entry, &r);
    no_answer_is_a_problem(&r);
    if (ferror(file))
        problem(problems, "%s: cannot be read: %s", name, strerror(errno));
    free(r.line);
}

void ini_read(struct ini *ini, const char *file, struct problems *problems)
{
    *ini = (struct ini){ .file = cv_xstrdup(file) };
    FILE *f = fopen(file, "re");
    struct stat st;
    if (f && fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
        fclose(f);
        f = NULL;
        errno = EISDIR;
    }
    if (!f) {
        problem(problems, "%s: cannot be opened: %s", file, strerror(errno));
        return;
    }
    free(ini->file);
    ini_read_stream(ini, file, f, problems);
    fclose(f);
}

void ini_free(struct ini *ini)
{
    for (size_t i = 0; i < ini->n; i++) {
        struct ini_section *s = &ini->v[i];
        for (size_t j = 0; j < s->n; j++) {
            free(s->v[j].key);
            free(s->v[j].value);
        }
        free(s->v);
        free(s->name);
    }
    free(ini->v);
    free(ini->file);
    *ini = (struct ini){ 0 };
}
