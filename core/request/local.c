/* local.c: services of the remote configuration that are to be found elsewhere, and what else is local. */
#include "request/local.h"
#include "request/config.h"
#include "request/reach.h"
#include "request/service.h"

#include <string.h>

const struct cv_option rewrite_options[] = {
    CV_OPT(struct rewrite_conf, map, "",
           "Services of the remote configuration that are to be found elsewhere, as a URL without path or "
           "unix:PATH. Usually each on a line of its own: http://router:8080 = http://127.0.0.1:8080",
           .flags = CV_LIVE),
    CV_OPT_END
};

static struct cv_str trim(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return (struct cv_str){ from, (size_t)(to - from) };
}

static enum cv_error read_one(struct bump *mem, struct cv_str text, struct config_rewrite *one,
                              struct reason *why)
{
    const struct gojson_list no_ip_rules = { 0 };
    const char *equals = memchr(text.p, '=', text.n);
    reason_clear(why);
    if (!equals)
        return reason_fail(why, "= and a target are missing");
    struct cv_rule rule = { .index = 0 };
    enum cv_error error = service_parse(mem, trim(text.p, equals), &no_ip_rules, &rule, why);
    *one = (struct config_rewrite){ rule.service, trim(equals + 1, text.p + text.n) };
    return error ? error : service_redirect(mem, one->to, &rule, why);
}

enum cv_error rewrite_check(const void *opaque, struct cv_err *err)
{
    const struct rewrite_conf *conf = opaque;
    struct bump mem = { 0 };
    struct config_rewrite one;
    struct reason why;
    enum cv_error error = CV_OK;
    for (size_t i = 0; i < conf->map.n && !error; i++) {
        error = read_one(&mem, conf->map.v[i], &one, &why);
        if (error)
            cv_conf_fail(err, conf, "map", CV_STR_FMT ": %s", CV_STR_ARG(conf->map.v[i]), why.text);
    }
    bump_free(&mem);
    return error;
}

static struct bump memory;
static struct config_local local;

static void read_rewrites(const struct cv_list *map)
{
    struct config_rewrite *v = bump_array(&memory, map->n + 1, sizeof(*v));
    struct reason why;
    for (size_t i = 0; i < map->n; i++)
        CV_ASSERT(read_one(&memory, map->v[i], &v[i], &why) == CV_OK);
    local.rewrites = v;
    local.n_rewrites = map->n;
}

void local_setup(const struct origins_conf *origins, const struct rewrite_conf *rewrite)
{
    unsigned generation = local.generation + 1;
    bump_free(&memory);
    local = (struct config_local){ .generation = generation };
    reach_setup(origins);
    read_rewrites(&rewrite->map);
    local.allow = reach_rule;
    local.has_max_active_flows = origins->max_active_flows >= 0;
    local.max_active_flows = local.has_max_active_flows ? (uint64_t)origins->max_active_flows : 0;
}

void local_settle(void)
{
    reach_settle();
}

void local_free(void)
{
    reach_free();
    bump_free(&memory);
    local = (struct config_local){ 0 };
}

const struct config_local *local_config(void)
{
    return &local;
}
