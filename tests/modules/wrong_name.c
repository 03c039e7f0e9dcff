/* wrong_name.c: a module that says another name than its file. */
#include "culvert/culvert.h"

static enum cv_next pass(const struct cv_self *self, struct cv_req *req)
{
    (void)self, (void)req;
    return CV_PASS;
}
static const struct cv_filter_ops filter = { .request = pass };

__attribute__((visibility("default"))) const struct cv_module cv_module_wrong_name = {
    .magic = CV_MAGIC,
    .abi = CV_ABI,
    .size = sizeof(struct cv_module),
    .name = "other_name",
    .summary = "A test.",
    .filter = &filter,
};
