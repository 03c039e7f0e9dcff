/* edge.c: the way to Cloudflare: names, addresses, and a handshake by each transport with each region. */
#include "doctor/doctor.h"

#include "tunnel/conn.h"
#include "tunnel/discover.h"
#include "tunnel/srv.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum {
    LOOKUP_MS = 25000,
    PROBE_MS = 5000,
    CLOSE_MS = 2000,
    GATE_TRIES = 20,
    GATE_MS = 250,
    ADDRESS_TEXT = 64,
    BURIAL_TRIES = 100
};

/* ---- waiting -------------------------------------------------------------------------------------------- */

static void tell(const struct runtime *r)
{
    event_base_loopbreak(r->main->base);
}

struct alarm {
    struct cv_timer timer;
    const struct runtime *r;
};

static void on_alarm(struct cv_timer *timer)
{
    tell(CV_OWNER(timer, struct alarm, timer)->r);
}

void wait_until_told(struct runtime *r, int ms)
{
    struct alarm alarm = { .timer = { .fire = on_alarm }, .r = r };
    cv_timer_set(worker_core_self(r->main), &alarm.timer, (struct cv_ms){ ms });
    worker_run(r->main);
    cv_timer_clear(&alarm.timer);
}

/* ---- gates ---------------------------------------------------------------------------------------------- */

/* One that cannot tell yet is asked again. */
static bool is_admitted(struct runtime *r, const struct cv_instance *gate, struct cv_err *err)
{
    const struct cv_self *self = worker_self(r->main, gate);
    for (unsigned i = 0; i < GATE_TRIES; i++) {
        enum cv_error e = gate->module->gate->admit(self, err);
        if (e == CV_OK || e == CV_E_CONF)
            return e == CV_OK;
        wait_until_told(r, GATE_MS);
    }
    return false;
}

bool check_gates(struct report *report, struct runtime *r)
{
    bool ok = true;
    for (size_t i = 0; i < r->n_gates; i++) {
        struct cv_err err = { "" };
        if (is_admitted(r, r->gates[i], &err)) {
            report_add(report, "guard", VERDICT_GOOD, NULL, "%s lets this process connect",
                       r->gates[i]->name);
            continue;
        }
        ok = false;
        report_add(report, "guard", VERDICT_BAD,
                   "if this is the right cluster, take what `culvert guard show` prints here", "%s",
                   err.text);
    }
    return ok;
}

/* ---- names and addresses -------------------------------------------------------------------------------- */

struct search {
    struct runtime *r;
    const struct srv_answer *answer;
    struct srv_answer kept;
    char why[256];
    struct cv_lookup *lookup;
    enum cv_error error;
    struct sockaddr_storage addr; /* the first of the wanted family */
    size_t n;                     /* how many there are of it       */
    int family;
    bool told;
};

static void on_srv(void *arg, const struct srv_answer *answer, const char *why)
{
    struct search *s = arg;
    if (answer) {
        s->kept = *answer;
        s->answer = &s->kept;
    }
    snprintf(s->why, sizeof(s->why), "%s", why ? why : "");
    s->told = true;
    tell(s->r);
}

static void on_addresses(void *arg, enum cv_error e, const struct sockaddr_storage *addrs, size_t n)
{
    struct search *s = arg;
    s->lookup = NULL;
    s->error = e;
    for (size_t i = 0; i < n; i++)
        if (s->family == AF_UNSPEC || addrs[i].ss_family == s->family) {
            if (s->n++ == 0)
                s->addr = addrs[i];
        }
    s->told = true;
    tell(s->r);
}

static void resolve(struct search *s, struct cv_str host, uint16_t port)
{
    s->told = false;
    s->n = 0;
    s->error = CV_E_TIMEOUT;
    s->lookup = cv_resolve(worker_core_self(s->r->main), host, port, on_addresses, s);
    wait_until_told(s->r, LOOKUP_MS);
    if (!s->told)
        cv_resolve_cancel(s->lookup);
}

static void address_text(const struct sockaddr_storage *a, char text[ADDRESS_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
        snprintf(text, ADDRESS_TEXT, "[%s]:%u", ip, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
        snprintf(text, ADDRESS_TEXT, "%s:%u", ip, ntohs(v4->sin_port));
    }
}

static bool take_address(struct report *report, struct search *s, struct cv_str host, uint16_t port,
                         struct sockaddr_storage *to)
{
    resolve(s, host, port);
    if (s->n == 0) {
        report_add(report, "edge address", VERDICT_BAD,
                   s->error ? "mend DNS: resolv.conf, the cluster's DNS, a NetworkPolicy that stops port 53"
                            : "look at edge_ip_version: the name has addresses of the other family",
                   CV_STR_FMT ": %s", CV_STR_ARG(host),
                   s->error ? cv_error_text(s->error) : "no address of that family");
        return false;
    }
    char text[ADDRESS_TEXT];
    address_text(&s->addr, text);
    report_add(report, "edge address", VERDICT_GOOD, NULL, CV_STR_FMT ": %zu address%s, the first is %s",
               CV_STR_ARG(host), s->n, s->n == 1 ? "" : "es", text);
    *to = s->addr;
    return true;
}

static size_t from_list(struct report *report, struct search *s, const struct cv_list *edge,
                        struct sockaddr_storage to[EDGE_REGIONS])
{
    size_t n = 0;
    for (size_t i = 0; i < edge->n && n < EDGE_REGIONS; i++) {
        struct cv_str host;
        uint16_t port;
        if (discovery_split(edge->v[i], &host, &port) && take_address(report, s, host, port, &to[n]))
            n++;
    }
    return n;
}

static bool find_regions(struct report *report, struct search *s, const char *region)
{
    char name[SRV_NAME_MAX];
    snprintf(name, sizeof(name), "_%s%sv2-origintunneld._tcp.argotunnel.com", region, *region ? "-" : "");
    struct srv_query *query = srv_query_new(worker_core_self(s->r->main), name, &dot_cloudflare, on_srv, s);
    wait_until_told(s->r, LOOKUP_MS);
    srv_query_free(query);
    if (!s->answer)
        report_add(report, "dns", VERDICT_BAD,
                   "let DNS out (port 53 to the cluster's resolver), or TCP 853 to 1.1.1.1; or name "
                   "addresses with --edge",
                   "%s: %s", name, s->told ? s->why : "no answer in time");
    else if (*s->why)
        report_add(report, "dns", VERDICT_WARN, "mend the resolver: origins are looked up there too",
                   "%s: found over TLS alone (%s)", name, s->why);
    else
        report_add(report, "dns", VERDICT_GOOD, NULL, "%s: %zu regions", name, s->answer->n);
    return s->answer != NULL;
}

static size_t find_edge(struct report *report, struct runtime *r, const char *region,
                        struct sockaddr_storage to[EDGE_REGIONS])
{
    static const int families[] = { AF_UNSPEC, AF_INET, AF_INET6 };
    const struct tunnel_conf *c = generation_core(r->g, CORE_TUNNEL);
    struct search s = { .r = r };
    if (c->edge.n)
        return from_list(report, &s, &c->edge, to);
    s.family = families[c->edge_ip_version];
    size_t n = 0;
    if (find_regions(report, &s, region))
        for (size_t i = 0; i < s.answer->n && i < EDGE_REGIONS; i++)
            n += take_address(report, &s, cv_str_of(s.answer->targets[i].host), s.answer->targets[i].port,
                              &to[n]);
    return n;
}

/* ---- handshakes ----------------------------------------------------------------------------------------- */

struct probe {
    const struct cv_instance *edge;
    struct sockaddr_storage to;
    int64_t began, took;
    bool up, down;
    enum cv_error error;
    char text[512];
};

enum { PROBES_MAX = 8 };
static struct { /* conn reports carry no pointer of ours: probe i has the id i + 1 */
    struct runtime *r;
    struct probe v[PROBES_MAX];
    size_t n, down;
} probes;

static void on_report(const struct conn_report *report)
{
    struct probe *p = &probes.v[report->id - 1];
    if (report->what == CONN_UP) {
        p->up = true;
        p->took = clock_ms() - p->began;
        conn_close(report->id);
    }
    if (report->what != CONN_DOWN)
        return;
    p->down = true;
    p->error = report->error;
    snprintf(p->text, sizeof(p->text), "%s", report->text);
    if (++probes.down == probes.n)
        tell(probes.r);
}

/* Without credentials nothing is registered, so nobody is ever sent here. */
static void dial(struct runtime *r, const struct cv_instance *edge, const struct sockaddr_storage *to)
{
    struct conn_order order = {
        .id = (uint32_t)++probes.n, .worker = r->workers[0], .edge = edge, .addr = *to
    };
    probes.v[order.id - 1] = (struct probe){ .edge = edge, .to = *to, .began = clock_ms() };
    conn_dial(&order);
}

static void finish_dialling(void)
{
    wait_until_told(probes.r, PROBE_MS);
    for (size_t i = 0; i < probes.n; i++)
        if (!probes.v[i].down)
            conn_close((uint32_t)i + 1);
    if (probes.down < probes.n)
        wait_until_told(probes.r, CLOSE_MS);
    for (unsigned i = 0; conns_count() > 0 && i < BURIAL_TRIES; i++)
        wait_until_told(probes.r, 10);
}

static bool is_quic(const struct probe *p)
{
    return strcmp(p->edge->module->edge->protocol, "quic") == 0;
}

static void report_probe(struct report *report, const struct probe *p)
{
    bool quic = is_quic(p), answered = p->up || p->error == CV_E_TLS;
    char to[ADDRESS_TEXT];
    address_text(&p->to, to);
    if (!answered) {
        report_add(report, quic ? "udp 7844" : "tcp 7844", VERDICT_BAD,
                   quic ? "let UDP port 7844 out (firewall, NetworkPolicy), or use protocol = http2"
                        : "let TCP port 7844 out (firewall, NetworkPolicy)",
                   "%s: %s", to, p->down && *p->text ? p->text : "no answer in time");
        return;
    }
    report_add(report, quic ? "udp 7844" : "tcp 7844", VERDICT_GOOD, NULL, "%s: answers", to);
    if (p->up)
        report_add(report, "edge tls", VERDICT_GOOD, NULL, "%s: verified, %s handshake took %lld ms", to,
                   quic ? "QUIC" : "TLS", (long long)p->took);
    else
        report_add(
            report, "edge tls", VERDICT_BAD,
            "somebody on the way answers in Cloudflare's place, or the clock is wrong: let port 7844 pass "
            "uninspected, or name the roots to trust with --cacert",
            "%s: %s", to, p->text);
}

unsigned check_edge(struct report *report, struct runtime *r, const char *region)
{
    const struct tunnel_conf *c = generation_core(r->g, CORE_TUNNEL);
    struct sockaddr_storage to[EDGE_REGIONS];
    size_t n = find_edge(report, r, region, to);
    unsigned reached = 0;
    memset(&probes, 0, sizeof(probes));
    probes.r = r;
    conns_setup(r->main, on_report);
    for (size_t e = 0; e < r->n_edges; e++) {
        bool wanted = c->protocol == 0 ||
                      c->protocol == (strcmp(r->edges[e]->module->edge->protocol, "quic") == 0 ? 1 : 2);
        for (size_t i = 0; wanted && i < n && probes.n < PROBES_MAX; i++)
            dial(r, r->edges[e], &to[i]);
    }
    if (probes.n > 0)
        finish_dialling();
    for (size_t i = 0; i < probes.n; i++) {
        report_probe(report, &probes.v[i]);
        reached |= probes.v[i].up ? (is_quic(&probes.v[i]) ? 1u : 2u) : 0;
    }
    return reached;
}
