/* pattern.h: path rules: RE2 syntax as Go's regexp reads it, matched in time linear in the path.
 *
 * A pattern is parsed here, so that what RE2 refuses is refused with Go's words, and is written again for
 * PCRE2 in a form that means the same there: no look-around, no back-references, nothing that depends on its
 * options. It is run by pcre2_dfa_match(), which follows all alternatives at once and cannot be made to try
 * one after the other: a path from a stranger costs (length × size of the pattern) at worst, and no rule is
 * passed over because a limit was hit. Source: docs/protocol.md §16.4, §17;
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

enum pattern_verdict { PATTERN_NO, PATTERN_YES, PATTERN_LIMIT };
/* Does it match anywhere in the text, which is valid UTF-8? LIMIT: it needs more memory than a scratch has.
 */
enum pattern_verdict pattern_match(const struct cv_pattern *, struct cv_str text, struct pattern_scratch *);
#endif
