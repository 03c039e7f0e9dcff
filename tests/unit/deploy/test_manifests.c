/* test_manifests.c: deploy/ as the tools of Kubernetes render it: valid, fitting, the same by both ways, and as measured. */
#include "kubernetes.h"
#include "process.h"
#include "suite.h"
#include "yaml_file.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT SUITE_BUILD "/tests/manifests.yaml"

/* ---- running tools ------------------------------------------------------------------------------------ */

enum { ANY = -1 };

/* A shell's command: its exit status; what it says goes to stderr if that is not the wanted one. */
__attribute__((format(printf, 2, 3))) static int run(int wanted, const char *fmt, ...)
{
    char command[1024], path[1024], home[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    snprintf(path, sizeof(path), "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    snprintf(home, sizeof(home), "HOME=%s", getenv("HOME") ? getenv("HOME") : "/");
    struct process *p = process_start((const char *const[]){ "/bin/sh", "-ec", command, NULL },
                                      (const char *const[]){ path, home, NULL });
    int status = process_end(p, 60000);
    char *said = process_output(p);
    if (wanted != ANY && status != wanted)
        fprintf(stderr, "  %s\n  ended with %d\n%s", command, status, said);
    free(said);
    return status;
}

static bool have(const char *probe, const char *what)
{
    if (run(ANY, "%s", probe) == 0)
        return true;
    suite_skip("%s", what);
    return false;
}

static bool have_kubectl(void)
{
    return have("kubectl version --client | grep -q 'Kustomize Version'", "kubectl 1.24 or newer");
}

static bool have_helm(void)
{
    return have("helm version --short | grep -q '^v[3-9]'", "helm 3 or newer");
}

/* The objects of a file; free with yyjson_doc_free(). So with the two below. */
static yyjson_doc *manifest(const char *path)
{
    yyjson_doc *doc = yaml_file_read(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    return doc;
}

static yyjson_doc *kustomized(const char *overlay)
{
    CU_ASSERT_EQUAL_FATAL(run(0, "kubectl kustomize deploy/kustomize/%s >" OUT, overlay), 0);
    return manifest(OUT);
}

static yyjson_doc *helmed(const char *values)
{
    CU_ASSERT_EQUAL_FATAL(
        run(0, "helm template demo deploy/helm/example --namespace demo --values %s >" OUT, values), 0);
    return manifest(OUT);
}

/* ---- what is wrong with objects ----------------------------------------------------------------------- */

static void nothing_wrong(const char *where, struct cv_buf *wrong)
{
    CU_ASSERT_EQUAL(wrong->n, 0);
    if (wrong->n)
        fprintf(stderr, "  %s:\n%.*s", where, (int)wrong->n, (const char *)wrong->p);
    cv_buf_free(wrong);
}

/* Each culvert.ini among the objects is one that culvert takes. */
static void check_inis(yyjson_val *objects)
{
    static const char path[] = SUITE_BUILD "/tests/manifest.ini";
    yyjson_val *object;
    for (size_t i = 0; (object = yyjson_arr_get(objects, i)); i++) {
        const char *ini = yyjson_get_str(yyjson_ptr_get(object, "/data/culvert.ini"));
        if (!ini)
            continue;
        FILE *f = fopen(path, "we");
        CU_ASSERT_TRUE_FATAL(f && fputs(ini, f) >= 0 && fclose(f) == 0);
        CU_ASSERT_EQUAL(run(0, SUITE_BUILD "/culvert --check %s", path), 0);
    }
}

static void check_objects(const char *where, yyjson_doc *doc)
{
    struct cv_buf wrong = { 0 };
    yyjson_val *objects = yyjson_doc_get_root(doc);
    kubernetes_fields(objects, false, &wrong);
    kubernetes_fit(objects, &wrong);
    nothing_wrong(where, &wrong);
    check_inis(objects);
    yyjson_doc_free(doc);
}

static bool ends(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* ---- tests -------------------------------------------------------------------------------------------- */

static void kustomize_renders_objects_that_are_valid_and_fit(void)
{
    if (!have_kubectl())
        return;
    static const char *const overlays[] = { "example", "example-options" };
    for (size_t i = 0; i < sizeof(overlays) / sizeof(overlays[0]); i++)
        check_objects(overlays[i], kustomized(overlays[i]));
}

static void helm_renders_objects_that_are_valid_and_fit(void)
{
    if (!have_helm())
        return;
    glob_t files;
    CU_ASSERT_EQUAL_FATAL(glob("deploy/helm/example/values*.yaml", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        CU_ASSERT_EQUAL(
            run(0, "helm lint --quiet --strict deploy/helm/example --values %s", files.gl_pathv[i]), 0);
        check_objects(files.gl_pathv[i], helmed(files.gl_pathv[i]));
    }
    globfree(&files);
}

/* Also where neither tool is: the component's objects and patches, and whatever is no template, are read as they are. */
static void files_are_yaml_and_hold_no_unknown_fields(void)
{
    glob_t files;
    struct cv_buf wrong = { 0 };
    glob("deploy/kustomize/*/*.yaml", 0, NULL, &files);
    glob("deploy/kustomize/*/*/*.yaml", GLOB_APPEND, NULL, &files);
    glob("deploy/helm/*/*.yaml", GLOB_APPEND, NULL, &files);
    glob("deploy/helm/*/charts/*/*.yaml", GLOB_APPEND, NULL, &files);
    CU_ASSERT_TRUE(files.gl_pathc > 15);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        yyjson_doc *doc = manifest(files.gl_pathv[i]);
        yyjson_val *first = yyjson_arr_get_first(yyjson_doc_get_root(doc));
        const char *kind = yyjson_get_str(yyjson_obj_get(first, "kind"));
        if (kind && !ends(files.gl_pathv[i], "/kustomization.yaml"))
            kubernetes_fields(yyjson_doc_get_root(doc), true, &wrong);
        yyjson_doc_free(doc);
    }
    globfree(&files);
    nothing_wrong("deploy", &wrong);
}

static bool flags(yyjson_val *objects, bool fit, const char *line)
{
    struct cv_buf wrong = { 0 };
    (fit ? kubernetes_fit(objects, &wrong) : kubernetes_fields(objects, false, &wrong));
    cv_buf_add(&wrong, "", 1);
    bool found = strstr((const char *)wrong.p, line);
    if (!found)
        fprintf(stderr, "  without %s:\n%s", line, (const char *)wrong.p);
    cv_buf_free(&wrong);
    return found;
}

static void what_is_wrong_is_found(void)
{
    yyjson_doc *doc = manifest("tests/unit/deploy/wrong.yaml");
    yyjson_val *objects = yyjson_doc_get_root(doc);
    CU_ASSERT_TRUE(flags(objects, false, "Deployment/router.spec.replica: there is no such field"));
    CU_ASSERT_TRUE(flags(objects, false, "Deployment/router.spec.selector is missing"));
    CU_ASSERT_TRUE(flags(objects, false, "containers[0].image: image is wanted, not router:latest"));
    CU_ASSERT_TRUE(flags(objects, false, "limits.memory: quantity is wanted, not 1GiB"));
    CU_ASSERT_TRUE(flags(objects, false, "ports[0].containerPort: number is wanted"));
    CU_ASSERT_TRUE(flags(objects, false, "cidr: cidr is wanted, not 198.41.192.1/24"));
    CU_ASSERT_TRUE(flags(objects, false, "protocol: TCP|UDP|SCTP is wanted, not QUIC"));
    CU_ASSERT_TRUE(flags(objects, false, "Cronjob/x: there is no such kind (batch/v1 Cronjob)"));
    CU_ASSERT_TRUE(flags(objects, true, "NetworkPolicy/router: selects no pod"));
    CU_ASSERT_TRUE(flags(objects, true, "router: it has no port metrics"));
    CU_ASSERT_TRUE(flags(objects, true, "router: its securityContext leaves something open"));
    CU_ASSERT_TRUE(flags(objects, true, "router: there is no volume config"));
    CU_ASSERT_TRUE(flags(objects, true, "Deployment/router: its pods get a token"));
    CU_ASSERT_TRUE(flags(objects, true, "Deployment/router: there is no account culvert"));
    yyjson_doc_free(doc);
}

static void helm_refuses_values_that_are_none(void)
{
    if (!have_helm())
        return;
    static const char *const wrong[] = { "drainSecond=60", "image.tag=latest", "metricsPort=80",
                                         "networkPolicy.edge={x}" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CU_ASSERT_EQUAL(run(1, "helm template demo deploy/helm/example --set 'router.culvert.%s'", wrong[i]),
                        1);
}

/* One sidecar, told twice: what Kustomize makes of it is what Helm makes of it. */
static void both_ways_lead_to_the_same_sidecar(void)
{
    if (!have_kubectl() || !have_helm())
        return;
    yyjson_doc *a = kustomized("example"), *b = helmed("deploy/helm/example/values.yaml");
    yyjson_mut_doc *ours = yyjson_doc_mut_copy(b, NULL);
    yyjson_val *kustomize = kubernetes_container(yyjson_doc_get_root(a), "culvert");
    yyjson_mut_val *helm = yyjson_val_mut_copy(ours, kubernetes_container(yyjson_doc_get_root(b), "culvert"));
    yyjson_mut_obj_remove_key(helm, "imagePullPolicy"); /* Kubernetes' own default for an image with a tag */
    CU_ASSERT_TRUE(yyjson_mut_equals(yyjson_val_mut_copy(ours, kustomize), helm));
    static const char *const fields[] = { "terminationGracePeriodSeconds", "automountServiceAccountToken",
                                          "topologySpreadConstraints" };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        CU_ASSERT_TRUE(
            yyjson_equals(yyjson_obj_get(kubernetes_pod(yyjson_doc_get_root(a), "culvert"), fields[i]),
                          yyjson_obj_get(kubernetes_pod(yyjson_doc_get_root(b), "culvert"), fields[i])));
    yyjson_val *one = kubernetes_object(yyjson_doc_get_root(a), "NetworkPolicy", "culvert");
    yyjson_val *other = kubernetes_object(yyjson_doc_get_root(b), "NetworkPolicy", "demo-culvert");
    CU_ASSERT_TRUE(yyjson_equals(yyjson_obj_get(one, "spec"), yyjson_obj_get(other, "spec")));
    yyjson_mut_doc_free(ours);
    yyjson_doc_free(a);
    yyjson_doc_free(b);
}

/* The value of | `name` | `value` | in the manual's table. */
static void measured(const char *name, char out[static 32])
{
    char line[512], key[32], value[32];
    FILE *f = fopen("docs/performance.md", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    *out = '\0';
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "| `%31[^`]` | `%31[^`]`", key, value) == 2 && strcmp(key, name) == 0)
            memcpy(out, value, sizeof(value));
    fclose(f);
}

static void resources_are_those_of_the_manual(void)
{
    static const char *const names[][2] = { { "requests.cpu", "/resources/requests/cpu" },
                                            { "requests.memory", "/resources/requests/memory" },
                                            { "limits.memory", "/resources/limits/memory" } };
    yyjson_doc *a = manifest("deploy/kustomize/components/culvert-sidecar/sidecar.yaml");
    yyjson_doc *b = manifest("deploy/helm/culvert/values.yaml");
    yyjson_val *sidecar = kubernetes_container(yyjson_doc_get_root(a), "culvert");
    yyjson_val *values = yyjson_arr_get_first(yyjson_doc_get_root(b));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char figure[32];
        measured(names[i][0], figure);
        CU_ASSERT_TRUE(yyjson_equals_str(yyjson_ptr_get(sidecar, names[i][1]), figure));
        CU_ASSERT_TRUE(yyjson_equals_str(yyjson_ptr_get(values, names[i][1]), figure));
    }
    yyjson_doc_free(a);
    yyjson_doc_free(b);
}

/* The operator's form holds the rules that promtool has checked. */
static void alerts_are_those_of_prometheus(void)
{
    yyjson_doc *rules = manifest("deploy/prometheus/culvert.rules.yml");
    yyjson_doc *theirs = manifest("deploy/kustomize/components/culvert-alerts/prometheusrule.yaml");
    yyjson_val *groups = yyjson_ptr_get(yyjson_doc_get_root(rules), "/0/groups");
    CU_ASSERT_TRUE(yyjson_arr_size(groups) > 0);
    CU_ASSERT_TRUE(yyjson_equals(groups, yyjson_ptr_get(yyjson_doc_get_root(theirs), "/0/spec/groups")));
    yyjson_doc_free(theirs);
    if (have_helm()) {
        theirs = helmed("deploy/helm/example/values-options.yaml");
        yyjson_val *object = kubernetes_object(yyjson_doc_get_root(theirs), "PrometheusRule", "demo-culvert");
        CU_ASSERT_TRUE(yyjson_equals(groups, yyjson_ptr_get(object, "/spec/groups")));
        yyjson_doc_free(theirs);
    }
    yyjson_doc_free(rules);
}

static void versions_are_the_programs(void)
{
    yyjson_doc *a = manifest("deploy/kustomize/components/culvert-sidecar/sidecar.yaml");
    yyjson_doc *b = manifest("deploy/helm/culvert/values.yaml"),
               *c = manifest("deploy/helm/culvert/Chart.yaml");
    yyjson_val *values = yyjson_arr_get_first(yyjson_doc_get_root(b)),
               *chart = yyjson_arr_get_first(yyjson_doc_get_root(c));
    yyjson_val *sidecar = kubernetes_container(yyjson_doc_get_root(a), "culvert");
    CU_ASSERT_TRUE(yyjson_equals_str(yyjson_obj_get(sidecar, "image"), "culvert:" CV_VERSION));
    CU_ASSERT_TRUE(yyjson_equals_str(yyjson_ptr_get(values, "/image/tag"), CV_VERSION));
    CU_ASSERT_TRUE(yyjson_equals_str(yyjson_obj_get(chart, "appVersion"), CV_VERSION));
    yyjson_doc_free(a);
    yyjson_doc_free(b);
    yyjson_doc_free(c);
}

SUITE(deploy, TEST(files_are_yaml_and_hold_no_unknown_fields), TEST(what_is_wrong_is_found),
      TEST(resources_are_those_of_the_manual), TEST(versions_are_the_programs),
      TEST(alerts_are_those_of_prometheus), TEST(kustomize_renders_objects_that_are_valid_and_fit),
      TEST(helm_renders_objects_that_are_valid_and_fit), TEST(helm_refuses_values_that_are_none),
      TEST(both_ways_lead_to_the_same_sidecar));
