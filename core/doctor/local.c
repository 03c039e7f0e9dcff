/* local.c: what the doctor can see without asking anybody: token, files, clock, limits of this machine. */
#include "doctor/doctor.h"

#include "tunnel/credentials.h"
#include "tunnel/token_file.h"
#include "tunnel/tunnel.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

/* ---- token ---------------------------------------------------------------------------------------------- */

static const char *said_where(const struct generation *g, const char *key)
{
    const struct conf *c = g->core[CORE_TUNNEL];
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->options[i].name, key) == 0)
            return c->where[i];
    return "";
}

bool check_token(struct report *r, const struct generation *g, char region[REGION_MAX])
{
    const struct tunnel_conf *c = generation_core(g, CORE_TUNNEL);
    bool in_file = c->token.n == 0;
    const char *where = said_where(g, in_file ? "token_file" : "token");
    struct token token = { 0 };
    struct cv_err err = { "" };
    if (in_file && !*c->token_file) {
        report_add(r, "token", VERDICT_BAD,
                   "set TUNNEL_TOKEN, or --token-file FILE, or token_file of [tunnel]; the dashboard shows "
                   "the token",
                   "there is none");
        return false;
    }
    enum cv_error e =
        in_file ? token_file_read(c->token_file, &token, &err) : token_parse(c->token, &token, &err);
    if (e == CV_E_IO) {
        report_add(r, "token", VERDICT_BAD, "mount the secret there, readable by this user", "%s (%s)",
                   err.text, where);
        return false;
    }
    if (e) {
        report_add(r, "token", VERDICT_BAD,
                   "copy it from the dashboard anew, whole, without quotes or line breaks",
                   "it is not a tunnel token (%s)", where);
        return false;
    }
    char id[UUID_TEXT];
    uuid_text(token.id, id);
    report_add(r, "token", VERDICT_GOOD, NULL, "of tunnel %s (%s)", id, where);
    snprintf(region, REGION_MAX, "%s", *token.endpoint ? token.endpoint : c->region);
    token_free(&token);
    return true;
}

/* ---- files that hold secrets ---------------------------------------------------------------------------- */

static void check_secret_file(struct report *r, const char *name, const char *where)
{
    struct stat st;
    char remedy[300];
    if (stat(name, &st) != 0 || access(name, R_OK) != 0) {
        report_add(r, "secret files", VERDICT_BAD, "put it there, readable by this user", "%s: %s (%s)", name,
                   strerror(errno), where);
        return;
    }
    bool open_to_all = st.st_mode & (S_IROTH | S_IWOTH);
    snprintf(remedy, sizeof(remedy),
             "chmod o-rwx %.200s; for a Kubernetes secret: defaultMode: 0440 with fsGroup", name);
    report_add(r, "secret files", open_to_all ? VERDICT_WARN : VERDICT_GOOD, open_to_all ? remedy : NULL,
               "%s: mode %04o%s (%s)", name, (unsigned)st.st_mode & 07777,
               open_to_all ? ", every user may read it" : "", where);
}

void check_secret_files(struct report *r, const struct generation *g, const char *ini_name)
{
    static const char prefix[] = "file:";
    const struct tunnel_conf *c = generation_core(g, CORE_TUNNEL);
    if (c->token.n == 0 && *c->token_file)
        check_secret_file(r, c->token_file, said_where(g, "token_file"));
    struct ini ini = { .n = 0 };
    struct problems ignored = { .n = 0 };
    if (ini_name)
        ini_read(&ini, ini_name, &ignored);
    for (size_t s = 0; s < ini.n; s++)
        for (size_t i = 0; i < ini.v[s].n; i++) {
            const struct ini_entry *e = &ini.v[s].v[i];
            char where[300];
            snprintf(where, sizeof(where), "%.200s:%u", ini.file, e->line);
            if (strncmp(e->value, prefix, strlen(prefix)) == 0)
                check_secret_file(r, e->value + strlen(prefix), where);
        }
    problems_free(&ignored);
    ini_free(&ini);
}

/* ---- this machine --------------------------------------------------------------------------------------- */

/* Certificates are checked against the clock; nothing was signed for us before this program was written. */
void check_clock(struct report *r)
{
    enum { YEAR_OF_THIS = 2026, TM_YEAR_0 = 1900 };
    time_t now = time(NULL);
    struct tm utc;
    char text[32];
    gmtime_r(&now, &utc);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc);
    struct timex kernel = { .modes = 0 };
    if (utc.tm_year + TM_YEAR_0 < YEAR_OF_THIS)
        report_add(r, "clock", VERDICT_BAD, "set the clock: certificates are not valid at that time", "%s",
                   text);
    else if (adjtimex(&kernel) == TIME_ERROR && (kernel.status & STA_UNSYNC))
        report_add(r, "clock", VERDICT_WARN, "compare it with a good clock; run NTP on the machine",
                   "%s; the kernel does not know it to be synchronised", text);
    else
        report_add(r, "clock", VERDICT_GOOD, NULL, "%s", text);
}

static bool any_file_in(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *e;
    while (dir && (e = readdir(dir)) && e->d_name[0] == '.')
        ;
    bool any = dir && e;
    if (dir)
        closedir(dir);
    return any;
}

void check_roots(struct report *r)
{
    const char *file = getenv(X509_get_default_cert_file_env()),
               *dir = getenv(X509_get_default_cert_dir_env());
    file = file ? file : X509_get_default_cert_file();
    dir = dir ? dir : X509_get_default_cert_dir();
    if (access(file, R_OK) == 0)
        report_add(r, "roots", VERDICT_GOOD, NULL, "the system's certificates: %s", file);
    else if (any_file_in(dir))
        report_add(r, "roots", VERDICT_GOOD, NULL, "the system's certificates: %s", dir);
    else
        report_add(r, "roots", VERDICT_WARN, "install ca-certificates, or name a bundle in SSL_CERT_FILE",
                   "neither %s nor %s is there: only Cloudflare's own roots are trusted", file, dir);
}

void check_proxies(struct report *r)
{
    static const char *const names[] = { "https_proxy", "HTTPS_PROXY" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value && *value) {
            report_add(r, "proxy", VERDICT_GOOD, NULL,
                       "%s is set: HTTP/2 goes through it unless NO_PROXY or [edge_http2] says otherwise, "
                       "QUIC cannot",
                       names[i]);
            return;
        }
    }
    report_add(r, "proxy", VERDICT_GOOD, NULL, "no variable asks for one");
}

void check_limits(struct report *r)
{
    enum { FILES_WANTED = 10000 };
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    bool few = files.rlim_max < FILES_WANTED;
    report_add(r, "open files", few ? VERDICT_WARN : VERDICT_GOOD,
               few ? "raise the hard limit (ulimit -Hn, LimitNOFILE): every request needs one or two" : NULL,
               "at most %llu", (unsigned long long)files.rlim_max);
}

/* ---- UDP ------------------------------------------------------------------------------------------------ */

static uint64_t size_of(const struct generation *g, const char *section, const char *key)
{
    for (size_t m = 0; m < g->n; m++) {
        const struct conf *c = g->modules[m].conf;
        for (size_t i = 0; strcmp(c->section, section) == 0 && i < c->n; i++)
            if (strcmp(c->options[i].name, key) == 0)
                return ((const struct cv_bytes *)(const void *)((const char *)c->data + c->options[i].at))->n;
    }
    return 0;
}

static uint64_t granted(int fd, int option, int force, uint64_t wish)
{
    int n = wish > INT32_MAX / 2 ? INT32_MAX / 2 : (int)wish, got = 0;
    socklen_t size = sizeof(got);
    if (setsockopt(fd, SOL_SOCKET, force, &n, sizeof(n)) != 0)
        setsockopt(fd, SOL_SOCKET, option, &n, sizeof(n));
    return getsockopt(fd, SOL_SOCKET, option, &got, &size) == 0 ? (uint64_t)got / 2 : 0; /* it tells twice */
}

void check_udp_buffers(struct report *r, const struct generation *g)
{
    uint64_t wish = size_of(g, "edge_quic", "socket_buffer");
    int fd = wish ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0) {
        report_add(r, "udp buffers", VERDICT_SKIPPED, NULL, "QUIC is not used");
        return;
    }
    uint64_t in = granted(fd, SO_RCVBUF, SO_RCVBUFFORCE, wish),
             out = granted(fd, SO_SNDBUF, SO_SNDBUFFORCE, wish);
    close(fd);
    bool small = in < wish || out < wish;
    char remedy[160];
    snprintf(remedy, sizeof(remedy), "on the node: sysctl -w net.core.rmem_max=%llu net.core.wmem_max=%llu",
             (unsigned long long)wish, (unsigned long long)wish);
    report_add(r, "udp buffers", small ? VERDICT_WARN : VERDICT_GOOD, small ? remedy : NULL,
               small ? "%llu bytes in, %llu out, %llu wanted: QUIC works, bursts may be lost"
                     : "%llu bytes in, %llu out, %llu wanted",
               (unsigned long long)in, (unsigned long long)out, (unsigned long long)wish);
}
