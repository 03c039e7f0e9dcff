/* options.c: what the command line says, and what --help says about it. */
#include "edge_sim.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options opt = {
    .front = "127.0.0.1:0",
    .control = "127.0.0.1:0",
    .cert_name = "h2.cftunnel.com,quic.cftunnel.com,probe.cftunnel.com",
    .cert_fault = "none",
    .location = "sim01",
    .config_version = 1,
    .h2 = true,
    .quic = true,
    .stream_window = 1 << 20,
    .conn_window = 1 << 30,
    .max_frame = 1 << 14,
    .idle_timeout_ms = 30000,
    .max_visitors = 30000,
    .net.seed = 1,
};

static const char help[] =
    "Usage: edge_sim [OPTION]...\n"
    "Cloudflare's side of a tunnel on this machine, for tests: connectors register here, visitors come in\n"
    "at the front, and a control port says what happened and makes things go wrong.\n"
    "\n"
    "Where it listens (HOST:PORT; port 0 takes a free one)\n"
    "  --listen ADDR          for connectors, TCP and UDP; may repeat (default 127.0.0.1:0, twice)\n"
    "  --front ADDR           for visitors, HTTP/1.1 or, from the first byte, HTTP/2; CONNECT ip:port of\n"
    "                         HTTP/1.1 opens a private-network stream\n"
    "  --control ADDR         for tests, HTTP/1.1 and JSON\n"
    "  --ports-file FILE      the lines printed at start; FILE is complete once it exists\n"
    "  --only http2|quic      serve one transport only\n"
    "  --mute tcp|udp         nobody answers there, as if packets got lost (live: POST /mute)\n"
    "\n"
    "Identity\n"
    "  --ca-out FILE          write the authority's certificate, for the connector's --cacert\n"
    "  --ca-key FILE          keep the authority in FILE: read it if it exists, else write it\n"
    "  --token-out FILE       write a tunnel token, and refuse registrations of any other tunnel\n"
    "  --cert-names A,B       names in the certificate (default h2., quic. and probe.cftunnel.com)\n"
    "  --cert-fault FAULT     none, expired, foreign (signed by an unknown authority)\n"
    "  --location NAME        location told to connectors (default sim01)\n"
    "\n"
    "Behaviour\n"
    "  --config FILE          configuration pushed to one connection of every connector\n"
    "  --config-version N     its version (default 1)\n"
    "  --script FILE          answers to the next connections, as for POST /script\n"
    "  --keep-refused         do not close a connection after refusing it\n"
    "  --keep-unregistered    do not close an unregistered connection once its requests are over\n"
    "  --stream-window N      bytes a connector may send on a stream (default 1048576)\n"
    "  --conn-window N        and on a connection (default 1073741824)\n"
    "  --max-frame N          HTTP/2: largest frame accepted (default 16384)\n"
    "  --padding N            HTTP/2: pad frames by N bytes\n"
    "  --idle-timeout D       QUIC: max_idle_timeout (default 30s)\n"
    "  --loss P               QUIC, both ways: lose packets with probability P\n"
    "  --reorder P            ... let others overtake them\n"
    "  --delay D --jitter D   ... delay them by D, and by up to D more\n"
    "  --seed N               ... the same again for the same N\n"
    "  --max-visitors N       connections at front and control port (default 30000)\n"
    "  --log FILE             also write events there as JSON lines; - is standard error\n"
    "\n"
    "It prints `edge ADDR` for each --listen, `front ADDR`, `control ADDR`, then `ready`, and runs until\n"
    "SIGTERM, SIGINT or POST /quit. Exit status: 0; 1 if it cannot start; 2 for wrong usage.\n"
    "\n"
    "Control port\n"
    "  GET  /state                          connectors and connections\n"
    "  GET  /log?since=N                    events as JSON lines\n"
    "  GET  /wait?registered=N&timeout=10s  answers with the state once N are registered (0: none)\n"
    "  GET  /wait?event=NAME&count=N        ... once an event has been seen N times\n"
    "  POST /config?version=N               body: configuration; answers what the connectors answer\n"
    "  POST /script                         body: one answer a line, used up in this order:\n"
    "         accept[:local]                local: not remotely managed\n"
    "         refuse:retry[:27s]:TEXT       refuse:permanent:TEXT       dup (EDUPCONN)\n"
    "         exception:TEXT                silence (never answered)\n"
    "         close  no-tls  version        the attempt fails; version: of QUIC\n"
    "         no-preface                    not a byte after the handshake\n"
    "         no-control                    the control stream is not opened, or not read\n"
    "         N=ANSWER                      for the connection with index N\n"
    "  POST /drop?index=N|all&how=fin|rst|silent|goaway\n"
    "  POST /raw?index=N                    body: hexadecimal; HTTP/2: written as it is; QUIC: a datagram\n"
    "  POST /stop-reading?index=N[&on=0]\n"
    "  POST /fault?index=N&what=...         reset-streams, stall (acknowledges, but no stream moves),\n"
    "                                       HTTP/2: ping; QUIC: key-update, stall-control\n"
    "  POST /mute?what=tcp|udp[&on=0]       new TCP connections, or all QUIC packets, go unanswered\n"
    "  POST /udp?index=N&session=UUID&ip=IP&port=N\n"
    "                                       QUIC: registerUdpSession; port 0: unregisterUdpSession\n"
    "  POST /quit\n"
    "At the front, X-Edge-Index: N chooses the connection. Answers carry X-Edge-Source: origin, connector\n"
    "(it failed) or edge (this program did). Without a connection the answer is 530.\n";

_Noreturn void options_usage(const char *option, const char *value)
{
    fprintf(stderr, "edge_sim: --%s does not take \"%s\"; see edge_sim --help\n", option, value);
    exit(2);
}

static uint64_t number(const char *option, const char *value, uint64_t max)
{
    uint64_t n;
    if (!parse_u64(cv_str_of(value), max, &n))
        options_usage(option, value);
    return n;
}

static int64_t duration(const char *option, const char *value)
{
    int64_t ms = parse_ms(cv_str_of(value));
    if (ms < 0)
        options_usage(option, value);
    return ms;
}

static double probability(const char *option, const char *value)
{
    char *end;
    double p = strtod(value, &end);
    if (*end || end == value || !(p >= 0 && p <= 1))
        options_usage(option, value);
    return p;
}

/* The whole of a file; the process ends if it cannot be read. */
struct cv_buf options_slurp(const char *path)
{
    struct cv_buf b = { 0 };
    FILE *f = fopen(path, "re");
    size_t n = 0;
    if (f) {
        do
            b.n += n = fread(cv_buf_reserve(&b, 65536), 1, 65536, f);
        while (n > 0);
    }
    if (!f || ferror(f)) {
        fprintf(stderr, "edge_sim: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    fclose(f);
    return b;
}

static void read_script(const char *path)
{
    char why[128];
    struct cv_buf text = options_slurp(path);
    if (!script_set((struct cv_str){ (char *)text.p, text.n }, why)) {
        fprintf(stderr, "edge_sim: %s: %s\n", path, why);
        exit(2);
    }
    cv_buf_free(&text);
}

enum {
    O_LISTEN,
    O_FRONT,
    O_CONTROL,
    O_PORTS,
    O_ONLY,
    O_MUTE,
    O_CA_KEY,
    O_CA,
    O_TOKEN,
    O_NAMES,
    O_FAULT,
    O_LOCATION,
    O_CONFIG,
    O_VERSION,
    O_SCRIPT,
    O_KEEP_REFUSED,
    O_KEEP_UNREG,
    O_STREAM_WINDOW,
    O_CONN_WINDOW,
    O_MAX_FRAME,
    O_PADDING,
    O_IDLE,
    O_LOSS,
    O_REORDER,
    O_DELAY,
    O_JITTER,
    O_SEED,
    O_VISITORS,
    O_LOG,
    O_HELP,
};
static const struct option long_options[] = {
    [O_LISTEN] = { "listen", 1, 0, O_LISTEN },
    [O_FRONT] = { "front", 1, 0, O_FRONT },
    [O_CONTROL] = { "control", 1, 0, O_CONTROL },
    [O_PORTS] = { "ports-file", 1, 0, O_PORTS },
    [O_ONLY] = { "only", 1, 0, O_ONLY },
    [O_MUTE] = { "mute", 1, 0, O_MUTE },
    [O_CA_KEY] = { "ca-key", 1, 0, O_CA_KEY },
    [O_CA] = { "ca-out", 1, 0, O_CA },
    [O_TOKEN] = { "token-out", 1, 0, O_TOKEN },
    [O_NAMES] = { "cert-names", 1, 0, O_NAMES },
    [O_FAULT] = { "cert-fault", 1, 0, O_FAULT },
    [O_LOCATION] = { "location", 1, 0, O_LOCATION },
    [O_CONFIG] = { "config", 1, 0, O_CONFIG },
    [O_VERSION] = { "config-version", 1, 0, O_VERSION },
    [O_SCRIPT] = { "script", 1, 0, O_SCRIPT },
    [O_KEEP_REFUSED] = { "keep-refused", 0, 0, O_KEEP_REFUSED },
    [O_KEEP_UNREG] = { "keep-unregistered", 0, 0, O_KEEP_UNREG },
    [O_STREAM_WINDOW] = { "stream-window", 1, 0, O_STREAM_WINDOW },
    [O_CONN_WINDOW] = { "conn-window", 1, 0, O_CONN_WINDOW },
    [O_MAX_FRAME] = { "max-frame", 1, 0, O_MAX_FRAME },
    [O_PADDING] = { "padding", 1, 0, O_PADDING },
    [O_IDLE] = { "idle-timeout", 1, 0, O_IDLE },
    [O_LOSS] = { "loss", 1, 0, O_LOSS },
    [O_REORDER] = { "reorder", 1, 0, O_REORDER },
    [O_DELAY] = { "delay", 1, 0, O_DELAY },
    [O_JITTER] = { "jitter", 1, 0, O_JITTER },
    [O_SEED] = { "seed", 1, 0, O_SEED },
    [O_VISITORS] = { "max-visitors", 1, 0, O_VISITORS },
    [O_LOG] = { "log", 1, 0, O_LOG },
    [O_HELP] = { "help", 0, 0, O_HELP },
    { 0 },
};

static void set_option(int o, const char *v)
{
    const char *name = long_options[o].name;
    switch (o) {
    case O_LISTEN:
        if (opt.nlisten == sizeof(opt.listen) / sizeof(opt.listen[0]))
            options_usage(name, v);
        opt.listen[opt.nlisten++] = v;
        break;
    case O_FRONT: opt.front = v; break;
    case O_CONTROL: opt.control = v; break;
    case O_PORTS: opt.ports_file = v; break;
    case O_ONLY:
        opt.h2 = strcmp(v, "http2") == 0;
        opt.quic = strcmp(v, "quic") == 0;
        if (!opt.h2 && !opt.quic)
            options_usage(name, v);
        break;
    case O_MUTE:
        opt.mute_tcp |= strcmp(v, "tcp") == 0;
        opt.mute_udp |= strcmp(v, "udp") == 0;
        if (!opt.mute_tcp && !opt.mute_udp)
            options_usage(name, v);
        break;
    case O_CA_KEY: opt.ca_key = v; break;
    case O_CA: opt.ca_out = v; break;
    case O_TOKEN: opt.token_out = v; break;
    case O_NAMES: opt.cert_name = v; break;
    case O_FAULT: opt.cert_fault = v; break;
    case O_LOCATION: opt.location = v; break;
    case O_CONFIG: opt.config = v; break;
    case O_VERSION: opt.config_version = (int)number(name, v, INT32_MAX); break;
    case O_SCRIPT: read_script(v); break;
    case O_KEEP_REFUSED: opt.keep_refused = true; break;
    case O_KEEP_UNREG: opt.keep_unregistered = true; break;
    case O_STREAM_WINDOW: opt.stream_window = (uint32_t)number(name, v, INT32_MAX); break;
    case O_CONN_WINDOW: opt.conn_window = (uint32_t)number(name, v, INT32_MAX); break;
    case O_MAX_FRAME: opt.max_frame = (uint32_t)number(name, v, (1 << 24) - 1); break;
    case O_PADDING: opt.padding = (uint32_t)number(name, v, 255); break;
    case O_IDLE: opt.idle_timeout_ms = duration(name, v); break;
    case O_LOSS: opt.net.loss = probability(name, v); break;
    case O_REORDER: opt.net.reorder = probability(name, v); break;
    case O_DELAY: opt.net.delay_ms = duration(name, v); break;
    case O_JITTER: opt.net.jitter_ms = duration(name, v); break;
    case O_SEED: opt.net.seed = number(name, v, UINT64_MAX); break;
    case O_VISITORS: opt.max_visitors = (unsigned)number(name, v, 1000000); break;
    case O_LOG: opt.log_file = v; break;
    case O_HELP: fputs(help, stdout); exit(0);
    default: exit(2);
    }
}

void options_read(int argc, char **argv)
{
    int o;
    while ((o = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (o == '?')
            exit(2);
        set_option(o == 'h' ? O_HELP : o, optarg);
    }
    if (optind < argc) {
        fprintf(stderr, "edge_sim: what is \"%s\"? See edge_sim --help\n", argv[optind]);
        exit(2);
    }
    if (opt.nlisten == 0)
        opt.listen[0] = opt.listen[1] = "127.0.0.1:0", opt.nlisten = 2;
}
