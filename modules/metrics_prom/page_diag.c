/* page_diag.c: /diag/…: what `cloudflared tunnel diag` collects, in its JSON (docs/protocol.md §21). */
#include "pages.h"

#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

static void add_pair(struct evbuffer *out, const char *name, const char *value)
{
    page_add_json(out, cv_str_of(name));
    evbuffer_add(out, ":", 1);
    page_add_json(out, cv_str_of(value));
}

/* ---- /diag/configuration ------------------------------------------------------------------------------- */

struct settings {
    struct evbuffer *out;
    const char *comma;
    bool uid_is_there;
};

static void add_text(struct settings *s, const char *name, const char *value)
{
    evbuffer_add_printf(s->out, "%s", s->comma);
    add_pair(s->out, name, value);
    s->comma = ",";
}

/* The user stands among the flags, in the order of names. */
static void add_uid_before(struct settings *s, const char *flag)
{
    char uid[16];
    if (s->uid_is_there || strcmp(flag, "uid") < 0)
        return;
    snprintf(uid, sizeof(uid), "%u", (unsigned)getuid());
    add_text(s, "uid", uid);
    s->uid_is_there = true;
}

static void add_setting(void *arg, const char *flag, const char *value)
{
    add_uid_before(arg, flag);
    add_text(arg, flag, value);
}

void page_diag_configuration(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct settings s = { evbuffer_new(), "{", false };
    cv_settings_each(add_setting, &s);
    add_uid_before(&s, "~");
    evbuffer_add(s.out, "}\n", 2);
    page_answer(req, 200, text_type, s.out);
}

/* ---- /diag/tunnel -------------------------------------------------------------------------------------- */

struct links {
    struct evbuffer *out;
    size_t n;
};

/* As there, what is 0 is left out: the protocol http2, the index 0. */
static void add_link(void *arg, const struct cv_link *link)
{
    struct links *links = arg;
    if (link->state != CV_LINK_REGISTERED)
        return;
    evbuffer_add_printf(links->out, "%s{\"isConnected\":true%s,\"edgeAddress\":\"%s\"",
                        links->n++ ? "," : ",\"connections\":[",
                        strcmp(link->protocol, "quic") == 0 ? ",\"protocol\":1" : "", link->ip);
    if (link->index)
        evbuffer_add_printf(links->out, ",\"index\":%u", link->index);
    if (strcmp(link->tunnel, "second") == 0)
        evbuffer_add_printf(links->out, ",\"tunnel\":\"second\"");
    evbuffer_add(links->out, "}", 1);
}

void page_diag_tunnel(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct cv_status status;
    struct links links = { evbuffer_new(), 0 };
    cv_status(&status);
    evbuffer_add_printf(links.out, "{\"tunnelID\":\"%s\",\"connectorID\":\"%s\"", status.tunnel_id,
                        status.connector_id);
    cv_links_each(add_link, &links);
    evbuffer_add_printf(links.out, links.n ? "]}\n" : "}\n");
    page_answer(req, 200, text_type, links.out);
}

/* ---- /diag/system -------------------------------------------------------------------------------------- */

/* The number behind `name` in a file of /proc; 0 if it is not there. */
static unsigned long long proc_number(const char *file, const char *name)
{
    char line[256];
    unsigned long long n = 0;
    FILE *f = fopen(file, "re");
    while (f && n == 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), "%llu", &n);
    if (f)
        fclose(f);
    return n;
}

static void add_memory(struct evbuffer *out)
{
    unsigned long long total = proc_number("/proc/meminfo", "MemTotal:");
    evbuffer_add_printf(out, "\"memoryMaximum\":%llu,\"memoryCurrent\":%llu,", total,
                        total - proc_number("/proc/meminfo", "MemAvailable:"));
}

static void add_files(struct evbuffer *out)
{
    evbuffer_add_printf(out, "\"fileDescriptorMaximum\":%llu,\"fileDescriptorCurrent\":%llu,",
                        proc_number("/proc/sys/fs/file-max", ""), proc_number("/proc/sys/fs/file-nr", ""));
}

static const char *go_arch(const char *machine)
{
    return strcmp(machine, "x86_64") == 0 ? "amd64" : strcmp(machine, "aarch64") == 0 ? "arm64" : machine;
}

static void add_names(struct evbuffer *out)
{
    struct utsname u;
    uname(&u);
    const char *const pairs[][2] = {
        { "osSystem", u.sysname },     { "hostName", u.nodename },
        { "osVersion", u.release },    { "osRelease", u.version },
        { "architecture", u.machine }, { "cloudflaredVersion", "culvert " CV_VERSION },
        { "goVersion", "" },           { "goArch", go_arch(u.machine) }
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        add_pair(out, pairs[i][0], pairs[i][1]);
        evbuffer_add(out, ",", 1);
    }
}

/* Of the file system at / alone: others may be far away, and hang. Sizes in KiB. */
static void add_disk(struct evbuffer *out)
{
    char buffer[1024], name[256] = "/";
    struct mntent m;
    struct statvfs s;
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    while (mounts && getmntent_r(mounts, &m, buffer, sizeof(buffer)))
        if (strcmp(m.mnt_dir, "/") == 0)
            snprintf(name, sizeof(name), "%s", m.mnt_fsname);
    if (mounts)
        endmntent(mounts);
    if (statvfs("/", &s) != 0)
        memset(&s, 0, sizeof(s));
    unsigned long long block = s.f_frsize ? s.f_frsize : 1;
    evbuffer_add_printf(out, "\"disk\":[{\"name\":");
    page_add_json(out, cv_str_of(name));
    evbuffer_add_printf(out, ",\"sizeMaximum\":%llu,\"sizeCurrent\":%llu}]", s.f_blocks * block / 1024,
                        (s.f_blocks - s.f_bfree) * block / 1024);
}

void page_diag_system(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "{\"info\":{");
    add_memory(body);
    add_files(body);
    add_names(body);
    add_disk(body);
    evbuffer_add_printf(body, "},\"errors\":{}}\n");
    page_answer(req, 200, text_type, body);
}
