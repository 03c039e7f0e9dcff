/* trim.c: gives memory back that only the start needed.
 *
 * Most of a small process is code: OpenSSL alone maps megabytes while it sets up providers and certificates, and the
 * kernel maps the neighbours of every page touched. Pages of code and constants are never written, so they can go at any
 * time: what is used again comes back from the page cache. Done a few times while the process settles, then never again. */
#include "boot/runtime.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TIMES = 5, FIRST_MS = 250 };

static int drop_code(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    uintptr_t page = *(const uintptr_t *)arg;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W))
            continue;
        uintptr_t from = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
        uintptr_t to = (object->dlpi_addr + part->p_vaddr + part->p_memsz + page - 1) & ~(page - 1);
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

static void on_trim(struct cv_timer *timer)
{
    struct runtime *r = CV_OWNER(timer, struct runtime, trim);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    malloc_trim(0);
    dl_iterate_phdr(drop_code, &page);
    trim_later(r);
}

/* After a quarter of a second, then each time after four times as long. */
void trim_later(struct runtime *r)
{
    if (r->trims == TIMES)
        return;
    r->trim.fire = on_trim;
    cv_timer_set(worker_core_self(r->main), &r->trim, (struct cv_ms){ (int64_t)FIRST_MS << 2 * r->trims });
    r->trims++;
}
