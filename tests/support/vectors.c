/* vectors.c: reads the golden vectors, tests/vectors/. */
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void give_up(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    abort();
}

static char *path_of(const char *name, const char *ending)
{
    char *path;
    if (asprintf(&path, "tests/vectors/%s.%s", name, ending) < 0)
        abort();
    return path;
}

static struct cv_buf read_file(const char *path)
{
    struct cv_buf b = { 0 };
    FILE *f = fopen(path, "r");
    if (!f)
        give_up(path, "cannot be opened");
    size_t n;
    while ((n = fread(cv_buf_reserve(&b, 4096), 1, 4096, f)))
        b.n += n;
    fclose(f);
    return b;
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

void vector_unhex(struct cv_buf *b, struct cv_str hex)
{
    int high = -1;
    if (!hex.p)
        return;
    for (size_t i = 0; i < hex.n; i++) {
        int d = digit(hex.p[i]);
        if (d < 0)
            continue;
        if (high < 0) {
            high = d;
            continue;
        }
        cv_buf_add(b, &(uint8_t){ (uint8_t)(high << 4 | d) }, 1);
        high = -1;
    }
}

struct cv_buf vector_bytes(const char *name)
{
    char *path = path_of(name, "hex");
    struct cv_buf text = read_file(path), bytes = { 0 };
    vector_unhex(&bytes, (struct cv_str){ (const char *)text.p, text.n });
    if (!bytes.n)
        give_up(path, "holds no bytes");
    cv_buf_free(&text);
    free(path);
    return bytes;
}

yyjson_doc *vector_json(const char *name)
{
    char *path = path_of(name, "json");
    yyjson_read_err err;
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, &err);
    if (!doc)
        give_up(path, err.msg);
    free(path);
    return doc;
}

struct cv_str vector_str(yyjson_val *object, const char *key)
{
    yyjson_val *v = yyjson_obj_get(object, key);
    return (struct cv_str){ yyjson_get_str(v), yyjson_get_len(v) };
}

struct cv_str vector_data(yyjson_val *object, const char *key, struct cv_buf *store)
{
    struct cv_str hex = vector_str(object, key);
    size_t from = store->n;
    CV_ASSERT(hex.n / 2 <= store->cap - store->n);
    vector_unhex(store, hex);
    if (store->n == from)
        return (struct cv_str){ 0 };
    return (struct cv_str){ (const char *)store->p + from, store->n - from };
}

bool vector_same(struct cv_str got, struct cv_str want)
{
    size_t i = 0;
    while (i < got.n && i < want.n && got.p[i] == want.p[i])
        i++;
    if (i == got.n && i == want.n)
        return true;
    fprintf(stderr, "    %zu bytes instead of %zu, the first difference is at %zu\n", got.n, want.n, i);
    return false;
}
