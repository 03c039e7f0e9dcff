/* option_twice.c: a module that has an option twice. */
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
    CV_OPT(struct conf, count, "2", "How many."),
    CV_OPT_END,
};

CV_MODULE(option_twice, .summary = "A test.", .filter = &filter, .options = options,
          .conf_size = sizeof(struct conf));
