/* hostname.h: host names of rules: what is refused, their ASCII form, and what they match. */
#ifndef REQUEST_HOSTNAME_H
#define REQUEST_HOSTNAME_H
#include "request/bump.h"

/* The form that IDNA's lookup gives ("münchen.de" → "xn--mnchen-3ya.de", "A.com" → "a.com"), from the memory
 * given; empty when there is none (a name with "*" or "_", say) or when it is the name itself. */
struct cv_str hostname_ascii(struct bump *, struct cv_str name);

/* Equal, byte for byte, or, for a rule "*.rest", ending in ".rest". */
bool hostname_matches(struct cv_str rule, struct cv_str host);
#endif
