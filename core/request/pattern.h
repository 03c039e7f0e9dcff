/* pattern.h: path rules: RE2 syntax as Go's regexp reads it, matched in time linear in the path.
 *
 * Backtracking matchers, PCRE2's among them, can be made to try 2^n ways by a path from a stranger; giving up at a
 * limit would pass over a rule that may be there to protect something. So a pattern becomes a small machine whose
 * states are all followed at once: a path costs at most its length times the size of the pattern. PCRE2 says which
 * characters a class holds: it knows Unicode. Source: docs/protocol.md §16.4, §17;
 * https://github.com/google/re2/wiki/Syntax. */
#ifndef REQUEST_PATTERN_H
#define REQUEST_PATTERN_H
#include "culvert/mem.h"
#include "request/reason.h"

struct cv_pattern; /* immutable: any thread may match it with its own scratch */

/* NULL when it is no valid pattern; the reason reads "error parsing regexp: …". */
struct cv_pattern *pattern_new(struct cv_str text, struct reason *);
void pattern_free(struct cv_pattern *); /* NULL is fine */

struct pattern_scratch; /* what matching needs; one per thread */
struct pattern_scratch *pattern_scratch_new(void);
void pattern_scratch_free(struct pattern_scratch *); /* NULL is fine */

/* Does it match anywhere in the text? Bytes that are no UTF-8 count as U+FFFD. Allocates nothing. */
bool pattern_match(const struct cv_pattern *, struct cv_str text, struct pattern_scratch *);
#endif
