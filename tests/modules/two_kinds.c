/* two_kinds.c: a module that is a filter and a gate. */
#include "culvert/culvert.h"

static enum cv_next pass(const struct cv_self *self, struct cv_req *req)
{
    (void)self, (void)req;
    return CV_PASS;
}
static const struct cv_filter_ops filter = { .request = pass };

static enum cv_error admit(const struct cv_self *self, struct cv_err *err)
{
    (void)self, (void)err;
    return CV_OK;
}
static const struct cv_gate_ops gate = { .admit = admit };

CV_MODULE(two_kinds, .summary = "A test.", .filter = &filter, .gate = &gate);
