/* sleeper.c: a filter that breaks the first rule: on /sleep it holds up its worker while a file exists. */
#include "culvert/culvert.h"

#include <time.h>
#include <unistd.h>

struct conf {
    const char *while_exists;
};
static const struct cv_option options[] = {
    CV_OPT(struct conf, while_exists, "", "The file."),
    CV_OPT_END,
};

static enum cv_next request(const struct cv_self *self, struct cv_req *req)
{
    const struct conf *conf = self->conf;
    while (cv_str_eq(req->path, CV_STR("/sleep")) && access(conf->while_exists, F_OK) == 0)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    return CV_PASS;
}

CV_MODULE(sleeper, .summary = "A test.", .filter = &(const struct cv_filter_ops){ .request = request },
          .options = options, .conf_size = sizeof(struct conf));
