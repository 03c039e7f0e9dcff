/* gojson.h: JSON as Go's encoding/json reads and writes it, driven by tables that describe the C structs.
 *
 * Tokens and configurations were made for a reader with habits of its own: keys match in any case, the last
 * duplicate wins by being read over the first, null leaves a value alone, invalid UTF-8 is replaced, and
 * error texts name Go types. A general JSON library hides what is needed for that (raw text, order), so this
 * one is small and whole. Nothing recurses deeper than the types do. Source: docs/protocol.md §2.1, §16.2,
 * §16.4. */
#ifndef REQUEST_GOJSON_H
#define REQUEST_GOJSON_H
#include "culvert/mem.h"
#include "request/bump.h"
#include "request/reason.h"

#define GOJSON_DEPTH    10000 /* of nesting, Go's limit                                   */
#define GOJSON_LIST_MAX 10000 /* elements, our own limit: a few bytes must not become many */

enum gojson_kind {
    GOJSON_STRING, /* struct cv_str, from `mem`                                                  */
    GOJSON_BOOL,   /* bool                                                                        */
    GOJSON_INT,    /* int64_t                                                                     */
    GOJSON_UINT,   /* uint8_t or uint64_t, as `size` says                                         */
    GOJSON_BYTES,  /* struct gojson_list of uint8_t: base64, or a list of numbers                 */
    GOJSON_LIST,   /* struct gojson_list of `of`                                                  */
    GOJSON_STRUCT, /* `fields`                                                                    */
    GOJSON_RAW,    /* read() gets the JSON text of the value                                      */
    GOJSON_TEXT,   /* read() gets the value, which must be a string                               */
};
struct gojson_field {
    const char *name; /* NULL ends the list */
    const struct gojson_type *type;
    size_t at;     /* offset of the value in the struct                                             */
    size_t set_at; /* offset of a bool: value present and not null. GOJSON_ALWAYS: there is none    */
};
#define GOJSON_ALWAYS SIZE_MAX
struct gojson_type {
    const char *name; /* Go's, for error texts: "config.AccessConfig" */
    enum gojson_kind kind;
    size_t size;                       /* of the C value                         */
    const struct gojson_field *fields; /* GOJSON_STRUCT                          */
    const struct gojson_type *of;      /* GOJSON_LIST                            */
    /* GOJSON_RAW, GOJSON_TEXT: false, and why, when it is not acceptable. */
    bool (*read)(struct cv_str, void *value, struct reason *);
};
/* v is NULL for a list that is absent or null, not for an empty one. */
struct gojson_list {
    void *v;
    size_t n;
    size_t cap; /* a second list in the same place is read over the elements of the first */
};

/* Reads a whole text into *value, which holds what it would without the text (zeros, say). Strings and lists
 * come from `mem`. On failure the reason is Go's error text and *value is of no use. */
enum cv_error gojson_read(struct bump *, struct cv_str text, const struct gojson_type *, void *value,
                          struct reason *);

/* Go's strconv.ParseInt(text, 10, 64): false and Go's text. */
bool gojson_parse_int(struct cv_str text, const char *function, int64_t *n, struct reason *);

/* A quoted string as Go's json.Marshal writes it: `<`, `>`, `&`, U+2028 and U+2029 escaped. */
void gojson_write_str(struct cv_buf *, struct cv_str);
/* Pieces of at most 500 bytes. */
void gojson_write(struct cv_buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#endif
