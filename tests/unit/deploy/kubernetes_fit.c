/* kubernetes_fit.c: whether objects fit each other, and keep to what is expected of every object. */
#include "kubernetes.h"

#include <stdio.h>
#include <string.h>

struct fit {
    yyjson_val *objects;
    struct cv_buf *wrong;
};

/* What a JSON pointer leads to, as text: "" if there is none. */
static const char *text(yyjson_val *v, const char *pointer)
{
    const char *s = yyjson_get_str(yyjson_ptr_get(v, pointer));
    return s ? s : "";
}

static bool is(yyjson_val *object, const char *kind)
{
    return strcmp(text(object, "/kind"), kind) == 0;
}

const char *kubernetes_name(yyjson_val *object)
{
    return text(object, "/metadata/name");
}

yyjson_val *kubernetes_object(yyjson_val *objects, const char *kind, const char *name)
{
    yyjson_val *object;
    for (size_t i = 0; (object = yyjson_arr_get(objects, i)); i++)
        if (is(object, kind) && strncmp(kubernetes_name(object), name, strlen(name)) == 0)
            return object;
    return NULL;
}

static yyjson_val *pod_of(yyjson_val *deployment)
{
    return yyjson_ptr_get(deployment, "/spec/template/spec");
}

/* The i-th container of a pod, sidecars first. */
static yyjson_val *container_at(yyjson_val *pod, size_t i)
{
    yyjson_val *first = yyjson_obj_get(pod, "initContainers");
    size_t n = yyjson_arr_size(first);
    return i < n ? yyjson_arr_get(first, i) : yyjson_arr_get(yyjson_obj_get(pod, "containers"), i - n);
}

yyjson_val *kubernetes_pod(yyjson_val *objects, const char *container)
{
    yyjson_val *object, *c;
    for (size_t i = 0; (object = yyjson_arr_get(objects, i)); i++)
        for (size_t k = 0; is(object, "Deployment") && (c = container_at(pod_of(object), k)); k++)
            if (strcmp(text(c, "/name"), container) == 0)
                return pod_of(object);
    return NULL;
}

yyjson_val *kubernetes_container(yyjson_val *objects, const char *name)
{
    yyjson_val *c, *pod = kubernetes_pod(objects, name);
    for (size_t k = 0; (c = container_at(pod, k)); k++)
        if (strcmp(text(c, "/name"), name) == 0)
            return c;
    return NULL;
}

/* The item of a list that has this name. */
static yyjson_val *named(yyjson_val *list, const char *name)
{
    yyjson_val *item;
    for (size_t i = 0; (item = yyjson_arr_get(list, i)); i++)
        if (strcmp(text(item, "/name"), name) == 0)
            return item;
    return NULL;
}

/* ---- selectors ---------------------------------------------------------------------------------------- */

static bool selects(yyjson_val *labels, yyjson_val *of)
{
    yyjson_val *key;
    yyjson_obj_iter each = yyjson_obj_iter_with(labels);
    while ((key = yyjson_obj_iter_next(&each)))
        if (!yyjson_equals(yyjson_obj_iter_get_val(key),
                           yyjson_obj_getn(of, yyjson_get_str(key), yyjson_get_len(key))))
            return false;
    return yyjson_obj_size(labels) > 0;
}

/* The pod that these labels select; NULL: none. */
static yyjson_val *selected(struct fit *f, yyjson_val *labels)
{
    yyjson_val *object;
    for (size_t i = 0; (object = yyjson_arr_get(f->objects, i)); i++)
        if (is(object, "Deployment") &&
            selects(labels, yyjson_ptr_get(object, "/spec/template/metadata/labels")))
            return pod_of(object);
    return NULL;
}

/* Whether a container of the pod has that port, by name or number. */
static bool listens(yyjson_val *pod, yyjson_val *port)
{
    yyjson_val *c, *p;
    for (size_t i = 0; (c = container_at(pod, i)); i++)
        for (size_t k = 0; (p = yyjson_arr_get(yyjson_obj_get(c, "ports"), k)); k++)
            if (yyjson_equals(yyjson_obj_get(p, yyjson_is_str(port) ? "name" : "containerPort"), port))
                return true;
    return false;
}

static void fit_selector(struct fit *f, yyjson_val *object, const char *pointer)
{
    if (!selected(f, yyjson_ptr_get(object, pointer)))
        kubernetes_say(f->wrong, "%s/%s: selects no pod", text(object, "/kind"), kubernetes_name(object));
}

static void fit_service(struct fit *f, yyjson_val *service)
{
    yyjson_val *port, *pod = selected(f, yyjson_ptr_get(service, "/spec/selector"));
    fit_selector(f, service, "/spec/selector");
    for (size_t i = 0; (port = yyjson_arr_get(yyjson_ptr_get(service, "/spec/ports"), i)); i++)
        if (!listens(pod, yyjson_obj_get(port, "targetPort")))
            kubernetes_say(f->wrong, "Service/%s: its pods have no such port", kubernetes_name(service));
}

/* Rules between pods lead to pods that are there, and to ports that they have. */
static void fit_peers(struct fit *f, yyjson_val *policy, yyjson_val *rule, yyjson_val *peers,
                      yyjson_val *self)
{
    yyjson_val *peer, *port;
    for (size_t i = 0; (peer = yyjson_arr_get(peers, i)); i++) {
        yyjson_val *labels = yyjson_ptr_get(peer, "/podSelector/matchLabels");
        yyjson_val *pod = labels ? selected(f, labels) : self;
        for (size_t k = 0; (labels || self) && (port = yyjson_arr_get(yyjson_obj_get(rule, "ports"), k)); k++)
            if (!listens(self ? self : pod, yyjson_obj_get(port, "port")))
                kubernetes_say(f->wrong, "NetworkPolicy/%s: no pod has that port", kubernetes_name(policy));
    }
}

static void fit_policy(struct fit *f, yyjson_val *policy)
{
    yyjson_val *rule, *self = selected(f, yyjson_ptr_get(policy, "/spec/podSelector/matchLabels"));
    fit_selector(f, policy, "/spec/podSelector/matchLabels");
    for (size_t i = 0; (rule = yyjson_arr_get(yyjson_ptr_get(policy, "/spec/ingress"), i)); i++)
        fit_peers(f, policy, rule, yyjson_obj_get(rule, "from"), self);
    for (size_t i = 0; (rule = yyjson_arr_get(yyjson_ptr_get(policy, "/spec/egress"), i)); i++)
        fit_peers(f, policy, rule, yyjson_obj_get(rule, "to"), NULL);
}

/* ---- pods --------------------------------------------------------------------------------------------- */

static const char *const probes[] = { "/startupProbe/httpGet/port", "/livenessProbe/httpGet/port",
                                      "/readinessProbe/httpGet/port" };

static void fit_ports(struct fit *f, yyjson_val *c)
{
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        const char *name = text(c, probes[i]);
        if (*name && !named(yyjson_obj_get(c, "ports"), name))
            kubernetes_say(f->wrong, "%s: it has no port %s", text(c, "/name"), name);
    }
}

/* As Kubernetes' profile "restricted" wants it, and a read-only root. */
static void fit_hardening(struct fit *f, yyjson_val *c)
{
    yyjson_val *s = yyjson_obj_get(c, "securityContext");
    bool hard = yyjson_is_false(yyjson_obj_get(s, "allowPrivilegeEscalation")) &&
                yyjson_is_true(yyjson_obj_get(s, "readOnlyRootFilesystem")) &&
                yyjson_is_true(yyjson_obj_get(s, "runAsNonRoot")) &&
                yyjson_get_sint(yyjson_obj_get(s, "runAsUser")) > 0 &&
                strcmp(text(s, "/capabilities/drop/0"), "ALL") == 0 &&
                !yyjson_ptr_get(s, "/capabilities/add") &&
                strcmp(text(s, "/seccompProfile/type"), "RuntimeDefault") == 0;
    if (!hard)
        kubernetes_say(f->wrong, "%s: its securityContext leaves something open", text(c, "/name"));
}

static void fit_resources(struct fit *f, yyjson_val *c)
{
    yyjson_val *r = yyjson_obj_get(c, "resources");
    if (!yyjson_ptr_get(r, "/requests/cpu") || !yyjson_ptr_get(r, "/requests/memory") ||
        !yyjson_ptr_get(r, "/limits/memory"))
        kubernetes_say(f->wrong, "%s: requests of cpu and memory, and a limit of memory, are wanted",
                       text(c, "/name"));
}

static void fit_mounts(struct fit *f, yyjson_val *pod, yyjson_val *c)
{
    yyjson_val *mount;
    for (size_t i = 0; (mount = yyjson_arr_get(yyjson_obj_get(c, "volumeMounts"), i)); i++)
        if (!named(yyjson_obj_get(pod, "volumes"), text(mount, "/name")))
            kubernetes_say(f->wrong, "%s: there is no volume %s", text(c, "/name"), text(mount, "/name"));
}

static bool mounted(yyjson_val *pod, const char *volume)
{
    yyjson_val *c;
    for (size_t i = 0; (c = container_at(pod, i)); i++)
        if (named(yyjson_obj_get(c, "volumeMounts"), volume))
            return true;
    return false;
}

/* A configuration is among the objects; a Secret may come from elsewhere. */
static void fit_volumes(struct fit *f, yyjson_val *pod)
{
    yyjson_val *volume;
    for (size_t i = 0; (volume = yyjson_arr_get(yyjson_obj_get(pod, "volumes"), i)); i++) {
        const char *name = text(volume, "/name"), *config = text(volume, "/configMap/name");
        if (!mounted(pod, name))
            kubernetes_say(f->wrong, "volume %s: nothing mounts it", name);
        if (*config && !kubernetes_object(f->objects, "ConfigMap", config))
            kubernetes_say(f->wrong, "volume %s: there is no ConfigMap %s", name, config);
    }
}

static void fit_deployment(struct fit *f, yyjson_val *deployment)
{
    yyjson_val *c, *pod = pod_of(deployment);
    const char *account = text(pod, "/serviceAccountName");
    if (!selects(yyjson_ptr_get(deployment, "/spec/selector/matchLabels"),
                 yyjson_ptr_get(deployment, "/spec/template/metadata/labels")))
        kubernetes_say(f->wrong, "Deployment/%s: does not select its own pods", kubernetes_name(deployment));
    if (*account && !kubernetes_object(f->objects, "ServiceAccount", account))
        kubernetes_say(f->wrong, "Deployment/%s: there is no account %s", kubernetes_name(deployment),
                       account);
    if (!yyjson_is_false(yyjson_obj_get(pod, "automountServiceAccountToken")))
        kubernetes_say(f->wrong, "Deployment/%s: its pods get a token", kubernetes_name(deployment));
    for (size_t i = 0; (c = container_at(pod, i)); i++) {
        fit_ports(f, c);
        fit_hardening(f, c);
        fit_resources(f, c);
        fit_mounts(f, pod, c);
    }
    fit_volumes(f, pod);
}

/* ---- all ---------------------------------------------------------------------------------------------- */

static void fit_labels(struct fit *f, yyjson_val *object)
{
    static const char *const wanted[] = { "app.kubernetes.io/name", "app.kubernetes.io/part-of" };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (!yyjson_obj_get(yyjson_ptr_get(object, "/metadata/labels"), wanted[i]))
            kubernetes_say(f->wrong, "%s/%s: has no label %s", text(object, "/kind"), kubernetes_name(object),
                           wanted[i]);
}

void kubernetes_fit(yyjson_val *objects, struct cv_buf *wrong)
{
    yyjson_val *object;
    struct fit f = { objects, wrong };
    for (size_t i = 0; (object = yyjson_arr_get(objects, i)); i++) {
        if (yyjson_is_null(object))
            continue; /* a template that rendered nothing */
        fit_labels(&f, object);
        if (is(object, "Deployment"))
            fit_deployment(&f, object);
        else if (is(object, "Service"))
            fit_service(&f, object);
        else if (is(object, "NetworkPolicy"))
            fit_policy(&f, object);
        else if (is(object, "PodDisruptionBudget") || is(object, "PodMonitor"))
            fit_selector(&f, object, "/spec/selector/matchLabels");
    }
}
