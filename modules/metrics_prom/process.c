/* process.c: what the process itself uses, under the names that every Prometheus client library gives it. */
#include "prom.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CPU, OPEN_FDS, MAX_FDS, VIRTUAL, VIRTUAL_MAX, RESIDENT, START, RECEIVED, SENT };

const struct cv_metric prom_process_metrics[] = {
    [CPU] = { "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", CV_COUNTER },
    [OPEN_FDS] = { "process_open_fds", "Number of open file descriptors.", CV_GAUGE },
    [MAX_FDS] = { "process_max_fds", "Maximum number of open file descriptors.", CV_GAUGE },
    [VIRTUAL] = { "process_virtual_memory_bytes", "Virtual memory size in bytes.", CV_GAUGE },
    [VIRTUAL_MAX] = { "process_virtual_memory_max_bytes",
                      "Maximum amount of virtual memory available in bytes.", CV_GAUGE },
    [RESIDENT] = { "process_resident_memory_bytes", "Resident memory size in bytes.", CV_GAUGE },
    [START] = { "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
                CV_GAUGE },
    [RECEIVED] = { "process_network_receive_bytes_total",
                   "Number of bytes received by the process over the network.", CV_COUNTER },
    [SENT] = { "process_network_transmit_bytes_total",
               "Number of bytes sent by the process over the network.", CV_COUNTER },
    CV_METRIC_END
};

static void add(struct prom_text *t, int id, double v)
{
    prom_add(t, &prom_process_metrics[id], NULL, &v, 1);
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

static void add_memory_and_start(struct prom_text *t)
{
    char line[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return;
    size_t n = fread(line, 1, sizeof(line) - 1, f);
    line[n] = '\0';
    fclose(f);
    add(t, VIRTUAL, stat_field(line, 23));
    add(t, RESIDENT, stat_field(line, 24) * (double)sysconf(_SC_PAGESIZE));
    add(t, START, boot_time() + stat_field(line, 22) / (double)sysconf(_SC_CLK_TCK));
}

/* /proc/net/netstat: a line of names stands before one of values. */
static void add_octets(struct prom_text *t, char *names, char *values)
{
    char *at_name, *at_value;
    const char *name = strtok_r(names, " \n", &at_name), *value = strtok_r(values, " \n", &at_value);
    while (name && value) {
        if (strcmp(name, "InOctets") == 0)
            add(t, RECEIVED, strtod(value, NULL));
        else if (strcmp(name, "OutOctets") == 0)
            add(t, SENT, strtod(value, NULL));
        name = strtok_r(NULL, " \n", &at_name);
        value = strtok_r(NULL, " \n", &at_value);
    }
}

/* Of the network namespace, which in a pod all its containers share. */
static void add_network(struct prom_text *t)
{
    char *names = NULL, *values = NULL;
    size_t names_room = 0, values_room = 0;
    FILE *f = fopen("/proc/self/net/netstat", "re");
    while (f && getline(&names, &names_room, f) > 0 && getline(&values, &values_room, f) > 0)
        if (strncmp(names, "IpExt:", 6) == 0)
            add_octets(t, names, values);
    free(names);
    free(values);
    if (f)
        fclose(f);
}

void prom_add_process(struct prom_text *t)
{
    struct rlimit fds = { 0, 0 }, memory = { RLIM_INFINITY, RLIM_INFINITY };
    getrlimit(RLIMIT_NOFILE, &fds);
    getrlimit(RLIMIT_AS, &memory);
    add(t, CPU, cpu_seconds());
    add(t, OPEN_FDS, open_fds());
    add(t, MAX_FDS, (double)fds.rlim_cur);
    add(t, VIRTUAL_MAX, (double)memory.rlim_cur);
    add_memory_and_start(t);
    add_network(t);
}
