/* wrong_abi.c: a module that was made for another contract. */
#include "culvert/culvert.h"

static enum cv_next pass(const struct cv_self *self, struct cv_req *req)
{
    (void)self, (void)req;
    return CV_PASS;
}
static const struct cv_filter_ops filter = { .request = pass };

__attribute__((visibility("default"))) const struct cv_module cv_module_wrong_abi = {
    .magic = CV_MAGIC,
    .abi = CV_ABI + 1,
    .size = sizeof(struct cv_module),
    .name = "wrong_abi",
    .summary = "A test.",
    .filter = &filter,
};
