/* script.c: what the next connections and registrations are answered. */
#include "edge_sim.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWERS_MAX = 1000 };

static struct {
    struct answer *v[ANSWERS_MAX];
    size_t n;
} script;

static const struct {
    const char *word;
    enum answer_what what;
} words[] = {
    { "accept", ANSWER_ACCEPT },   { "refuse", ANSWER_REFUSE },         { "exception", ANSWER_EXCEPTION },
    { "silence", ANSWER_SILENCE }, { "no-control", ANSWER_NO_CONTROL }, { "no-preface", ANSWER_NO_PREFACE },
    { "close", ANSWER_CLOSE },     { "no-tls", ANSWER_NO_TLS },         { "version", ANSWER_VERSION },
    { "dup", ANSWER_REFUSE },
};

void answer_free(struct answer *a)
{
    if (a)
        free(a->text);
    free(a);
}

static void set_text(struct answer *a, struct cv_str text)
{
    free(a->text);
    a->text = cv_xmemdup0(text.p, text.n);
}

/* retry:27s:text, retry:text, permanent:text, text */
static void read_refusal(struct answer *a, struct cv_str rest)
{
    struct cv_str text;
    struct cv_str kind = str_cut(rest, ':', &text);
    if (cv_str_eq(kind, CV_STR("retry"))) {
        a->retry = true;
        struct cv_str after;
        int64_t ms = parse_ms(str_cut(text, ':', &after));
        if (ms >= 0) {
            a->retry_after_ns = ms * 1000000;
            text = after;
        }
    } else if (!cv_str_eq(kind, CV_STR("permanent"))) {
        text = rest;
    }
    set_text(a, text.n ? text : CV_STR("refused by script"));
}

static struct answer *read_answer(struct cv_str line)
{
    struct answer *a = cv_xcalloc(1, sizeof(*a));
    a->index = -1;
    struct cv_str rest;
    uint64_t index;
    struct cv_str before = str_cut(line, '=', &rest);
    if (before.n < line.n && parse_u64(before, UINT8_MAX, &index)) {
        a->index = (int)index;
        line = rest;
    }
    struct cv_str word = str_cut(line, ':', &rest);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!cv_str_eq(word, cv_str_of(words[i].word)))
            continue;
        a->what = words[i].what;
        a->local = a->what == ANSWER_ACCEPT && cv_str_eq(rest, CV_STR("local"));
        if (cv_str_eq(word, CV_STR("dup")))
            set_text(a, CV_STR("EDUPCONN"));
        else if (a->what == ANSWER_REFUSE)
            read_refusal(a, rest);
        else
            set_text(a, rest.n ? rest : CV_STR("exception by script"));
        return a;
    }
    answer_free(a);
    return NULL;
}

static void clear(struct answer **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        answer_free(v[i]);
}

bool script_set(struct cv_str text, char err[static 128])
{
    struct answer *read[ANSWERS_MAX];
    size_t n = 0;
    while (text.n > 0) {
        struct cv_str line = str_cut(text, '\n', &text);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0)
            continue;
        struct answer *a = n < ANSWERS_MAX ? read_answer(line) : NULL;
        if (!a) {
            snprintf(err, 128, "answer %zu is not understood: %.*s", n + 1, (int)(line.n > 60 ? 60 : line.n),
                     line.p);
            clear(read, n);
            return false;
        }
        read[n++] = a;
    }
    clear(script.v, script.n);
    memcpy(script.v, read, n * sizeof(read[0]));
    script.n = n;
    return true;
}

static struct answer *take(size_t i)
{
    struct answer *a = script.v[i];
    memmove(&script.v[i], &script.v[i + 1], (script.n - i - 1) * sizeof(script.v[0]));
    script.n--;
    return a;
}

struct answer *script_dial(void)
{
    if (script.n == 0 || script.v[0]->what < ANSWER_NO_CONTROL)
        return NULL;
    return take(0);
}

struct answer *script_take(int index)
{
    for (size_t i = 0; i < script.n; i++)
        if (script.v[i]->what < ANSWER_NO_CONTROL && (script.v[i]->index < 0 || script.v[i]->index == index))
            return take(i);
    return read_answer(CV_STR("accept"));
}

size_t script_left(void)
{
    return script.n;
}

void script_free(void)
{
    clear(script.v, script.n);
    script.n = 0;
}
