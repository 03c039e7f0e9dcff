/* option_enabled.c: a module that has an option of the core's name. */
#include "culvert/culvert.h"

static enum cv_next pass(const struct cv_self *self, struct cv_req *req)
{
    (void)self, (void)req;
    return CV_PASS;
}
static const struct cv_filter_ops filter = { .request = pass };

struct conf {
    int count;
    const char *enabled;
};
static const struct cv_option options[] = {
    CV_OPT(struct conf, enabled, "", "On."),
    CV_OPT_END,
};

CV_MODULE(option_enabled, .summary = "A test.", .filter = &filter, .options = options,
          .conf_size = sizeof(struct conf));
