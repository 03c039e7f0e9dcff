/* option_outside.c: a module that has an option outside of its struct. */
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
    CV_OPT(struct conf, count, "1", "How many."),
    CV_OPT_END,
};

CV_MODULE(option_outside, .summary = "A test.", .filter = &filter, .options = options, .conf_size = 2);
