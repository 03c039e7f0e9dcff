/* test_74_status.c: the status page: small, self-contained, without secrets, and a browser can show it. */
#include "scene.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

enum { PAGE_MAX = 60 * 1024 };

static const char *const parts[] = { "/", "/status.css", "/status.js" };
enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

static void it_is_small_and_takes_nothing_from_elsewhere(void)
{
    struct scene *t = scene_start(&(const struct setup){ .transport = "http2" });
    size_t bytes = 0;
    for (size_t i = 0; i < PARTS; i++) {
        struct answer a = scene_metrics(t, parts[i]);
        CHECK_STATUS(a, 200);
        CHECK_HOLDS(a.head,
                    "Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; ");
        CHECK_HOLDS(a.head, "X-Content-Type-Options: nosniff\r\n");
        bytes += a.body.n;
        for (const char *at = answer_text(&a); (at = strstr(at, "://")); at += 3)
            CU_ASSERT_EQUAL(strncmp(at, "://www.w3.org/2000/svg", 22),
                            0); /* the name of a format, not a place */
        CU_ASSERT_PTR_NULL(strstr(answer_text(&a), "innerHTML"));
        answer_free(&a);
    }
    CU_ASSERT_TRUE(bytes > 1000 && bytes < PAGE_MAX);
    scene_stop(t);
}

static yyjson_doc *status_of(struct scene *t)
{
    struct answer a = scene_metrics(t, "/status.json");
    CHECK_STATUS(a, 200);
    yyjson_doc *doc = yyjson_read(answer_text(&a), a.body.n, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    CU_ASSERT_PTR_NULL(strstr(answer_text(&a), "hidden"));
    answer_free(&a);
    return doc;
}

static double figure(yyjson_val *v, const char *name)
{
    return yyjson_get_num(yyjson_obj_get(v, name));
}

static const char *string(yyjson_val *v, const char *name)
{
    const char *s = yyjson_get_str(yyjson_obj_get(v, name));
    return s ? s : "";
}

static const char rules[] =
    "{\"ingress\":[{\"hostname\":\"api.example.com\",\"path\":\"^/v1/\",\"service\":\"$ORIGIN\"},"
    "{\"hostname\":\"ui.example.com\",\"service\":\"http://user:hidden@127.0.0.1:1\"},"
    "{\"service\":\"http_status:404\"}]}";

static void it_tells_what_there_is_and_what_was_served(void)
{
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(const struct setup){ .transport = transport, .connections = 2, .rules = rules });
        for (int i = 0; i < 3; i++) {
            struct answer a = scene_visit(t, "GET", "/v1/models", "Host: api.example.com\r\n", NULL, 0);
            CHECK_STATUS(a, 200);
            answer_free(&a);
        }
        struct answer a = scene_visit(t, "GET", "/", "Host: ui.example.com\r\n", NULL, 0);
        CHECK_STATUS(a, 502);
        answer_free(&a);
        yyjson_doc *doc;
        for (long long until = now_in_ms() + PATIENCE_MS;
             ;) { /* over QUIC a request ends with the edge's acknowledgement */
            doc = status_of(t);
            yyjson_val *first = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "rules"));
            if (figure(first, "requests") >= 3 || now_in_ms() > until)
                break;
            yyjson_doc_free(doc);
            sleep_ms(20);
        }
        yyjson_val *root = yyjson_doc_get_root(doc), *list = yyjson_obj_get(root, "rules");
        CU_ASSERT_TRUE(yyjson_is_true(yyjson_obj_get(root, "ready")));
        CU_ASSERT_EQUAL(figure(root, "registered"), 2);
        CU_ASSERT_EQUAL(yyjson_arr_size(yyjson_obj_get(root, "connections")), 2);
        yyjson_val *link = yyjson_arr_get_first(yyjson_obj_get(root, "connections"));
        CU_ASSERT_STRING_EQUAL(string(link, "state"), "registered");
        CU_ASSERT_STRING_EQUAL(string(link, "protocol"), transport);
        CU_ASSERT_STRING_EQUAL(string(link, "location"), "sim01");
        CU_ASSERT_EQUAL(yyjson_arr_size(list), 3);
        CU_ASSERT_STRING_EQUAL(string(yyjson_arr_get(list, 0), "path"), "^/v1/");
        CU_ASSERT_EQUAL(figure(yyjson_arr_get(list, 0), "requests"), 3);
        CU_ASSERT_EQUAL(figure(yyjson_arr_get(list, 0), "errors"), 0);
        CU_ASSERT_STRING_EQUAL(string(yyjson_arr_get(list, 1), "service"), "http://***@127.0.0.1:1");
        CU_ASSERT_EQUAL(figure(yyjson_arr_get(list, 1), "errors"), 1);
        CU_ASSERT_TRUE(yyjson_arr_size(yyjson_obj_get(root, "modules")) >= 5);
        CU_ASSERT_TRUE(yyjson_arr_size(yyjson_obj_get(root, "events")) >= 2);
        yyjson_doc_free(doc);
        scene_stop(t);
    }
}

static void it_can_be_switched_off(void)
{
    struct scene *t = scene_start(
        &(const struct setup){ .transport = "http2", .ini = "[metrics_prom]\nstatus_page = no\n" });
    for (size_t i = 0; i < PARTS; i++) {
        struct answer a = scene_metrics(t, parts[i]);
        CHECK_STATUS(a, 404);
        answer_free(&a);
    }
    struct answer a = scene_metrics(t, "/status.json");
    CHECK_STATUS(a, 404);
    answer_free(&a);
    scene_stop(t);
}

/* ---- a browser ------------------------------------------------------------------------------------------ */

static const char *browser(void)
{
    static const char *const paths[] = { "/usr/bin/chromium", "/usr/bin/chromium-browser",
                                         "/usr/bin/google-chrome" };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    return NULL;
}

/* What the browser has made of the page after some seconds of its own time, and a picture of it in build/screenshots. */
static char *shown(const struct scene *t, const char *name, const char *size, const char *more)
{
    char url[64], profile[96], picture[96], window[48];
    snprintf(url, sizeof(url), "http://%s/", t->metrics);
    snprintf(profile, sizeof(profile), "--user-data-dir=%s/browser", t->dir);
    snprintf(window, sizeof(window), "--window-size=%s", size);
    snprintf(picture, sizeof(picture), "--screenshot=" SUITE_BUILD "/screenshots/%s.png", name);
    const char *argv[] = { browser(),
                           "--headless",
                           "--no-sandbox",
                           "--disable-gpu",
                           "--hide-scrollbars",
                           profile,
                           window,
                           "--virtual-time-budget=4000",
                           picture,
                           "--dump-dom",
                           more,
                           url,
                           NULL };
    struct process *p = process_start(argv, (const char *const[]){ "PATH=/usr/bin:/bin", "HOME=/tmp", NULL });
    CU_ASSERT_EQUAL(process_end(p, 3 * PATIENCE_MS), 0);
    return process_output(p);
}

static void a_browser_shows_it_light_dark_and_on_a_phone(void)
{
    static const struct {
        const char *name, *size, *more;
    } views[] = { { "status-light", "1200,1000", "--disable-dev-shm-usage" },
                  { "status-dark", "1200,1000", "--force-dark-mode" },
                  { "status-phone", "390,1400", "--disable-dev-shm-usage" } };
    if (!browser()) {
        suite_skip("no Chromium: the status page is not looked at by a browser");
        return;
    }
    mkdir(SUITE_BUILD "/screenshots", 0777);
    struct scene *t =
        scene_start(&(const struct setup){ .transport = "quic", .connections = 4, .rules = rules });
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
        char *dom = shown(t, views[i].name, views[i].size, views[i].more);
        CHECK_HOLDS(dom, "Serving</p>");
        CHECK_HOLDS(dom, "sim01 · quic");
        CHECK_HOLDS(dom, "api.example.com ^/v1/");
        CU_ASSERT_PTR_NULL(strstr(dom, "Content Security Policy")); /* nothing was refused */
        free(dom);
    }
    scene_stop(t);
}

SUITE(system_74_status, TEST(it_is_small_and_takes_nothing_from_elsewhere),
      TEST(it_tells_what_there_is_and_what_was_served), TEST(it_can_be_switched_off),
      TEST(a_browser_shows_it_light_dark_and_on_a_phone));
