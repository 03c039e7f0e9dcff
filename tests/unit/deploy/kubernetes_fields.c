/* kubernetes_fields.c: kinds, fields, types and forms of manifests, by the table kubernetes.fields. */
#include "kubernetes.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "tests/unit/deploy/kubernetes.fields"

static char *table; /* the file; each of its lines ends in NUL */
static size_t table_n;

void kubernetes_say(struct cv_buf *to, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    cv_buf_add(to, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    cv_buf_add(to, "\n", 1);
}

static void load(void)
{
    if (table)
        return;
    FILE *f = fopen(TABLE, "re");
    if (!f || getdelim(&table, &table_n, '\0', f) < 0) {
        perror(TABLE);
        abort();
    }
    fclose(f);
    table_n = strlen(table);
    for (char *at = table; (at = strchr(at, '\n'));)
        *at++ = '\0';
}

/* The fields of a type or "VERSION KIND"; NULL: not in the table. */
static const char *fields_of(const char *type, size_t n)
{
    for (const char *line = table; line < table + table_n; line += strlen(line) + 1)
        if (strncmp(line, type, n) == 0 && line[n] == ':')
            return line + n + 1;
    return NULL;
}

/* ---- forms -------------------------------------------------------------------------------------------- */

static bool made_of(const char *s, const char *others)
{
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr(others, *s))
            return false;
    return true;
}

static bool ends_alnum(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && isalnum((unsigned char)s[0]) && isalnum((unsigned char)s[n - 1]);
}

static bool is_lower(const char *s)
{
    return !strpbrk(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

static bool is_name(const char *s)
{
    return strlen(s) <= 63 && made_of(s, "-") && ends_alnum(s) && is_lower(s);
}

static bool is_domain(const char *s)
{
    return strlen(s) <= 253 && made_of(s, "-.") && ends_alnum(s) && is_lower(s) && !strstr(s, "..");
}

static bool is_label(const char *s)
{
    return !*s || (strlen(s) <= 63 && made_of(s, "-._") && ends_alnum(s));
}

static bool is_key(const char *s)
{
    char prefix[256];
    const char *slash = strchr(s, '/');
    if (!slash)
        return *s && is_label(s);
    snprintf(prefix, sizeof(prefix), "%.*s", (int)(slash - s), s);
    return is_domain(prefix) && slash[1] && is_label(slash + 1);
}

static bool is_cidr(const char *s)
{
    char text[64], *end;
    uint8_t address[16];
    snprintf(text, sizeof(text), "%s", s);
    char *slash = strchr(text, '/');
    if (!slash)
        return false;
    *slash = '\0';
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    unsigned long bits = strtoul(slash + 1, &end, 10), all = family == AF_INET ? 32 : 128;
    if (inet_pton(family, text, address) != 1 || *end || bits > all)
        return false;
    for (size_t i = bits; i < all; i++)
        if (address[i / 8] & 0x80 >> i % 8)
            return false; /* a host's bits: not a network */
    return true;
}

static bool is_quantity(const char *s)
{
    char *end;
    if (strtod(s, &end) < 0 || end == s)
        return false;
    static const char *const suffixes[] = { "", "m", "k", "M", "G", "Ki", "Mi", "Gi" };
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        if (strcmp(end, suffixes[i]) == 0)
            return true;
    return false;
}

/* Pinned: NAME:TAG, not latest, or NAME@sha256:HEX. */
static bool is_image(const char *s)
{
    const char *digest = strstr(s, "@sha256:"), *slash = strrchr(s, '/'),
               *tag = strchr(slash ? slash : s, ':');
    if (digest)
        return strlen(digest) == sizeof("@sha256:") - 1 + 64;
    return tag && tag[1] && strcmp(tag, ":latest") != 0 && made_of(s, "-._/:");
}

static bool is_percent(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && strcmp(s + n, "%") == 0;
}

static bool is_any(const char *s)
{
    (void)s;
    return true;
}

static bool is_text(const char *s)
{
    return *s;
}

static bool is_path(const char *s)
{
    return *s == '/';
}

static bool is_port_name(const char *s)
{
    return is_name(s) && strlen(s) <= 15;
}

static const struct form {
    const char *type;
    bool (*string)(const char *); /* NULL: no string */
    bool integer;
    long long max;
} forms[] = { { "bool", NULL, false, 0 },          { "int", NULL, true, INT32_MAX },
              { "string", is_any, false, 0 },      { "text", is_text, false, 0 },
              { "name", is_name, false, 0 },       { "domain", is_domain, false, 0 },
              { "key", is_key, false, 0 },         { "label", is_label, false, 0 },
              { "cidr", is_cidr, false, 0 },       { "image", is_image, false, 0 },
              { "path", is_path, false, 0 },       { "port", is_port_name, true, 65535 },
              { "number", NULL, true, 65535 },     { "quantity", is_quantity, true, INT32_MAX },
              { "percent", is_percent, true, 100 } };

static bool is_word_of(const char *words, size_t n, const char *s)
{
    size_t length = strlen(s);
    for (const char *at = words; at < words + n; at += strcspn(at, "|,]") + 1)
        if (strncmp(at, s, length) == 0 && strcspn(at, "|,]") == length)
            return true;
    return false;
}

static bool fits(const struct form *form, yyjson_val *v)
{
    if (strcmp(form->type, "bool") == 0)
        return yyjson_is_bool(v);
    if (yyjson_is_int(v))
        return form->integer && yyjson_get_sint(v) >= 0 && yyjson_get_sint(v) <= form->max;
    return yyjson_is_str(v) && form->string && form->string(yyjson_get_str(v));
}

static bool is_value(yyjson_val *v, const char *type, size_t n)
{
    if (n == 3 && strncmp(type, "any", 3) == 0)
        return true;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strlen(forms[i].type) == n && strncmp(forms[i].type, type, n) == 0)
            return fits(&forms[i], v);
    return yyjson_is_str(v) && is_word_of(type, n, yyjson_get_str(v));
}

/* ---- the tree ----------------------------------------------------------------------------------------- */

struct walk {
    bool patches;
    struct cv_buf *wrong;
};

static void check(struct walk *w, const char *path, yyjson_val *v, const char *type, size_t n);

/* The next `field type` or `field! type`: its parts; NULL at the end. */
static const char *next_field(const char *at, const char **name, size_t *name_n, const char **type,
                              size_t *type_n)
{
    at += strspn(at, ", ");
    if (!*at)
        return NULL;
    *name = at;
    *name_n = strcspn(at, " ");
    *type = at + *name_n + 1;
    *type_n = strcspn(*type, ",");
    return *type + *type_n;
}

static bool is_absent(yyjson_val *v)
{
    return !v || yyjson_is_null(v);
}

static void check_missing(struct walk *w, const char *path, yyjson_val *object, const char *fields)
{
    const char *name, *type;
    size_t name_n, type_n;
    while (!w->patches && (fields = next_field(fields, &name, &name_n, &type, &type_n)))
        if (name[name_n - 1] == '!' && is_absent(yyjson_obj_getn(object, name, name_n - 1)))
            kubernetes_say(w->wrong, "%s.%.*s is missing", path, (int)name_n - 1, name);
}

/* The type of the field of that name; NULL: there is none. */
static const char *type_of(const char *fields, yyjson_val *key, size_t *type_n)
{
    const char *name, *type;
    size_t name_n, n = yyjson_get_len(key);
    while ((fields = next_field(fields, &name, &name_n, &type, type_n)))
        if (strncmp(name, yyjson_get_str(key), n) == 0 &&
            (name_n == n || (name_n == n + 1 && name[n] == '!')))
            return type;
    return NULL;
}

static void check_object(struct walk *w, const char *path, yyjson_val *object, const char *fields)
{
    yyjson_val *key;
    yyjson_obj_iter each = yyjson_obj_iter_with(object);
    if (!yyjson_is_obj(object))
        kubernetes_say(w->wrong, "%s is no map", path);
    while ((key = yyjson_obj_iter_next(&each))) {
        char at[300];
        size_t n;
        const char *type = type_of(fields, key, &n);
        snprintf(at, sizeof(at), "%s.%s", path, yyjson_get_str(key));
        if (type)
            check(w, at, yyjson_obj_iter_get_val(key), type, n);
        else
            kubernetes_say(w->wrong, "%s: there is no such field", at);
    }
    check_missing(w, path, object, fields);
}

static void check_list(struct walk *w, const char *path, yyjson_val *list, const char *type, size_t n)
{
    yyjson_val *item;
    if (!yyjson_is_arr(list))
        kubernetes_say(w->wrong, "%s is no list", path);
    for (size_t i = 0; (item = yyjson_arr_get(list, i)); i++) {
        char at[300];
        snprintf(at, sizeof(at), "%s[%zu]", path, i);
        check(w, at, item, type, n);
    }
}

static void check_map(struct walk *w, const char *path, yyjson_val *map, const char *type, size_t n)
{
    yyjson_val *key;
    yyjson_obj_iter each = yyjson_obj_iter_with(map);
    if (!yyjson_is_obj(map))
        kubernetes_say(w->wrong, "%s is no map", path);
    while ((key = yyjson_obj_iter_next(&each))) {
        char at[300];
        snprintf(at, sizeof(at), "%s.%s", path, yyjson_get_str(key));
        check(w, at, yyjson_obj_iter_get_val(key), type, n);
        if (strncmp(type, "label", n) == 0 && !is_key(yyjson_get_str(key)))
            kubernetes_say(w->wrong, "%s: not the key of a label", at);
    }
}

static void check(struct walk *w, const char *path, yyjson_val *v, const char *type, size_t n)
{
    if (is_absent(v))
        return;
    const char *fields = fields_of(type, n);
    if (*type == '[')
        check_list(w, path, v, type + 1, n - 2);
    else if (*type == '{')
        check_map(w, path, v, type + 1, n - 2);
    else if (fields)
        check_object(w, path, v, fields);
    else if (!is_value(v, type, n))
        kubernetes_say(w->wrong, "%s: %.*s is wanted%s%s", path, (int)n, type,
                       yyjson_is_str(v) ? ", not " : "", yyjson_is_str(v) ? yyjson_get_str(v) : "");
}

static void check_kind(struct walk *w, yyjson_val *object)
{
    char kind[128], path[192];
    const char *type = yyjson_get_str(yyjson_obj_get(object, "kind"));
    snprintf(kind, sizeof(kind), "%s %s", yyjson_get_str(yyjson_obj_get(object, "apiVersion")), type);
    snprintf(path, sizeof(path), "%s/%s", type, kubernetes_name(object));
    const char *fields = fields_of(kind, strlen(kind));
    char whole[512];
    snprintf(whole, sizeof(whole), "apiVersion! text, kind! text, metadata! Meta, %s", fields ? fields : "");
    if (fields)
        check_object(w, path, object, whole);
    else
        kubernetes_say(w->wrong, "%s: there is no such kind (%s)", path, kind);
}

void kubernetes_fields(yyjson_val *objects, bool patches, struct cv_buf *wrong)
{
    yyjson_val *object;
    yyjson_arr_iter each = yyjson_arr_iter_with(objects);
    struct walk w = { .patches = patches, .wrong = wrong };
    load();
    while ((object = yyjson_arr_iter_next(&each)))
        if (!yyjson_is_null(object))
            check_kind(&w, object);
}
