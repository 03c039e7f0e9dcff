/* no_callback.c: a module that is an origin that cannot be opened. */
#include "culvert/culvert.h"

static bool match(const struct cv_self *self, const struct cv_req *req)
{
    (void)self, (void)req;
    return true;
}
static const struct cv_origin_ops origin = { .match = match };

CV_MODULE(no_callback, .summary = "A test.", .origin = &origin);
