/* report.c: what the doctor found, for people and for programs. */
#include "doctor/doctor.h"

#include <stdarg.h>
#include <string.h>
#include <yyjson.h>

__attribute__((format(printf, 1, 0))) static char *vprint(const char *fmt, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, args);
    return cv_xstrdup(text);
}

void report_add(struct report *r, const char *check, enum verdict verdict, const char *remedy,
                const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    r->v = cv_xrealloc(r->v, r->n + 1, sizeof(*r->v));
    r->v[r->n++] =
        (struct finding){ check, verdict, vprint(detail, args), remedy ? cv_xstrdup(remedy) : NULL };
    va_end(args);
}

/* What peers and files say may hold anything. */
static void put(FILE *out, const char *text)
{
    for (; *text; text++) {
        bool plain = (unsigned char)*text >= ' ' && *text != 0x7f;
        fprintf(out, plain ? "%c" : "\\x%02x", plain ? *text : (unsigned char)*text);
    }
}

void report_text(const struct report *r, bool ok, const char *conclusion, FILE *out)
{
    static const char *const marks[] = { "✓", "!", "✗", "-" };
    for (size_t i = 0; i < r->n; i++) {
        const struct finding *f = &r->v[i];
        fprintf(out, "%s %-13s ", marks[f->verdict], f->check);
        put(out, f->detail);
        if (f->remedy)
            fprintf(out, "\n                → "), put(out, f->remedy);
        fputc('\n', out);
    }
    fprintf(out, "\n%s %s\n", marks[ok ? VERDICT_GOOD : VERDICT_BAD], conclusion);
}

void report_json(const struct report *r, bool ok, const char *conclusion, FILE *out)
{
    static const char *const words[] = { "good", "warning", "bad", "skipped" };
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "version", CV_VERSION);
    yyjson_mut_obj_add_bool(doc, root, "ok", ok);
    yyjson_mut_obj_add_str(doc, root, "conclusion", conclusion);
    yyjson_mut_val *checks = yyjson_mut_obj_add_arr(doc, root, "checks");
    for (size_t i = 0; i < r->n; i++) {
        const struct finding *f = &r->v[i];
        yyjson_mut_val *check = yyjson_mut_arr_add_obj(doc, checks);
        yyjson_mut_obj_add_str(doc, check, "check", f->check);
        yyjson_mut_obj_add_str(doc, check, "verdict", words[f->verdict]);
        yyjson_mut_obj_add_str(doc, check, "detail", f->detail);
        if (f->remedy)
            yyjson_mut_obj_add_str(doc, check, "remedy", f->remedy);
    }
    char *text =
        yyjson_mut_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES | YYJSON_WRITE_ALLOW_INVALID_UNICODE, NULL);
    CV_ASSERT(text);
    fprintf(out, "%s\n", text);
    free(text);
    yyjson_mut_doc_free(doc);
}

void report_free(struct report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].detail);
        free(r->v[i].remedy);
    }
    free(r->v);
    *r = (struct report){ NULL, 0 };
}
