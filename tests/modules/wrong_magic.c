/* wrong_magic.c: a module that is not made by CV_MODULE(). */
#include "culvert/culvert.h"

static enum cv_next pass(const struct cv_self *self, struct cv_req *req)
{
    (void)self, (void)req;
    return CV_PASS;
}
static const struct cv_filter_ops filter = { .request = pass };

__attribute__((visibility("default"))) const struct cv_module cv_module_wrong_magic = {
    .magic = 0x12345678,
    .abi = CV_ABI,
    .size = sizeof(struct cv_module),
    .name = "wrong_magic",
    .summary = "A test.",
    .filter = &filter,
};
