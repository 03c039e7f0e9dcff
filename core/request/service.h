/* service.h: what a rule's `service` says: kind and target (docs/protocol.md §16.3). */
#ifndef REQUEST_SERVICE_H
#define REQUEST_SERVICE_H
#include "culvert/route.h"
#include "request/settings.h"

/* Sets kind, service, target, status and policy of a rule whose settings are resolved, and bastion_mode where
 * the service asks for it. `own` are the ipRules of the rule itself. */
enum cv_error service_parse(struct bump *, struct cv_str text, const struct gojson_list *own,
                            struct cv_rule *, struct reason *);
/* Sends the rule to another target; `to` is a service by URL or Unix socket. What the rule is called stays.
 */
enum cv_error service_redirect(struct bump *, struct cv_str to, struct cv_rule *, struct reason *);
/* Does this kind of service open HTTP connections, to which all of the settings apply? */
bool service_is_http(enum cv_service);
/* Fills in pool_key; the rule is otherwise complete. */
void service_make_pool_key(struct bump *, struct cv_rule *, unsigned generation);
#endif
