/* test_70_startup.c: what cannot start says what is wrong with which thing and what to do, in a word of its own. */
#include "scene.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const char help[] = "See 'cloudflared tunnel run --help'.\n";

/* $INI, $DIR, $PORT and $TOKEN stand for what the test has made. */
static const struct {
    const char *line, *ini;
    int status;
    const char *says[3];
} cases[] = {
    { "tunnel --edge 127.0.0.1:1 run",
      NULL,
      255,
      { "\"cloudflared tunnel run\" requires the ID or name of the tunnel to run", help } },
    { "tunnel run one two",
      NULL,
      255,
      { "accepts only one argument, the ID or name of the tunnel to run.\n", help } },
    { "tunnel run --token-file /nonexistent/token",
      NULL,
      255,
      { "Failed to read token file: /nonexistent/token: No such file or directory\n" } },
    { "tunnel run --token-file $DIR/token", NULL, 255, { "Provided Tunnel token is not valid.\n", help } },
    { "tunnel --cacert /nonexistent/ca.pem run --token $TOKEN",
      NULL,
      1,
      { "cacert: unable to read /nonexistent/ca.pem: No such file or directory" } },
    { "tunnel --cacert $DIR/token run --token $TOKEN",
      NULL,
      1,
      { "$DIR/token holds no certificate", "it must be PEM with the roots that sign the edge's" } },
    { "tunnel --metrics 127.0.0.1:$PORT run --token $TOKEN",
      NULL,
      1,
      { "Error opening metrics server listener: failed to bind to address (127.0.0.1:$PORT): ",
        "Choose another address with --metrics, or stop what listens there." } },
    { "tunnel --grace-period 5x run --token $TOKEN",
      NULL,
      255,
      { "Incorrect Usage: invalid value \"5x\" for flag -grace-period" } },
    { "tunnel --grace-period 4m run --token $TOKEN",
      NULL,
      1,
      { "grace-period must be equal or less than 3m0s" } },
    { "tunnel --ha-connections many run --token $TOKEN",
      NULL,
      255,
      { "Incorrect Usage: invalid value \"many\" for flag -ha-connections" } },
    { "tunnel --retries -1 run --token $TOKEN", NULL, 1, { "flag --retries", "\"-1\" is not 0 to 16" } },
    { "tunnel --edge nonsense run --token $TOKEN",
      NULL,
      1,
      { "flag --edge", "\"nonsense\" is not host:port" } },
    { "tunnel --tag bad run --token $TOKEN", NULL, 1, { "flag --tag", "\"bad\" is not NAME=VALUE" } },
    { "tunnel --protocol spdy run --token $TOKEN", NULL, 1, { "unknown protocol spdy" } },
    { "tunnel --edge-ip-version 5 run --token $TOKEN", NULL, 1, { "invalid value for edge-ip-version: 5" } },
    { "tunnel --no-such-flag run --token $TOKEN",
      NULL,
      255,
      { "flag provided but not defined: -no-such-flag" } },
    { "tunnel run --edge 127.0.0.1:1 --token $TOKEN",
      NULL,
      255,
      { "flag provided but not defined: -edge", "before the word run" } },
    { "--config $INI tunnel run --token $TOKEN",
      "[tunnel]\ngrace_perod = 3s\n\n[edge_htp2]\n",
      1,
      { "$INI:2: [tunnel] has no option \"grace_perod\"; did you mean grace_period?\n",
        "$INI:4: [edge_htp2]: there is no module edge_htp2.so", "did you mean [edge_http2]?\n" } },
    { "--config $INI tunnel run --token $TOKEN",
      "[tunnel]\nwait_for = 127.0.0.1:80, ftp://a\n",
      1,
      { "$INI:2: wait_for: \"ftp://a\" is not host:port, unix:PATH or http://host:port/path" } },
    { "--config $INI tunnel run --token $TOKEN",
      "[tunnel]\nretries = many\n",
      1,
      { "$INI:2: ", "retries", "\"many\" is not 0 to 16" } },
    { "--config $INI tunnel run", "[tunnel]\ntoken = $TOKEN\n", 1, { "$INI:2: ", "env:NAME", "file:" } },
    { "--config $INI tunnel run --token $TOKEN",
      "[culvert]\nmodule_path = " SUITE_BUILD "/modules, " SUITE_BUILD
      "/tests/modules\n[wrong_abi]\n[no_kind]\n",
      1,
      { "$INI:3: [wrong_abi]: " SUITE_BUILD "/tests/modules/wrong_abi.so: made for module ABI ", "rebuild it",
        "$INI:4: [no_kind]: " } },
    { "--config /nonexistent/culvert.ini tunnel run --token $TOKEN",
      NULL,
      1,
      { "/nonexistent/culvert.ini: cannot be opened: No such file or directory" } },
};

struct made {
    char dir[64], ini[80], port[8];
    const char *token;
};

static char *filled(const char *text, const struct made *m)
{
    const struct {
        const char *name, *value;
    } words[] = { { "$INI", m->ini }, { "$DIR", m->dir }, { "$PORT", m->port }, { "$TOKEN", m->token } };
    struct cv_buf out = { 0 };
    while (*text) {
        size_t i = 0, n = 1;
        while (i < 4 && strncmp(text, words[i].name, strlen(words[i].name)) != 0)
            i++;
        if (i < 4)
            n = strlen(words[i].name);
        cv_buf_add(&out, i < 4 ? words[i].value : text, i < 4 ? strlen(words[i].value) : 1);
        text += n;
    }
    cv_buf_add(&out, "", 1);
    return (char *)out.p;
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

/* A port that somebody listens on already. */
static int taken_port(char port[static 8])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_TRUE_FATAL(bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, 1) == 0);
    getsockname(fd, (struct sockaddr *)&at, &n);
    snprintf(port, 8, "%u", ntohs(at.sin_port));
    return fd;
}

static struct process *run(const char *line, const char *variable)
{
    char text[1024];
    const char *argv[24] = { SUITE_BUILD "/culvert" };
    size_t n = 1;
    snprintf(text, sizeof(text), "%s", line);
    for (char *rest = text, *word; n < 23 && (word = strsep(&rest, " "));)
        argv[n++] = word;
    return process_start(argv, (const char *const[]){ "PATH=/nonexistent", variable, NULL });
}

static void check(size_t i, const struct made *m)
{
    char *line = filled(cases[i].line, m);
    if (cases[i].ini) {
        char *ini = filled(cases[i].ini, m);
        write_text(m->dir, "culvert.ini", ini);
        free(ini);
    }
    struct process *p = run(line, NULL);
    int status = process_end(p, PATIENCE_MS);
    char *said = process_output(p);
    CU_ASSERT_EQUAL(status, cases[i].status);
    if (status != cases[i].status)
        fprintf(stderr, "  %s: status %d\n%s\n", line, status, said);
    for (size_t k = 0; k < 3 && cases[i].says[k]; k++) {
        char *part = filled(cases[i].says[k], m);
        CHECK_HOLDS(said, part);
        free(part);
    }
    CU_ASSERT_PTR_NULL(strstr(said, m->token));
    free(said);
    free(line);
}

static void what_cannot_start_says_why_and_what_to_do(void)
{
    char token[512] = "", path[96];
    struct made m = { .dir = "/tmp/culvert-startup-XXXXXX", .token = token };
    FILE *f = fopen("tests/vectors/token/good.txt", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_PTR_NOT_NULL(fgets(token, sizeof(token), f));
    fclose(f);
    token[strcspn(token, "\r\n")] = '\0';
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(m.dir));
    snprintf(m.ini, sizeof(m.ini), "%s/culvert.ini", m.dir);
    write_text(m.dir, "token", "bm90IGEgdG9rZW4K\n");
    int fd = taken_port(m.port);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(i, &m);
    close(fd);
    unlink(m.ini);
    snprintf(path, sizeof(path), "%s/token", m.dir);
    unlink(path);
    rmdir(m.dir);
}

static void a_malformed_token_gets_two_lines_and_no_others(void)
{
    static const char *const bad[] = { "TUNNEL_TOKEN=nonsense", "TUNNEL_TOKEN=e30",
                                       "TUNNEL_TOKEN=eyJ0IjoieCJ9",
                                       "TUNNEL_TOKEN=eyJhIjoiaHVzaCIsInMiOiIqIn0=", "TUNNEL_TOKEN=!!!!" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct process *p = run("tunnel --loglevel debug run", bad[i]);
        CU_ASSERT_EQUAL(process_end(p, PATIENCE_MS), 255);
        char *said = process_output(p);
        CU_ASSERT_STRING_EQUAL(said,
                               "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.\n");
        free(said);
    }
}

SUITE(system_70_startup, TEST(what_cannot_start_says_why_and_what_to_do),
      TEST(a_malformed_token_gets_two_lines_and_no_others));
