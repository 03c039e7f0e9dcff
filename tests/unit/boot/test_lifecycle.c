/* test_lifecycle.c: the program itself: what it prints, how it ends, what signals do. */
#include "boot_test.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

static const char program[] = SUITE_BUILD "/culvert";
static const char token[] = "eyJhIjoiaHVzaCJ9";

struct run {
    pid_t pid;
    int fd;
    char text[1 << 17]; /* stdout and stderr together */
    size_t n;
};

static void start(struct run *r, const char *line, const char *const *environment)
{
    static char words[16][128];
    char *argv[17] = { (char *)program }, *envp[8] = { (char *)"PATH=/nonexistent" };
    size_t n = 1, vars = 1;
    for (const char *w = line; *w && n < 16; w += strcspn(w, " "), w += strspn(w, " "), n++) {
        snprintf(words[n], sizeof(words[n]), "%.*s", (int)strcspn(w, " "), w);
        argv[n] = words[n];
    }
    for (; environment && *environment; environment++)
        envp[vars++] = (char *)*environment;
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    *r = (struct run){ .fd = ends[0] };
    CU_ASSERT_EQUAL_FATAL(posix_spawn(&r->pid, program, &actions, NULL, argv, envp), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
}

/* Reads until `part` has been printed (NULL: until the end). False after 20 seconds, or at the end. */
static bool wait_for(struct run *r, const char *part)
{
    time_t limit = time(NULL) + 20;
    while (!part || !strstr(r->text, part)) {
        struct pollfd p = { .fd = r->fd, .events = POLLIN };
        if (time(NULL) > limit)
            return false;
        if (poll(&p, 1, 1000) <= 0)
            continue;
        ssize_t got = read(r->fd, r->text + r->n, sizeof(r->text) - 1 - r->n);
        if (got <= 0)
            return !part;
        r->n += (size_t)got;
    }
    return true;
}

/* What it printed is at the beginning of r->text again from here on. */
static void forget(struct run *r)
{
    memset(r->text, 0, r->n);
    r->n = 0;
}

/* Its exit status, or minus the signal that ended it. */
static int end_of(struct run *r)
{
    bool ended = wait_for(r, NULL);
    if (!ended)
        kill(r->pid, SIGKILL);
    int status = 0;
    waitpid(r->pid, &status, 0);
    close(r->fd);
    CU_ASSERT_TRUE(ended);
    CU_ASSERT_PTR_NULL(strstr(r->text, token));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void what_cannot_run_says_why_and_ends_as_cloudflared_does(void)
{
    static const char no_token[] = "\"cloudflared tunnel run\" requires the ID or name of the tunnel to run "
                                   "as the last command line argument or in "
                                   "the configuration file.\nSee 'cloudflared tunnel run --help'.\n";
    static const struct {
        const char *line, *variable, *text;
        int status;
    } cases[] = {
        { "tunnel run", NULL, no_token, 255 },
        { "tunnel run name", "TUNNEL_TOKEN=", no_token, 255 },
        { "tunnel --edge 127.0.0.1:1 run --token eyJhIjoiaHVzaCJ9!", NULL,
          "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.\n", 255 },
        { "tunnel run", "TUNNEL_TOKEN=eyJhIjoiaHVzaCJ9!",
          "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.\n", 255 },
        { "tunnel --edge-ip-version 7 run", "TUNNEL_TOKEN=eyJhIjoiaHVzaCJ9",
          "invalid value for edge-ip-version: 7", 1 },
        { "tunnel --grace-period 4m run", "TUNNEL_TOKEN=eyJhIjoiaHVzaCJ9",
          "grace-period must be equal or less than 3m0s", 1 },
        { "tunnel --protocol spdy run", "TUNNEL_TOKEN=eyJhIjoiaHVzaCJ9", "unknown protocol spdy", 1 },
        { "--config /nonexistent/a.ini", NULL,
          "/nonexistent/a.ini: cannot be opened: No such file or directory\n", 1 },
        { "--check /nonexistent/a.ini", NULL,
          "/nonexistent/a.ini: cannot be opened: No such file or directory\n", 1 },
        { "--version", NULL, "culvert version ", 0 },
        { "--modules", NULL, "edge_http2       edge      ", 0 },
        { "--options ini", NULL, "\n[tunnel]\n", 0 },
        { "--options markdown", NULL, "\n## [tunnel]\n", 0 },
        { "tunnel --region us --dump run", "TUNNEL_TOKEN=eyJhIjoiaHVzaCJ9",
          "tunnel.token = ***  ; environment TUNNEL_TOKEN\n", 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct run r;
        start(&r, cases[i].line, (const char *const[]){ cases[i].variable, NULL });
        CU_ASSERT_EQUAL(end_of(&r), cases[i].status);
        CHECK_HOLDS(r.text, cases[i].text);
    }
}

static void a_bad_token_is_answered_by_two_lines_and_no_others(void)
{
    static struct run r;
    start(&r, "tunnel --edge 127.0.0.1:1 run --token nonsense", NULL);
    CU_ASSERT_EQUAL(end_of(&r), 255);
    CHECK_TEXT(r.text, "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.\n");
}

static void what_is_generated_is_up_to_date(void)
{
    static const struct {
        const char *line, *file;
    } cases[] = { { "--options ini", "conf/culvert.full.ini" },
                  { "--options markdown", "docs/options.md" },
                  { "--options metrics", "docs/metrics.md" },
                  { "manual culvert", "docs/man/culvert.8" },
                  { "manual culvert.ini", "docs/man/culvert.ini.5" } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct run r;
        static char content[sizeof(r.text)];
        memset(content, 0, sizeof(content));
        FILE *f = fopen(cases[i].file, "r");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT_TRUE(fread(content, 1, sizeof(content) - 1, f) > 0);
        fclose(f);
        start(&r, cases[i].line, NULL);
        CU_ASSERT_EQUAL(end_of(&r), 0);
        CU_ASSERT_STRING_EQUAL(r.text, content);
        if (strcmp(r.text, content) != 0)
            fprintf(stderr, "  %s does not say what the options say now: make docs\n", cases[i].file);
    }
}

static void the_inis_that_come_along_are_good(void)
{
    static const char *const files[] = { "conf/culvert.ini", "conf/culvert.full.ini", "conf/router.ini" };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        static struct run r;
        char line[64], good[64];
        snprintf(line, sizeof(line), "--check %s", files[i]);
        snprintf(good, sizeof(good), "%s: good\n", files[i]);
        start(&r, line, NULL);
        CU_ASSERT_EQUAL(end_of(&r), 0);
        CHECK_TEXT(r.text, good);
    }
}

/* A port that was free a moment ago. */
static unsigned free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&addr, n), 0);
    getsockname(fd, (struct sockaddr *)&addr, &n);
    close(fd);
    return ntohs(addr.sin_port);
}

/* No edge, a local listener; `more` begins at line 14. */
static void write_ini(const char *name, unsigned port, const char *more)
{
    FILE *f = fopen(name, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fprintf(f,
            "[culvert]\nworkers = 2\n[tunnel]\nenabled = no\n[edge_loopback]\nlisten = 127.0.0.1:%u\n"
            "[edge_quic]\nenabled = no\n[edge_http2]\nenabled = no\n[metrics_prom]\nenabled = no\n\n%s",
            port, more);
    fclose(f);
}

static void signals_reload_change_the_level_and_end(void)
{
    static struct run r;
    char *ini = temporary(""), line[96];
    unsigned port = free_port();
    write_ini(ini, port, "");
    snprintf(line, sizeof(line), "--config %s", ini);
    start(&r, line, (const char *const[]){ "TUNNEL_TOKEN=eyJhIjoiaHVzaCJ9", NULL });
    CU_ASSERT_TRUE(wait_for(&r, "Loopback edge listens"));
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);

    static const struct {
        int signal;
        const char *more, *printed, *also;
    } steps[] = {
        { SIGHUP, "", "Configuration reloaded, 0 changes", "" },
        { SIGHUP, "[log]\nlevel = debug\n[origin_proxy]\nidle_timeout = 3s\n",
          "[origin_proxy] idle_timeout: 0s -> 3s", "Configuration reloaded, 2 changes" },
        { SIGHUP, "[tunnel]\nregion = us\n", ":15: [tunnel] region needs a restart", "not reloaded" },
        { SIGHUP, "[log]\nlevle = info\n", ":15: [log] has no option \"levle\"; did you mean level?",
          "not reloaded" },
        { SIGHUP, "[edge_loopback x]\nlisten = 127.0.0.1:1\n",
          "[edge_loopback x]: a listener for visitors needs a restart", "not reloaded" },
        { SIGHUP, "[metrics_prom x]\nlisten = nonsense\n",
          "[metrics_prom x]: Error opening metrics server listener", "not reloaded" },
        { SIGHUP, "[metrics_prom x]\nlisten = 127.0.0.1:0\n", "[metrics_prom x] is added",
          "Configuration reloaded" },
        { SIGHUP, "[metrics_prom x]\nlisten = localhost:0\n",
          "[metrics_prom x] listen: \"127.0.0.1:0\" -> \"localhost:0\"", "Metrics server stopped" },
        { SIGHUP, "", "[metrics_prom x] is removed", "Metrics server stopped" },
        { SIGHUP, "[log]\nlevel = debug\n", "[log] level: info -> debug", "Configuration reloaded" },
        { SIGUSR2, "", "Log level is debug now", "" },
        { SIGUSR2, "", "Log level is the configured one now", "" },
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        forget(&r);
        write_ini(ini, port, steps[i].more);
        kill(r.pid, steps[i].signal);
        CU_ASSERT_TRUE(wait_for(&r, steps[i].printed));
        CHECK_HOLDS(r.text, steps[i].printed);
        wait_for(&r, *steps[i].also ? steps[i].also : "");
        CHECK_HOLDS(r.text, steps[i].also);
    }
    kill(r.pid, SIGTERM);
    CU_ASSERT_EQUAL(end_of(&r), 0);
    unlink(ini);
}

SUITE(lifecycle, TEST(what_cannot_run_says_why_and_ends_as_cloudflared_does),
      TEST(a_bad_token_is_answered_by_two_lines_and_no_others), TEST(what_is_generated_is_up_to_date),
      TEST(the_inis_that_come_along_are_good), TEST(signals_reload_change_the_level_and_end));
