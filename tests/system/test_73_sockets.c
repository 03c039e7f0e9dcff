/* test_73_sockets.c: WebSocket by node's own client, and ssh through it to an sshd behind the tunnel. */
#include "real.h"
#include "scene.h"

#include <signal.h>
#include <unistd.h>

/* Of node; before version 22 it has WebSocket only if asked. */
#define NODE                                                                                                 \
    "node $(node -e 'process.exit(+(typeof WebSocket === \"undefined\"))' || echo "                          \
    "--experimental-websocket) "

static bool lacks_websocket(void)
{
    if (real_lacks("node"))
        return true;
    char *said = real_run(NODE "-p 'typeof WebSocket'");
    bool lacks = strcmp(said, "function\n") != 0;
    free(said);
    if (lacks)
        suite_skip("a node that has WebSocket (20 or newer)");
    return lacks;
}

static struct scene *begin(const char *transport, const char *service)
{
    char rules[128];
    snprintf(rules, sizeof(rules), "{\"ingress\":[{\"service\":\"%s\"}]}", service);
    return scene_start(&(struct setup){ .transport = transport, .rules = rules });
}

/* ---- node --------------------------------------------------------------------------------------------- */

static void nodes_websocket_sends_hears_and_closes(void)
{
    if (lacks_websocket())
        return;
    for (each_transport(transport)) {
        char service[64];
        struct scene *t = begin(transport, "http_status:503");
        struct process *echo = real_start("exec node tests/sdk/echo.mjs");
        snprintf(service, sizeof(service), "{\"ingress\":[{\"service\":\"ws://127.0.0.1:%u\"}]}",
                 real_told_port(echo));
        CU_ASSERT_TRUE_FATAL(scene_push(t, 2, service));
        char *said = real_run(NODE "tests/sdk/websocket_check.mjs %s", t->front);
        CHECK_HOLDS(said, "all is well\n");
        free(said);
        scene_stop(t);
        process_end(echo, 0);
    }
}

/* ---- ssh ---------------------------------------------------------------------------------------------- */

struct shell {
    char dir[64];
    unsigned port;
    struct process *sshd;
    struct scene *scene;
};

static const char sshd_config[] =
    "ListenAddress 127.0.0.1:%2$u\nHostKey %1$s/host\nAuthorizedKeysFile %1$s/key.pub\nPidFile none\n"
    "UsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp "
    "internal-sftp\n";

static const char ssh_config[] =
    "Host *\n  User %4$s\n  IdentityFile %1$s/key\n  IdentitiesOnly yes\n  UserKnownHostsFile %1$s/known\n"
    "  StrictHostKeyChecking yes\n  HostKeyAlias inside\n  BatchMode yes\n  LogLevel ERROR\n"
    "  ProxyCommand " NODE "--no-warnings %2$s/tests/sdk/websocket_pipe.mjs ws://%3$s/\n";

/* What sshd wants of a machine when root starts it, in a mount namespace of its own: the machine stays as it is. */
static const char as_root[] =
    "printf 'root:x:0:0:root:/:/bin/sh\\nsshd:x:103:65534::/run/sshd:/bin/false\\n' >%1$s/passwd\n"
    "printf 'root:*:19000:0:99999:7:::\\n' >%1$s/shadow\n"
    "mount --bind %1$s/passwd /etc/passwd && mount --bind %1$s/shadow /etc/shadow &&\n"
    "mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/sshd\n";

static void start_sshd(struct shell *s)
{
    char here[256];
    s->port = real_port();
    real_folder(s->dir);
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
    char *said =
        real_run("cd %s && ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f key &&"
                 " echo inside $(cat host.pub) >known && head -c %d /dev/urandom >noise && printf $(id -un)",
                 s->dir, 10 << 20);
    real_write(s->dir, "sshd_config", sshd_config, s->dir, s->port);
    real_write(s->dir, "ssh_config", ssh_config, s->dir, here, s->scene->front, said);
    real_write(s->dir, "prepare", as_root, s->dir);
    free(said);
    s->sshd = real_start("run='exec $(command -v sshd) -D -e -f %1$s/sshd_config'\n"
                         "[ $(id -u) = 0 ] || eval \"$run\"\n"
                         "exec unshare -m sh -c \". %1$s/prepare && $run\"",
                         s->dir);
}

static void check_ssh(struct shell *s)
{
    char *said = real_run("cd %s; scp=\"scp -q -F ssh_config\" ssh=\"ssh -F ssh_config inside\"\n"
                          "$ssh 'cat; exit 7' <noise >back; echo status $?; cmp noise back\n"
                          "$scp noise inside:$PWD/up && cmp noise up\n"
                          "$scp inside:$PWD/noise down && cmp noise down\n"
                          "$ssh 'echo from $SSH_CONNECTION' | cut -d' ' -f 1,2",
                          s->dir);
    CU_ASSERT_STRING_EQUAL(said, "status 7\nfrom 127.0.0.1\n");
    if (strcmp(said, "status 7\nfrom 127.0.0.1\n") != 0) {
        char *log = process_output(s->sshd);
        fprintf(stderr, "  ssh: %s\n  sshd: %s\n", said, log);
        free(log);
    }
    free(said);
}

static bool may_mount(void)
{
    char *said = real_run("[ $(id -u) != 0 ] || unshare -m mount -t tmpfs tmpfs /run");
    bool may = *said == '\0';
    free(said);
    if (!may)
        suite_skip("a root who may mount, or another user: to start sshd");
    return may;
}

static void ssh_and_scp_work_over_websocket(void)
{
    if (real_lacks("sshd ssh scp ssh-keygen cmp") || lacks_websocket() || !may_mount())
        return;
    for (each_transport(transport)) {
        struct shell s = { .scene = begin(transport, "http_status:503") };
        char rules[64];
        start_sshd(&s);
        snprintf(rules, sizeof(rules), "{\"ingress\":[{\"service\":\"ssh://127.0.0.1:%u\"}]}", s.port);
        CU_ASSERT_TRUE_FATAL(scene_push(s.scene, 2, rules));
        if (real_listens(s.port))
            check_ssh(&s);
        else
            CU_FAIL("sshd does not listen");
        scene_stop(s.scene);
        process_signal(s.sshd, SIGTERM);
        process_end(s.sshd, PATIENCE_MS);
        real_folder_remove(s.dir);
    }
}

SUITE(system_73_sockets, TEST(nodes_websocket_sends_hears_and_closes), TEST(ssh_and_scp_work_over_websocket));
