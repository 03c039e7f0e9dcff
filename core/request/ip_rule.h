/* ip_rule.h: lines of a SOCKS policy, read and asked. */
#ifndef REQUEST_IP_RULE_H
#define REQUEST_IP_RULE_H
#include "culvert/route.h"
#include "request/gojson.h"

/* One as the document has it. */
struct ip_rule_raw {
    bool has_prefix;
    struct cv_str prefix;
    struct gojson_list ports; /* of int64_t; absent and empty are shown differently */
    bool allow;
};
extern const struct gojson_type ip_rule_list_type; /* a struct gojson_list of them */

/* Sorts the ports of raw, as a side effect that is seen where it is shown, too. */
enum cv_error ip_rule_parse(struct bump *, struct ip_rule_raw *, struct cv_ip_rule *, struct reason *);
/* What stands for one that is wrong where that is no error: it matches nothing. */
extern const struct cv_ip_rule ip_rule_none;
#endif
