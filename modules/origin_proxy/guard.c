/* guard.c: which addresses a connection may be made to, once names are addresses. */
#include "origin.h"

static bool policy_allows(const struct cv_ip_rules *policy, const struct sockaddr_storage *addr)
{
    for (size_t i = 0; i < policy->n; i++)
        if (cv_ip_rule_holds(&policy->v[i], addr))
            return policy->v[i].allow;
    return false;
}

bool origin_may_reach(const struct cv_rule *rule, const struct sockaddr_storage *addr)
{
    if (rule->kind == CV_SERVICE_SOCKS && !policy_allows(&rule->policy, addr))
        return false;
    return cv_may_reach(rule->target.host, addr);
}
