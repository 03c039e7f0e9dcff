/* loader.c: modules: where they are found, and everything that makes one unfit to be used. */
#include "boot.h"

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATIC_MAX = 64, NAMES_MAX = 256 };

static const struct cv_module *built_in[STATIC_MAX];
static size_t n_built_in;

void loader_add_static(const struct cv_module *m)
{
    CV_ASSERT(n_built_in < STATIC_MAX);
    built_in[n_built_in++] = m;
}

/* ---- where to look ------------------------------------------------------------------------------------- */

static void add_dir(struct loader *l, const char *dir, size_t n)
{
    l->dirs = cv_xrealloc(l->dirs, l->n + 1, sizeof(*l->dirs));
    l->dirs[l->n++] = cv_xmemdup0(dir, n);
}

static bool beside_program(char *dir, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    if (n <= 0)
        return false;
    dir[n] = '\0';
    char *slash = strrchr(dir, '/');
    struct stat st;
    if (!slash || (size_t)(slash - dir) + sizeof("/modules") > size)
        return false;
    memcpy(slash, "/modules", sizeof("/modules"));
    return stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
}

void loader_init(struct loader *l, struct cv_list path)
{
    *l = (struct loader){ 0 };
    char dir[PATH_MAX];
    for (size_t i = 0; i < path.n; i++)
        add_dir(l, path.v[i].p, path.v[i].n);
    if (path.n == 0 && beside_program(dir, sizeof(dir)))
        add_dir(l, dir, strlen(dir));
    else if (path.n == 0)
        add_dir(l, CV_MODULE_DIR, strlen(CV_MODULE_DIR));
}

void loader_free(struct loader *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->dirs[i]);
    free(l->dirs);
    *l = (struct loader){ 0 };
}

static bool is_name(const char *name, size_t n)
{
    return n > 0 && n <= MODULE_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") >= n;
}

struct names {
    char v[NAMES_MAX][MODULE_NAME_MAX + 1];
    size_t n;
};

static void add_name(struct names *names, const char *name, size_t n)
{
    if (names->n == NAMES_MAX || !is_name(name, n))
        return;
    char *to = names->v[names->n];
    memcpy(to, name, n);
    to[n] = '\0';
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->v[i], to) == 0)
            return;
    names->n++;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

void loader_each(const struct loader *l, void (*fn)(void *arg, const char *name), void *arg)
{
    struct names *names = cv_xcalloc(1, sizeof(*names));
    for (size_t i = 0; i < n_built_in; i++)
        add_name(names, built_in[i]->name, strlen(built_in[i]->name));
    for (size_t i = 0; i < l->n; i++) {
        DIR *dir = opendir(l->dirs[i]);
        for (struct dirent *e; dir && (e = readdir(dir));) {
            size_t n = strlen(e->d_name);
            if (n > 3 && strcmp(e->d_name + n - 3, ".so") == 0)
                add_name(names, e->d_name, n - 3);
        }
        if (dir)
            closedir(dir);
    }
    qsort(names->v, names->n, sizeof(names->v[0]), by_text);
    for (size_t i = 0; i < names->n; i++)
        fn(arg, names->v[i]);
    free(names);
}

/* ---- is it a whole module? ----------------------------------------------------------------------------- */

const char *module_kind(const struct cv_module *m)
{
    const struct {
        const void *ops;
        const char *kind;
    } kinds[] = { { m->edge, "edge" },
                  { m->origin, "origin" },
                  { m->filter, "filter" },
                  { m->gate, "gate" },
                  { m->observer, "observer" } };
    const char *kind = NULL;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].ops && kind)
            return NULL;
        if (kinds[i].ops)
            kind = kinds[i].kind;
    }
    return kind;
}

static const char *missing_callback(const struct cv_module *m)
{
    if (m->edge)
        return !m->edge->head                         ? "head"
               : m->edge->protocol && !m->edge->dial  ? "dial"
               : m->edge->protocol && !m->edge->close ? "close"
                                                      : NULL;
    if (m->origin)
        return !m->origin->match ? "match" : !m->origin->open ? "open" : NULL;
    if (m->filter)
        return !m->filter->request && !m->filter->response ? "request or response" : NULL;
    if (m->gate)
        return !m->gate->admit ? "admit" : NULL;
    return NULL; /* an observer that only exports needs none */
}

/* Reads no field before those that say whether it is there. */
static enum cv_error check_module(const struct cv_module *m, const char *name, const char *file,
                                  struct cv_err *err)
{
    struct remark why;
    if (m->magic != CV_MAGIC)
        return cv_fail(err, CV_E_CONF, "%s: cv_module_%s is not made by CV_MODULE(): wrong magic; rebuild it",
                       file, name);
    if (m->abi != CV_ABI)
        return cv_fail(
            err, CV_E_CONF,
            "%s: made for module ABI %u, this culvert has %u; rebuild it with this culvert's headers", file,
            m->abi, CV_ABI);
    if (m->size != sizeof(*m))
        return cv_fail(
            err, CV_E_CONF,
            "%s: its struct cv_module has %u bytes, here it has %zu; rebuild it with this culvert's headers",
            file, m->size, sizeof(*m));
    if (!m->name || strcmp(m->name, name) != 0)
        return cv_fail(err, CV_E_CONF,
                       "%s: the module inside is called %.40s; name the file and the section like it", file,
                       m->name ? m->name : "nothing");
    const char *kind = module_kind(m);
    if (!kind)
        return cv_fail(
            err, CV_E_CONF,
            "%s: %s of .edge, .origin, .filter, .gate and .observer %s set; exactly one makes a module", file,
            m->edge || m->origin || m->filter || m->gate || m->observer ? "more than one" : "none",
            m->edge || m->origin || m->filter || m->gate || m->observer ? "are" : "is");
    if (missing_callback(m))
        return cv_fail(err, CV_E_CONF, "%s: .%s has no callback %s, which that kind needs", file, kind,
                       missing_callback(m));
    if (!options_sound(m->options, m->conf_size, &why))
        return cv_fail(err, CV_E_CONF, "%s: its table of options is wrong: %s", file, why.text);
    for (const struct cv_option *o = m->options; o && o->name; o++)
        if (strcmp(o->name, "enabled") == 0)
            return cv_fail(err, CV_E_CONF,
                           "%s: its table of options is wrong: \"enabled\" belongs to the core", file);
    return CV_OK;
}

/* ---- finding one --------------------------------------------------------------------------------------- */

static enum cv_error open_file(const char *file, const char *name, const struct cv_module **m,
                               struct cv_err *err)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return cv_fail(err, CV_E_CONF, "%s: cannot be loaded: %s; build it together with this culvert", file,
                       dlerror());
    char symbol[MODULE_NAME_MAX + 16];
    snprintf(symbol, sizeof(symbol), "cv_module_%s", name);
    *m = dlsym(handle, symbol);
    enum cv_error error =
        *m ? check_module(*m, name, file, err)
           : cv_fail(err, CV_E_CONF,
                     "%s: has no symbol %s; is it a culvert module, and CV_MODULE(%s, …) its name?", file,
                     symbol, name);
    if (error)
        dlclose(handle);
    return error;
}

static void suggest_name(void *arg, const char *name)
{
    suggest(arg, name);
}

static enum cv_error not_found(const struct loader *l, const char *name, struct cv_err *err)
{
    char dirs[256] = "";
    for (size_t i = 0, n = 0; i < l->n && n < sizeof(dirs); i++)
        n += (size_t)snprintf(dirs + n, sizeof(dirs) - n, "%s%s", i ? ", " : "", l->dirs[i]);
    struct suggestion s = { .word = name };
    static const char *const core[] = { "culvert", "log", "limits", "tunnel" };
    for (size_t i = 0; i < sizeof(core) / sizeof(core[0]); i++)
        suggest(&s, core[i]);
    loader_each(l, suggest_name, &s);
    if (*s.best)
        return cv_fail(err, CV_E_CONF, "there is no module %s.so in %s; did you mean [%.40s]?", name, dirs,
                       s.best);
    return cv_fail(err, CV_E_CONF, "there is no module %s.so in %s", name, dirs);
}

enum cv_error loader_find(const struct loader *l, const char *name, const struct cv_module **m,
                          struct cv_err *err)
{
    if (!is_name(name, strlen(name)))
        return cv_fail(err, CV_E_CONF, "\"%.60s\" cannot be a module: names are made of a-z, 0-9 and _",
                       name);
    for (size_t i = 0; i < n_built_in; i++)
        if (strcmp(built_in[i]->name, name) == 0) {
            *m = built_in[i];
            return check_module(*m, name, "built-in module", err);
        }
    for (size_t i = 0; i < l->n; i++) {
        char file[PATH_MAX];
        int n = snprintf(file, sizeof(file), "%s/%s.so", l->dirs[i], name);
        if (n > 0 && (size_t)n < sizeof(file) && access(file, F_OK) == 0)
            return open_file(file, name, m, err);
    }
    return not_found(l, name, err);
}
