/* pattern_parse.h: patterns while they are read; private to pattern*.c. */
#ifndef REQUEST_PATTERN_PARSE_H
#define REQUEST_PATTERN_PARSE_H
#include "request/bump.h"
#include "request/pattern.h"

enum pattern_assertion {
    PATTERN_BEGIN,      /* ^, \A       */
    PATTERN_END,        /* $, \z       */
    PATTERN_LINE_BEGIN, /* ^ with (?m) */
    PATTERN_LINE_END,   /* $ with (?m) */
    PATTERN_WORD_EDGE,  /* \b          */
    PATTERN_WORD_INSIDE /* \B          */
};
/* A node of the tree that a pattern is read into. */
struct pattern_node {
    enum { NODE_CHAR, NODE_SET, NODE_ASSERTION, NODE_CAT, NODE_ALT, NODE_REPEAT } kind;
    union {
        uint32_t c; /* NODE_CHAR */
        size_t set; /* NODE_SET: which of the tree's sets */
        enum pattern_assertion assertion;
        struct {
            int least, most; /* NODE_REPEAT; most -1: without end */
        };
    };
    struct pattern_node *first, *last; /* inside; one for NODE_REPEAT, any number for NODE_CAT and NODE_ALT */
    struct pattern_node *next;         /* beside it */
    unsigned copies; /* the most copies that repetitions make of anything inside: 1 without any */
    unsigned height; /* of the tree below it, 1 without any */
};
struct pattern_set {
    struct pattern_set *next;
    struct cv_str text; /* as PCRE2 code that matches one character */
};
struct pattern_tree {
    struct bump mem;
    struct pattern_node *root;
    struct pattern_set *sets;
    size_t n_sets;
};
/* The tree is to be freed with its memory in any case. */
enum cv_error pattern_parse(struct cv_str text, struct pattern_tree *, struct reason *);
/* "error parsing regexp: WHAT: `FROM…TO`"; returns false. */
bool pattern_fail(struct reason *, const char *what, const char *from, const char *to);

/* ---- pattern_class.c ---------------------------------------------------------------------------------- */

/* What is left to read. Functions that read advance p. */
struct pattern_text {
    const char *p, *end;
};
/* One character, perhaps not valid UTF-8. */
bool pattern_read_char(struct pattern_text *, uint32_t *c, struct reason *);
/* A backslash and what belongs to it, where that means one character. */
bool pattern_read_escape(struct pattern_text *, uint32_t *c, struct reason *);

/* A group like \d, \pN or \P{Greek} at p is written as items of a PCRE2 class. `fold`: under (?i). */
enum pattern_group { PATTERN_GROUP_NONE, PATTERN_GROUP_WRITTEN, PATTERN_GROUP_BAD };
enum pattern_group pattern_read_group(struct pattern_text *, bool fold, struct cv_buf *, struct reason *);
/* A class from its opening bracket on. */
bool pattern_read_class(struct pattern_text *, bool fold, struct cv_buf *, struct reason *);
#endif
