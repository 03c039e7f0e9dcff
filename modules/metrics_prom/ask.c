/* ask.c: `culvert drain`, `ready` and `reload`: asks the metrics server of a culvert that runs on this machine. It is a
 * process of its own, with nothing else to do: it may wait for its socket. */
#include "prom.h"

#include "culvert/mem.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { GOOD = 0, NO = 1, NOBODY = 2, USAGE = 255 }; /* exit status */
enum { ANSWER_MAX = 64 * 1024, PATIENCE_S = 10, AGAIN_MS = 200 };

struct ask {
    const struct prom_conf *conf;
    char host[256];
    const char *method, *target;
    time_t patience_s;
};
struct reply {
    int status; /* 0: none */
    char *text; /* all of it */
    const char *body;
};

/* ---- one question -------------------------------------------------------------------------------------- */

static int dial(const char *host, const char *port, time_t patience_s)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list;
    struct timeval limit = { .tv_sec = patience_s };
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static bool send_question(int fd, const struct ask *ask)
{
    struct cv_str token = cv_reveal(ask->conf->token);
    char text[4096];
    int n = snprintf(text, sizeof(text),
                     "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n"
                     "%s" CV_STR_FMT "%s\r\n",
                     ask->method, ask->target, token.n ? "Authorization: Bearer " : "", CV_STR_ARG(token),
                     token.n ? "\r\n" : "");
    bool sent = n < (int)sizeof(text) && send(fd, text, (size_t)n, MSG_NOSIGNAL) == n;
    explicit_bzero(text, sizeof(text));
    return sent;
}

static void read_reply(int fd, struct reply *r)
{
    size_t n = 0;
    ssize_t got;
    r->text = cv_xcalloc(1, ANSWER_MAX + 1);
    while (n < ANSWER_MAX && (got = recv(fd, r->text + n, ANSWER_MAX - n, 0)) > 0)
        n += (size_t)got;
    const char *end = strstr(r->text, "\r\n\r\n");
    if (end && sscanf(r->text, "HTTP/1.1 %3d", &r->status) == 1)
        r->body = end + 4;
    else
        r->status = 0;
}

static void ask_at(const struct ask *ask, const char *port, struct reply *r)
{
    *r = (struct reply){ 0 };
    int fd = dial(ask->host, port, ask->patience_s);
    if (fd < 0)
        return;
    if (send_question(fd, ask))
        read_reply(fd, r);
    close(fd);
}

static void reply_free(struct reply *r)
{
    free(r->text);
    *r = (struct reply){ 0 };
}

/* ---- where --------------------------------------------------------------------------------------------- */

/* Another program may have taken one of the ports: only culvert has /startup. */
static bool is_culvert(const struct ask *ask, const char *port)
{
    struct ask question = *ask;
    struct reply r;
    question.method = "GET";
    question.target = "/startup";
    question.patience_s = PATIENCE_S;
    ask_at(&question, port, &r);
    bool yes = r.status == 200;
    reply_free(&r);
    return yes;
}

static bool find_port(const struct ask *ask, const char *said, char port[static 8])
{
    snprintf(port, 8, "%s", said);
    if (strcmp(said, "0") != 0)
        return is_culvert(ask, port);
    for (int p = FIRST_PORT; p <= LAST_PORT; p++) {
        snprintf(port, 8, "%d", p);
        if (is_culvert(ask, port))
            return true;
    }
    return false;
}

/* Who listens everywhere is met at home. */
static void at_home(char *host, size_t size)
{
    if (*host == '\0' || strcmp(host, "0.0.0.0") == 0)
        snprintf(host, size, "127.0.0.1");
    else if (strcmp(host, "::") == 0)
        snprintf(host, size, "::1");
}

static bool find(struct ask *ask, char port[static 8])
{
    const char *said;
    if (!listener_split(ask->conf->listen, ask->host, sizeof(ask->host), &said)) {
        fprintf(stderr, "%s is not host:port\n", ask->conf->listen);
        return false;
    }
    at_home(ask->host, sizeof(ask->host));
    if (find_port(ask, said, port))
        return true;
    fprintf(stderr,
            "No culvert answers at %s. Say where its metrics server listens with --metrics, TUNNEL_METRICS "
            "or --config.\n",
            strcmp(said, "0") == 0 ? "ports 20241 to 20245" : ask->conf->listen);
    return false;
}

/* ---- the words ------------------------------------------------------------------------------------------- */

static int drain(struct ask *ask, const char *port, int64_t limit_ms)
{
    char target[64] = "/drain";
    struct ask order = *ask;
    struct reply r;
    if (limit_ms >= 0)
        snprintf(target, sizeof(target), "/drain?timeout=%lldms", (long long)limit_ms);
    order.method = "POST";
    order.target = target;
    order.patience_s = 0; /* as long as it takes: the process has its own time limit */
    ask_at(&order, port, &r);
    fputs(r.status ? r.body : "The process ended before it had drained.\n",
          r.status == 200 ? stdout : stderr);
    int status = r.status != 200 ? NOBODY : strstr(r.body, "\"cut\":0,") ? GOOD : NO;
    reply_free(&r);
    return status;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int ready(struct ask *ask, const char *port, int64_t limit_ms)
{
    int64_t until = now_ms() + (limit_ms > 0 ? limit_ms : 0);
    struct reply r;
    ask->method = "GET";
    ask->target = "/ready";
    ask_at(ask, port, &r);
    while (r.status != 200 && now_ms() < until) {
        reply_free(&r);
        nanosleep(&(struct timespec){ .tv_nsec = AGAIN_MS * 1000000L }, NULL);
        ask_at(ask, port, &r);
    }
    if (r.status)
        printf("%s\n", r.body);
    int status = r.status == 200 ? GOOD : r.status ? NO : NOBODY;
    reply_free(&r);
    return status;
}

static int reload(struct ask *ask, const char *port, int64_t limit_ms)
{
    (void)limit_ms;
    struct reply r;
    ask->method = "POST";
    ask->target = "/reload";
    ask_at(ask, port, &r);
    fputs(r.status ? r.body : "No answer; the log of the process says what came of it.\n",
          r.status == 200 ? stdout : stderr);
    int status = r.status == 200 ? GOOD : r.status == 409 ? NO : NOBODY;
    reply_free(&r);
    return status;
}

int ask_command(struct cv_self *self, int argc, char **argv)
{
    static const struct {
        const char *word;
        int (*run)(struct ask *, const char *port, int64_t limit_ms);
    } words[] = { { "drain", drain }, { "ready", ready }, { "reload", reload } };
    struct ask ask = { .conf = self->conf, .patience_s = PATIENCE_S };
    char port[8];
    int64_t limit = argc > 1 ? duration_ms(argv[1]) : -1;
    if (argc > 1 && limit < 0) {
        fprintf(stderr, "--timeout: want a time such as 30s or 1m30s, at most 24h\n");
        return USAGE;
    }
    if (!find(&ask, port))
        return NOBODY;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(argv[0], words[i].word) == 0)
            return words[i].run(&ask, port, limit);
    return USAGE;
}
