/* options.c: the options of one section: defaults, what was said, where it was said, and what changed. */
#include "boot.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static struct conf *all; /* main thread only */

size_t options_count(const struct cv_option *options)
{
    size_t n = 0;
    while (options && n <= OPTIONS_MAX && options[n].name)
        n++;
    return n;
}

static void *field(const struct conf *c, const struct cv_option *o)
{
    return (char *)c->data + o->at;
}

static const struct cv_option *find(const struct conf *c, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->options[i].name, key) == 0)
            return &c->options[i];
    return NULL;
}

/* ---- is the table itself right? ------------------------------------------------------------------------ */

static const size_t sizes[] = {
    [CV_T_BOOL] = sizeof(bool),
    [CV_T_INT] = sizeof(int),
    [CV_T_STR] = sizeof(char *),
    [CV_T_LIST] = sizeof(struct cv_list),
    [CV_T_MS] = sizeof(struct cv_ms),
    [CV_T_BYTES] = sizeof(struct cv_bytes),
    [CV_T_SECRET] = sizeof(struct cv_secret),
};

static bool default_parses(const struct cv_option *o)
{
    union {
        max_align_t align;
        char bytes[sizeof(struct cv_list)];
    } value;
    struct block *blocks = NULL;
    struct remark ignored;
    bool ok = !o->def || value_parse(o, o->def, false, &blocks, &value, &ignored, &ignored);
    block_free(&blocks);
    return ok;
}

static const char *fault(const struct cv_option *options, size_t i, size_t size)
{
    const struct cv_option *o = &options[i];
    if (!*o->name || o->name[strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return "has a name that is not made of a-z, 0-9 and _";
    for (size_t j = 0; j < i; j++)
        if (strcmp(options[j].name, o->name) == 0)
            return "stands there twice";
    if ((unsigned)o->type > CV_T_SECRET)
        return "has a type that does not exist";
    if (o->at > size || sizes[o->type] > size - o->at)
        return "lies outside of the configuration struct";
    if (!o->help || !*o->help)
        return "has no help text";
    if ((o->flags & CV_REQUIRED) && o->def)
        return "is required and has a default";
    if (!default_parses(o))
        return "has a default that does not parse";
    return NULL;
}

bool options_sound(const struct cv_option *options, size_t size, struct remark *why)
{
    size_t n = options_count(options);
    if (n > OPTIONS_MAX) {
        snprintf(why->text, sizeof(why->text), "has no CV_OPT_END within %d options", OPTIONS_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *wrong = fault(options, i, size);
        if (wrong) {
            snprintf(why->text, sizeof(why->text), "\"%.40s\" %s", options[i].name, wrong);
            return false;
        }
    }
    return true;
}

/* ---- one section's values ------------------------------------------------------------------------------ */

struct conf *conf_new(const char *section, const struct cv_option *options, size_t size)
{
    struct conf *c = cv_xcalloc(1, sizeof(*c));
    size_t name = strlen(section) + 1;
    c->section = memcpy(block_alloc(&c->blocks, name), section, name);
    c->options = options;
    c->n = options_count(options);
    c->where = block_alloc(&c->blocks, c->n * sizeof(*c->where));
    c->data = block_alloc(&c->blocks, size);
    for (size_t i = 0; i < c->n; i++) {
        const struct cv_option *o = &options[i];
        struct remark none;
        c->where[i] = "default";
        if (o->def)
            CV_ASSERT(value_parse(o, o->def, false, &c->blocks, field(c, o), &none, &none));
        else if (o->type == CV_T_STR)
            *(const char **)field(c, o) = "";
    }
    c->next = all;
    all = c;
    return c;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    struct conf **at = &all;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    block_free(&c->blocks);
    free(c);
}

static void adopt_secret(struct conf *was, struct cv_secret *old, const struct cv_secret *new)
{
    *old = (struct cv_secret){ memcpy(block_alloc(&was->blocks, new->n + 1), new->p, new->n), new->n };
}

void conf_adopt(struct conf *was, const struct conf *is)
{
    for (size_t i = 0; i < was->n; i++) {
        const struct cv_option *o = &was->options[i];
        const void *new = (const char *)is->data + o->at;
        if (!(o->flags & CV_LIVE) || value_same(o, field(was, o), new))
            continue;
        CV_ASSERT(o->type != CV_T_STR && o->type != CV_T_LIST);
        if (o->type == CV_T_SECRET)
            adopt_secret(was, field(was, o), new);
        else
            memcpy(field(was, o), new, sizes[o->type]);
    }
}

static void unknown_key(const struct conf *c, const struct said *s, struct problems *errors)
{
    struct suggestion near = { .word = s->key };
    for (size_t i = 0; i < c->n; i++)
        suggest(&near, c->options[i].name);
    if (*near.best)
        problem(errors, "%s: [%s] has no option \"%.60s\"; did you mean %s?", s->where, c->section, s->key,
                near.best);
    else
        problem(errors, "%s: [%s] has no option \"%.60s\"", s->where, c->section, s->key);
}

void conf_set(struct conf *c, const struct said *s, struct problems *errors, struct problems *warnings)
{
    const struct cv_option *o = find(c, s->key);
    if (!o) {
        unknown_key(c, s, errors);
        return;
    }
    struct remark why = { "" }, unwise = { "" };
    if (value_parse(o, s->text, s->literal, &c->blocks, field(c, o), &why, &unwise)) {
        size_t n = strlen(s->where) + 1;
        c->where[o - c->options] = memcpy(block_alloc(&c->blocks, n), s->where, n);
    } else if (s->refusal) {
        problem(errors, "%s%.100s (%s: %s)", s->refusal, s->text, s->where, why.text);
    } else {
        problem(errors, "%s: %s: %s", s->where, o->name, why.text);
    }
    if (*unwise.text)
        problem(warnings, "%s: %s: %s", s->where, o->name, unwise.text);
}

void conf_required(const struct conf *c, struct problems *errors)
{
    for (size_t i = 0; i < c->n; i++)
        if ((c->options[i].flags & CV_REQUIRED) && strcmp(c->where[i], "default") == 0)
            problem(errors, "[%s] needs %s: %s", c->section, c->options[i].name, c->options[i].help);
}

enum cv_error cv_conf_fail(struct cv_err *err, const void *data, const char *option, const char *fmt, ...)
{
    char text[sizeof(err->text)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (const struct conf *c = all; c; c = c->next) {
        const struct cv_option *o = c->data == data ? find(c, option) : NULL;
        if (!o)
            continue;
        const char *where = c->where[o - c->options];
        if (strcmp(where, "default") == 0)
            return cv_fail(err, CV_E_CONF, "[%s] %s: %s", c->section, option, text);
        return cv_fail(err, CV_E_CONF, "%s: %s: %s", where, option, text);
    }
    return cv_fail(err, CV_E_CONF, "%s: %s", option, text);
}

void conf_dump(const struct conf *c, FILE *out)
{
    for (size_t i = 0; i < c->n; i++) {
        char *text = value_format(&c->options[i], field(c, &c->options[i]));
        fprintf(out, "%s.%s = %s%s; %s\n", c->section, c->options[i].name, text, *text ? "  " : " ",
                c->where[i]);
        free(text);
    }
}

size_t conf_diff(const struct conf *was, const struct conf *is, conf_diff_fn *fn, void *arg)
{
    size_t differ = 0;
    for (size_t i = 0; i < is->n; i++) {
        const struct cv_option *o = &is->options[i];
        if (value_same(o, field(was, o), field(is, o)))
            continue;
        differ++;
        char *before = value_format(o, field(was, o)), *after = value_format(o, field(is, o));
        fn(arg, is, o, before, after);
        free(before);
        free(after);
    }
    return differ;
}
