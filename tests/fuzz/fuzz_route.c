/* fuzz_route.c: "pattern NUL host NUL path" against a table whose first rules have that pattern and that
 * host. */
#include "request/hostname.h"
#include "request/pattern.h"
#include "request/route.h"

#include "culvert/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct cv_str field(struct cv_str *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
    struct cv_str f = { rest->p, end ? (size_t)(end - rest->p) : rest->n };
    size_t skip = f.n + (end != NULL);
    *rest = (struct cv_str){ skip ? rest->p + skip : rest->p, rest->n - skip };
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cv_str rest = { (const char *)p, n };
    struct cv_str pattern = field(&rest), host = field(&rest);
    struct reason why;
    struct route_table *table = cv_xcalloc(1, sizeof *table);
    atomic_init(&table->refs, 1);
    struct cv_rule *rules = bump_array(&table->mem, 3, sizeof *rules);
    rules[0].hostname = rules[1].hostname = bump_str(&table->mem, host);
    rules[0].punycode = rules[1].punycode = hostname_ascii(&table->mem, rules[0].hostname);
    rules[0].pattern = pattern_new(pattern, &why);
    table->rules = rules;
    table->n = 3;
    struct route_scratch *scratch = route_scratch_new();
    route_match(table, host, rest, scratch);
    route_scratch_free(scratch);
    route_table_unref(table);
    return 0;
}
