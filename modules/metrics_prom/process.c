/* process.c: what the process itself uses, under the names that every Prometheus client library gives it. */
#include "prom.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void add(struct evbuffer *out, const char *name, const char *type, const char *help, double v)
{
    evbuffer_add_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.16g\n", name, help, name, type, name, v);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

/* Field `number` of /proc/self/stat, counted from 1 as in proc(5); the fields that follow the name of the program. */
static double stat_field(const char *line, int number)
{
    const char *p = strrchr(line, ')');
    unsigned long long v = 0;
    for (int i = 2; p && i < number; i++) {
        p = strchr(p + 1, ' ');
    }
    return p && sscanf(p, "%llu", &v) == 1 ? (double)v : 0;
}

static double boot_time(void)
{
    struct timespec now, up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
}

static void add_memory_and_start(struct evbuffer *out)
{
    char line[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return;
    size_t n = fread(line, 1, sizeof(line) - 1, f);
    line[n] = '\0';
    fclose(f);
    add(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", stat_field(line, 23));
    add(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
        stat_field(line, 24) * (double)sysconf(_SC_PAGESIZE));
    add(out, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
        boot_time() + stat_field(line, 22) / (double)sysconf(_SC_CLK_TCK));
}

void prom_write_process(struct evbuffer *out)
{
    struct rlimit fds = { 0, 0 };
    getrlimit(RLIMIT_NOFILE, &fds);
    add(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
        cpu_seconds());
    add(out, "process_open_fds", "gauge", "Number of open file descriptors.", open_fds());
    add(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", (double)fds.rlim_cur);
    add_memory_and_start(out);
}
