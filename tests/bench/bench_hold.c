/* bench_hold.c: visitors that open a stream and then do nothing: what an idle stream costs is measured meanwhile.
 *
 *     bench_hold ADDR:PORT HOST PATH N      prints "held N" once N answers have begun, then waits for the end of its input
 *
 * Opens at most WINDOW at a time, so that no queue of a listener overflows. Exit status 1 if an answer does not come. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { WINDOW = 100, PATIENCE_S = 20 };

static struct sockaddr_in address_of(char *text)
{
    char *colon = strrchr(text, ':');
    struct sockaddr_in a = { .sin_family = AF_INET };
    if (colon)
        *colon = 0;
    if (!colon || inet_pton(AF_INET, text, &a.sin_addr) != 1) {
        fputs("bench_hold: the address is not IPv4:PORT\n", stderr);
        exit(2);
    }
    a.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    return a;
}

static void fail(const char *what, long i)
{
    fprintf(stderr, "bench_hold: stream %ld: ", i);
    perror(what);
    exit(1);
}

static int ask(const struct sockaddr_in *to, const char *request, long i)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = { .tv_sec = PATIENCE_S };
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
        fail("connect", i);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (send(fd, request, strlen(request), 0) < 0)
        fail("send", i);
    return fd;
}

/* An answer has begun with its first event: the head may come before it, in a packet of its own. */
static void await_event(int fd, long i)
{
    char text[4096];
    size_t have = 0;
    do {
        ssize_t n = recv(fd, text + have, sizeof(text) - 1 - have, 0);
        if (n <= 0)
            fail("no event came", i);
        have += (size_t)n;
        text[have] = 0;
    } while (!strstr(text, "data: ") && have < sizeof(text) - 1);
    if (strncmp(text, "HTTP/1.1 200", 12) != 0)
        fail(text, i);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("bench_hold ADDR:PORT HOST PATH N\n", stderr);
        return 2;
    }
    struct sockaddr_in to = address_of(argv[1]);
    char request[512];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[3], argv[2]);
    long n = strtol(argv[4], NULL, 10);
    int *fds = calloc((size_t)n + 1, sizeof(*fds));
    if (!fds)
        return 1;
    for (long asked = 0, begun = 0; begun < n; begun++) {
        while (asked < n && asked < begun + WINDOW) {
            fds[asked] = ask(&to, request, asked);
            asked++;
        }
        await_event(fds[begun], begun);
    }
    printf("held %ld\n", n);
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    return 0; /* the streams end with the process */
}
