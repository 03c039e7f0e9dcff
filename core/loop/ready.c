/* ready.c: which modules cannot do their work, and why; main thread only. */
#include "loop/loop.h"

#include <stdio.h>

enum { MODULES = 64 };

static struct reason_of {
    const struct cv_instance *who; /* NULL: free */
    char text[160];
} reasons[MODULES];

void cv_not_ready(const struct cv_self *self, const char *why)
{
    CV_ASSERT(self->instance);
    struct reason_of *free_one = NULL, *mine = NULL;
    for (size_t i = 0; i < MODULES && !mine; i++) {
        mine = reasons[i].who == self->instance ? &reasons[i] : NULL;
        free_one = !free_one && !reasons[i].who ? &reasons[i] : free_one;
    }
    struct reason_of *r = mine ? mine : why ? free_one : NULL;
    if (!r)
        return;
    r->who = why ? self->instance : NULL;
    snprintf(r->text, sizeof(r->text), "%s: %s", self->instance->name, why ? why : "");
    for (char *p = r->text; *p; p++) /* it is shown within JSON */
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '?';
}

const char *unready(void)
{
    for (size_t i = 0; i < MODULES; i++)
        if (reasons[i].who)
            return reasons[i].text;
    return NULL;
}
