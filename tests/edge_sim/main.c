/* main.c: the edge of a tunnel for tests: options, certificates, start and end. */
#include "edge_sim.h"

#include "pki.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { FAREWELL_MS = 200 };

struct event_base *loop;

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void quit(void)
{
    conns_close();
    event_base_loopexit(loop, &(struct timeval){ 0, FAREWELL_MS * 1000 });
}

static void on_signal(int sig, short what, void *arg)
{
    (void)sig, (void)what, (void)arg;
    quit();
}

/* ---- start and end ---------------------------------------------------------------------------------- */

static FILE *ports;

static void print(const char *kind, const char *addr)
{
    printf("%s %s\n", kind, addr);
    if (ports)
        fprintf(ports, "%s %s\n", kind, addr);
}

/* A test may wait for the file: it appears complete, by renaming. */
static bool ports_begin(char temp[static 4096])
{
    snprintf(temp, 4096, "%s.new", opt.ports_file);
    ports = fopen(temp, "we");
    return ports != NULL;
}

static bool ports_end(const char *temp)
{
    bool written = fclose(ports) == 0 && rename(temp, opt.ports_file) == 0;
    ports = NULL;
    return written;
}

static bool start_listening(SSL_CTX *h2, SSL_CTX *quic)
{
    char temp[4096], addr[64];
    if (opt.ports_file && !ports_begin(temp)) {
        perror(opt.ports_file);
        return false;
    }
    if (!listen_start(h2, quic, print))
        return false;
    if (!front_start(opt.front, addr)) {
        perror(opt.front);
        return false;
    }
    print("front", addr);
    if (!control_start(opt.control, addr)) {
        perror(opt.control);
        return false;
    }
    print("control", addr);
    if (ports && !ports_end(temp)) {
        perror(opt.ports_file);
        return false;
    }
    printf("ready\n");
    fflush(stdout);
    return true;
}

static enum pki_fault cert_fault(void)
{
    static const char *const names[] = {
        [PKI_GOOD] = "none", [PKI_EXPIRED] = "expired", [PKI_FOREIGN] = "foreign"
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(opt.cert_fault, names[i]) == 0)
            return (enum pki_fault)i;
    options_usage("cert-fault", opt.cert_fault);
}

static bool write_files(const struct pki *pki)
{
    if (opt.ca_out && !pki_write_ca(pki, opt.ca_out)) {
        perror(opt.ca_out);
        return false;
    }
    if (opt.token_out && !token_make(opt.token_out)) {
        perror(opt.token_out);
        return false;
    }
    if (opt.log_file && !log_open(opt.log_file)) {
        perror(opt.log_file);
        return false;
    }
    if (opt.config) {
        struct cv_buf text = options_slurp(opt.config);
        push_keep(opt.config_version, (struct cv_str){ (char *)text.p, text.n });
        cv_buf_free(&text);
    }
    return true;
}

static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void run(void)
{
    struct event *term = evsignal_new(loop, SIGTERM, on_signal, NULL);
    struct event *interrupt = evsignal_new(loop, SIGINT, on_signal, NULL);
    event_add(term, NULL);
    event_add(interrupt, NULL);
    event_base_dispatch(loop);
    event_free(term);
    event_free(interrupt);
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    loop = event_base_new();
    CV_ASSERT(loop);
    struct pki *pki = opt.ca_key ? pki_kept("edge_sim authority", opt.ca_key) : pki_new("edge_sim authority");
    if (!pki) {
        fprintf(stderr, "edge_sim: %s: neither readable nor writable\n", opt.ca_key);
        return 1;
    }
    SSL_CTX *h2 = pki_server(pki, opt.cert_name, cert_fault());
    SSL_CTX *quic = pki_server(pki, opt.cert_name, cert_fault());
    bool started = write_files(pki) && start_listening(h2, quic);
    if (started)
        run();
    front_h2_stop();
    h1_unlisten();
    listen_stop();
    control_stop();
    conns_free();
    push_free();
    script_free();
    log_close();
    queue_drain_pool();
    SSL_CTX_free(h2);
    SSL_CTX_free(quic);
    pki_free(pki);
    event_base_free(loop);
    return started ? 0 : 1;
}
