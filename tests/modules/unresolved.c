/* unresolved.c: a module that calls what the core does not export. */
#include "culvert/culvert.h"

void cv_of_the_future(void);
static enum cv_next pass(const struct cv_self *self, struct cv_req *req)
{
    (void)self, (void)req;
    cv_of_the_future();
    return CV_PASS;
}
static const struct cv_filter_ops filter = { .request = pass };

CV_MODULE(unresolved, .summary = "A test.", .filter = &filter);
