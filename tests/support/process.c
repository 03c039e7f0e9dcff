/* process.c: a child process under test: started, listened to by a thread, waited for, killed with the test program. */
#include "process.h"

#include "culvert/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct process {
    struct process *next;
    char *name;
    pid_t pid;
    int fd, status;
    bool reaped;
    pthread_t reader;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t news;
    struct cv_buf out;
    size_t from; /* process_forget() */
    bool closed; /* it prints no more */
};

static struct process *all;

long long now_in_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
}

/* ---- what it prints ----------------------------------------------------------------------------------- */

static void *listen_to(void *arg)
{
    struct process *p = arg;
    char piece[16384];
    ssize_t n;
    while ((n = read(p->fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR)) {
        pthread_mutex_lock(&p->lock);
        cv_buf_add(&p->out, piece, n > 0 ? (size_t)n : 0);
        pthread_cond_broadcast(&p->news);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_cond_broadcast(&p->news);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Under the lock: whether something new may have come before the time was over. */
static bool wait_for_news(struct process *p, long long until)
{
    struct timespec t = { until / 1000, until % 1000 * 1000000L };
    return pthread_cond_timedwait(&p->news, &p->lock, &t) == 0;
}

static const char *find(const struct process *p, size_t from, const char *text)
{
    return p->out.n > from ? memmem(p->out.p + from, p->out.n - from, text, strlen(text)) : NULL;
}

bool process_find(const char *name, char path[static 64])
{
    static const char *const places[] = { "/usr/local/bin",  "/usr/bin",  "/bin",
                                          "/usr/local/sbin", "/usr/sbin", "/sbin" };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, 64, "%s/%s", places[i], name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

bool process_says(struct process *p, const char *text, int ms)
{
    long long until = now_in_ms() + ms;
    pthread_mutex_lock(&p->lock);
    while (!find(p, p->from, text) && !p->closed && wait_for_news(p, until))
        ;
    bool said = find(p, p->from, text);
    pthread_mutex_unlock(&p->lock);
    return said;
}

unsigned process_count(struct process *p, const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&p->lock);
    for (const char *at = find(p, p->from, text); at; n++)
        at = find(p, (size_t)(at - (const char *)p->out.p) + strlen(text), text);
    pthread_mutex_unlock(&p->lock);
    return n;
}

char *process_output(struct process *p)
{
    pthread_mutex_lock(&p->lock);
    char *text = cv_xmemdup0(p->out.p ? p->out.p + p->from : NULL, p->out.n - p->from);
    pthread_mutex_unlock(&p->lock);
    return text;
}

void process_forget(struct process *p)
{
    pthread_mutex_lock(&p->lock);
    p->from = p->out.n;
    pthread_mutex_unlock(&p->lock);
}

const char *process_that_said(const void *bytes, size_t n)
{
    const char *name = NULL;
    for (struct process *p = all; p && !name; p = p->next) {
        pthread_mutex_lock(&p->lock);
        if (p->out.n && memmem(p->out.p, p->out.n, bytes, n))
            name = p->name;
        pthread_mutex_unlock(&p->lock);
    }
    return name;
}

/* ---- its life ----------------------------------------------------------------------------------------- */

static void become(const char *const *argv, char *const *env, const int *out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    execve(argv[0], (char *const *)argv, env);
    _exit(127);
}

struct process *process_start(const char *const *argv, const char *const *env)
{
    static const char *const passed_on[] = { "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                                             "LSAN_OPTIONS" };
    char *vars[24];
    size_t n = 0;
    for (; *env && n < 16; env++)
        vars[n++] = cv_xstrdup(*env);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        if (getenv(passed_on[i]) && asprintf(&vars[n], "%s=%s", passed_on[i], getenv(passed_on[i])) > 0)
            n++;
    vars[n] = NULL;

    struct process *p = cv_xcalloc(1, sizeof(*p));
    int out[2];
    CV_ASSERT(pipe2(out, O_CLOEXEC) == 0);
    p->name = cv_xstrdup(argv[0]);
    p->pid = fork();
    CV_ASSERT(p->pid >= 0);
    if (p->pid == 0)
        become(argv, vars, out);
    close(out[1]);
    while (n)
        free(vars[--n]);
    p->fd = out[0];
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->news, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&p->lock, NULL);
    CV_ASSERT(pthread_create(&p->reader, NULL, listen_to, p) == 0);
    p->next = all;
    all = p;
    return p;
}

void process_signal(struct process *p, int signal)
{
    if (!p->reaped)
        kill(p->pid, signal);
}

bool process_running(const struct process *p)
{
    siginfo_t info = { 0 };
    return !p->reaped && waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

int process_end(struct process *p, int ms)
{
    if (p->reaped)
        return p->status;
    long long until = now_in_ms() + ms;
    while (process_running(p) && now_in_ms() < until)
        sleep_ms(2);
    if (process_running(p))
        kill(p->pid, SIGKILL);
    int status = 0;
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    p->reaped = true;
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    pthread_join(p->reader, NULL);
    close(p->fd);
    return p->status;
}

void process_end_all(void)
{
    for (struct process *p = all; p; p = p->next)
        process_end(p, 0);
}

/* ---- what it uses ------------------------------------------------------------------------------------- */

static bool proc_line(const struct process *p, const char *file, char *line, size_t size, const char *begin)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)p->pid, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool found = false;
    while (!found && fgets(line, (int)size, f))
        found = strncmp(line, begin, strlen(begin)) == 0;
    fclose(f);
    return found;
}

static long status_bytes(const struct process *p, const char *name)
{
    char line[256];
    return proc_line(p, "status", line, sizeof(line), name) ? strtol(line + strlen(name), NULL, 10) * 1024
                                                            : 0;
}

long process_rss(const struct process *p)
{
    return status_bytes(p, "VmRSS:");
}

long process_peak(const struct process *p)
{
    return status_bytes(p, "VmHWM:");
}

unsigned process_files(const struct process *p)
{
    char path[40];
    unsigned n = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)p->pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 2 ? n - 2 : 0; /* . and .. */
}

long process_cpu_ms(const struct process *p)
{
    char line[1024];
    if (!proc_line(p, "stat", line, sizeof(line), ""))
        return 0;
    char *at = strrchr(line, ')'); /* field 2; utime and stime are 14 and 15 */
    for (int field = 2; at && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    long user = strtol(at, &at, 10), system = strtol(at, NULL, 10);
    return (user + system) * 1000 / sysconf(_SC_CLK_TCK);
}
