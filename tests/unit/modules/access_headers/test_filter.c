/* test_filter.c: the filter on a worker turned by hand, with keys from a server over real TLS. */
#include "harness.h"
#include "process.h"
#include "rig.h"

#include "request/route.h"

#include <sys/stat.h>
#include <unistd.h>

extern const struct cv_module cv_module_access_headers;

static const struct cv_str audience[] = { { AUD, sizeof(AUD) - 1 } };
static char dir[] = "/tmp/culvert-access-XXXXXX", ca_file[64], url[64], keys_file[64], hashes_file[64];

struct bed {
    struct harness *h;
    struct rig_server *server;
    struct access_conf conf;
    struct cv_instance instance;
};

/* ---- bed --------------------------------------------------------------------------------------------------- */

static struct access_conf defaults(void)
{
    return (struct access_conf){
        .team = "testteam",
        .audience = { audience, 1 },
        .assertion = ACCESS_REQUIRED,
        .skew = { 30000 },
        .bearer_keys = "",
        .x_api_key = true,
        .strip_client = true,
        .rule_access = true,
        .keys_file = "",
        .certs_url = url,
        .certs_ca = ca_file,
        .refresh = { 3600000 },
        .stale = { 86400000 },
        .refetch = { 60000 },
        .fetch_limit = { 700 },
    };
}

static void bed_files(void)
{
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
    snprintf(keys_file, sizeof(keys_file), "%s/keys.json", dir);
    snprintf(hashes_file, sizeof(hashes_file), "%s/hashes", dir);
}

static void bed_start(struct bed *b, struct access_conf conf)
{
    struct cv_err err = { "" };
    b->conf = conf;
    b->h = harness_new(1);
    b->h->origin_responds = true;
    b->h->chain.slot_bytes = 128;
    b->h->chain.enforces_access = true;
    b->instance =
        (struct cv_instance){ .module = &cv_module_access_headers, .name = "access_headers", .id = 2 };
    struct cv_self *self = &b->h->selfs[2];
    *self = (struct cv_self){ .conf = &b->conf, .worker = b->h->worker, .instance = &b->instance };
    CU_ASSERT_EQUAL(cv_module_access_headers.check(&b->conf, &err), CV_OK);
    CU_ASSERT_EQUAL_FATAL(cv_module_access_headers.init(self, &err), CV_OK);
    CU_ASSERT_EQUAL_FATAL(cv_module_access_headers.start(self, &err), CV_OK);
}

static void bed_new(struct bed *b)
{
    bed_files();
    *b = (struct bed){ .server = rig_server_start(ca_file) };
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/cdn-cgi/access/certs", rig_server_port(b->server));
    char *json = rig_jwks(1 << RIG_ONE);
    rig_server_set(b->server, RIG_SERVES, json);
    free(json);
}

static void bed_stop(struct bed *b)
{
    cv_module_access_headers.stop(&b->h->selfs[2]);
    cv_module_access_headers.fini(&b->h->selfs[2]);
    harness_free(b->h);
}

static void bed_free(struct bed *b)
{
    rig_server_stop(b->server);
    unlink(ca_file);
    unlink(keys_file);
    unlink(hashes_file);
    rmdir(dir);
}

static void write_text(const char *path, const char *text)
{
    char next[80];
    snprintf(next, sizeof(next), "%s.next", path);
    FILE *f = fopen(next, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
    CU_ASSERT_EQUAL(rename(next, path), 0);
}

/* Turns the loop until the request has its head, or that time has gone. */
static int status_within(struct bed *b, struct cv_req *req, int ms)
{
    for (long long end = now_in_ms() + ms; now_in_ms() < end && !strstr(b->h->edge_log, "head:"); sleep_ms(2))
        harness_turn(b->h);
    return req->status;
}

/* fields: name, value, …, NULL */
static struct cv_req *send_request(struct bed *b, const char *path, const char *const *fields)
{
    struct cv_req *req = harness_request(b->h, CV_HTTP);
    req->path = cv_str_of(path);
    for (; *fields; fields += 2)
        cv_header_add(req, req->headers, cv_str_of(fields[0]), cv_str_of(fields[1]));
    b->h->edge_log[0] = '\0';
    cv_req_start(req);
    return req;
}

static void end_request(struct bed *b, struct cv_req *req)
{
    cv_req_done(req);
    harness_turn(b->h);
}

static int ask(struct bed *b, const char *path, const char *const *fields)
{
    struct cv_req *req = send_request(b, path, fields);
    int status = status_within(b, req, 5000);
    end_request(b, req);
    return status;
}

static int ask_with(struct bed *b, const char *token)
{
    return ask(b, "/", (const char *const[]){ "Cf-Access-Jwt-Assertion", token, NULL });
}

/* ---- keys over HTTPS --------------------------------------------------------------------------------------- */

static void fetches_once_and_again_only_for_one_unknown_key(void)
{
    struct bed b;
    char *one = rig_good(RIG_ONE, ""), *two = rig_good(RIG_TWO, ""),
         *both = rig_jwks(1 << RIG_ONE | 1 << RIG_TWO);
    bed_new(&b);
    bed_start(&b, defaults());
    CU_ASSERT_EQUAL(ask_with(&b, one), 200); /* waits for the first fetch */
    CU_ASSERT_EQUAL(ask_with(&b, one), 200);
    CU_ASSERT_EQUAL(rig_server_asked(b.server), 1);
    rig_server_set(b.server, RIG_SERVES, both); /* rotation */
    CU_ASSERT_EQUAL(ask_with(&b, two), 200);
    CU_ASSERT_EQUAL(rig_server_asked(b.server), 2);
    for (int i = 0; i < 1000; i++) { /* no storm */
        char header[64];
        snprintf(header, sizeof(header), "{\"alg\":\"RS256\",\"kid\":\"k%d\"}", i);
        char *bad = i < 3 ? rig_token(header, "{}", RIG_ONE) : NULL;
        CU_ASSERT_EQUAL(ask_with(&b, bad ? bad : "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.AAAA"), 401);
        free(bad);
    }
    CU_ASSERT_EQUAL(rig_server_asked(b.server), 2);
    bed_stop(&b);
    bed_free(&b);
    free(one), free(two), free(both);
}

static void fails_closed_while_keys_cannot_be_had(void)
{
    struct bed b;
    char *one = rig_good(RIG_ONE, ""), *json = rig_jwks(1 << RIG_ONE);
    static const enum rig_mode modes[] = { RIG_500, RIG_GARBAGE, RIG_SLOW, RIG_HUGE, RIG_REDIRECTS };
    bed_new(&b);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        rig_server_set(b.server, modes[i], json);
        bed_start(&b, defaults());
        CU_ASSERT_EQUAL(ask_with(&b, one), 503);
        CU_ASSERT_EQUAL(ask_with(&b, "x"), 401); /* what is no token at all waits for nothing */
        rig_server_set(b.server, RIG_SERVES, json);
        for (long long end = now_in_ms() + 8000; now_in_ms() < end && ask_with(&b, one) != 200;)
            sleep_ms(50);
        CU_ASSERT_EQUAL(ask_with(&b, one), 200); /* by itself */
        bed_stop(&b);
    }
    bed_free(&b);
    free(one), free(json);
}

static void keys_serve_on_while_the_server_is_away(void)
{
    struct bed b;
    struct access_conf conf = defaults();
    char *one = rig_good(RIG_ONE, "");
    conf.refresh.ms = 1000;
    conf.stale.ms = 2500;
    bed_new(&b);
    bed_start(&b, conf);
    CU_ASSERT_EQUAL(ask_with(&b, one), 200);
    rig_server_set(b.server, RIG_500, "");
    long long begin = now_in_ms();
    while (now_in_ms() < begin + 1800) {
        CU_ASSERT_EQUAL(ask_with(&b, one), 200);
        sleep_ms(100);
    }
    CU_ASSERT(rig_server_asked(b.server) > 1);
    int status = 200; /* withdrawn keys must not live for ever */
    while (now_in_ms() < begin + 12000 && (status = ask_with(&b, one)) == 200)
        sleep_ms(100);
    CU_ASSERT_EQUAL(status, 503);
    bed_stop(&b);
    bed_free(&b);
    free(one);
}

static void a_server_that_is_not_trusted_is_not_asked(void)
{
    struct bed b;
    struct access_conf conf = defaults();
    char *one = rig_good(RIG_ONE, "");
    bed_new(&b);
    conf.certs_ca = ""; /* the system's roots do not know it */
    bed_start(&b, conf);
    CU_ASSERT_EQUAL(ask_with(&b, one), 503);
    CU_ASSERT_EQUAL(rig_server_asked(b.server), 0);
    bed_stop(&b);
    bed_free(&b);
    free(one);
}

static void a_visitor_that_leaves_while_keys_come_is_forgotten(void)
{
    struct bed b;
    char *one = rig_good(RIG_ONE, ""), *json = rig_jwks(1 << RIG_ONE);
    const char *const fields[] = { "Cf-Access-Jwt-Assertion", one, NULL };
    bed_new(&b);
    rig_server_set(b.server, RIG_SLOW, json);
    bed_start(&b, defaults());
    struct cv_req *leaves = send_request(&b, "/", fields), *stays = send_request(&b, "/", fields);
    harness_turn(b.h);
    cv_req_fail(leaves, CV_E_CANCEL, "left");
    harness_turn(b.h);
    CU_ASSERT_EQUAL(status_within(&b, stays, 5000), 503);
    end_request(&b, stays);
    bed_stop(&b);
    bed_free(&b);
    free(one), free(json);
}

/* ---- from a file ------------------------------------------------------------------------------------------- */

static void keys_of_a_file_are_used_and_read_again(void)
{
    struct bed b;
    struct access_conf conf = defaults();
    char *one = rig_good(RIG_ONE, ""), *two = rig_good(RIG_TWO, ""), *json = rig_jwks(1 << RIG_ONE);
    bed_new(&b);
    write_text(keys_file, json);
    free(json);
    conf.keys_file = keys_file;
    conf.refetch.ms = 0;
    bed_start(&b, conf);
    CU_ASSERT_EQUAL(ask_with(&b, one), 200);
    CU_ASSERT_EQUAL(ask_with(&b, two), 401);
    write_text(keys_file, "{\"keys\":[");
    CU_ASSERT_EQUAL(ask_with(&b, two), 401);
    CU_ASSERT_EQUAL(ask_with(&b, one), 200); /* a bad file changes nothing */
    write_text(keys_file, json = rig_jwks(1 << RIG_TWO));
    CU_ASSERT_EQUAL(ask_with(&b, two), 200);
    CU_ASSERT_EQUAL(ask_with(&b, one), 401);
    CU_ASSERT_EQUAL(rig_server_asked(b.server), 0);
    bed_stop(&b);
    bed_free(&b);
    free(one), free(two), free(json);
}

/* ---- what is asked of a request ---------------------------------------------------------------------------- */

static void bed_with_file(struct bed *b, struct access_conf conf)
{
    char *json = rig_jwks(1 << RIG_ONE);
    bed_new(b);
    write_text(keys_file, json);
    free(json);
    write_text(hashes_file, "sha256:e6c0b9f0a4b6cf3f9a5b9d0c8c4ed7f8e3f2a1908172635445362718f0e1d2c3\n");
    conf.keys_file = keys_file;
    bed_start(b, conf);
}

static void every_mode_of_the_assertion(void)
{
    struct bed b;
    struct access_conf conf = defaults();
    char *good = rig_good(RIG_ONE, ",\"type\":\"app\",\"common_name\":\"c1.access\"");
    char *other = rig_good(RIG_ONE, ",\"common_name\":\"c2.access\""), *old = rig_good(RIG_TWO, "");
    static const struct cv_str clients[] = { { "c1.access", 9 } };
    conf.bypass = (struct cv_list){ &(struct cv_str){ "192.0.2.0/24", 12 }, 1 };
#define ROW(...) ask(&b, "/", (const char *const[]){ __VA_ARGS__, NULL })
    bed_with_file(&b, conf);
    CU_ASSERT_EQUAL(ROW("X", "y"), 403);
    CU_ASSERT_EQUAL(ROW("Cookie", "CF_Authorization=x"), 403);
    CU_ASSERT_EQUAL(ROW("CF-ACCESS-JWT-ASSERTION", good), 200);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", old), 401);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", good, "Cf-Access-Jwt-Assertion", old), 401);
    CU_ASSERT_EQUAL(ROW("Cf_Access_Jwt_Assertion", good), 401);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion ", good), 401);
    CU_ASSERT_EQUAL(ROW("Cf-Connecting-Ip", "192.0.2.9"), 200);
    CU_ASSERT_EQUAL(ROW("Cf-Connecting-Ip", "192.0.2.9", "Cf-Connecting-Ip", "192.0.2.9"), 403);
    CU_ASSERT_EQUAL(ROW("Cf_Connecting_Ip", "192.0.2.9"), 403);
    b.conf.service_tokens = (struct cv_list){ clients, 1 };
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", good), 200);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", other), 403);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", other, "CF-Access-Client-Id", "c1.access"), 403);
    b.conf.assertion = ACCESS_IF_PRESENT;
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", good), 200);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", old), 401);
    CU_ASSERT_EQUAL(ROW("CF-Access-Client-Id", "c1.access"), 403);
    b.conf.service_tokens = (struct cv_list){ NULL, 0 };
    CU_ASSERT_EQUAL(ROW("X", "y"), 200);
    b.conf.assertion = ACCESS_OFF;
    b.conf.service_tokens = (struct cv_list){ clients, 1 };
    CU_ASSERT_EQUAL(ROW("CF-Access-Client-Id", "c1.access"), 200);
    CU_ASSERT_EQUAL(ROW("CF-Access-Client-Id", "c2.access"), 403);
    CU_ASSERT_EQUAL(ROW("CF-Access-Client-Id", "c1.access", "CF-Access-Client-Id", "c2.access"), 403);
    b.conf.hosts = (struct cv_list){ &(struct cv_str){ "b.example.com", 13 }, 1 };
    CU_ASSERT_EQUAL(ROW("CF-Access-Client-Id", "c2.access"), 200);
    bed_stop(&b);
    bed_free(&b);
    free(good), free(other), free(old);
}

static struct cv_headers *reached;

static void take_request(struct cv_req *req)
{
    reached = req->headers;
    req->status = 200;
    cv_req_respond(req);
    cv_pipe_finish(req->down);
}

static void secrets_do_not_reach_the_origin(void)
{
    struct bed b;
    struct access_conf conf = defaults();
    conf.assertion = ACCESS_OFF;
    bed_with_file(&b, conf);
    b.h->in_open = take_request;
    struct cv_req *req =
        send_request(&b, "/",
                     (const char *const[]){ "CF-Access-Client-Secret", "s1", "cf_access_client_secret", "s2",
                                            "CF-ACCESS-CLIENT-ID", "c", "Cf-Access-Jwt-Assertion", "j",
                                            "Authorization", "Bearer k", "X", "y", NULL });
    CU_ASSERT_EQUAL(status_within(&b, req, 2000), 200);
    struct cv_str name, value;
    size_t n = 0;
    for (; cv_header_at(reached, n, &name, &value); n++)
        CU_ASSERT(value.n == 1 || cv_str_eq(value, CV_STR("Bearer k")));
    CU_ASSERT_EQUAL(n, 3);
    CU_ASSERT_TRUE(cv_str_eq(cv_header(reached, CV_STR("cf-access-jwt-assertion")), CV_STR("j")));
    end_request(&b, req);
    b.conf.strip_assertion = true;
    req = send_request(&b, "/", (const char *const[]){ "Cf-Access-Jwt-Assertion", "j", NULL });
    CU_ASSERT_EQUAL(status_within(&b, req, 2000), 200);
    CU_ASSERT_EQUAL(cv_header(reached, CV_STR("cf-access-jwt-assertion")).n, 0);
    end_request(&b, req);
    bed_stop(&b);
    bed_free(&b);
}

static void refusals_have_the_shape_of_the_api(void)
{
    static const struct {
        const char *path, *name, *value, *body, *challenge;
        int status;
    } table[] = {
        { "/v1/chat/completions", "X", "y",
          "{\"error\":{\"message\":\"an API key is "
          "required\",\"type\":\"invalid_request_error\",\"param\":null,"
          "\"code\":\"invalid_api_key\"}}",
          "Bearer realm=\"culvert\"", 401 },
        { "/v1/messages", "X", "y",
          "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"an API key is "
          "required\"},\"request_id\":null}",
          "Bearer realm=\"culvert\"", 401 },
        { "/v1/models", "anthropic-version", "2023-06-01",
          "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"an API key is "
          "required\"},\"request_id\":null}",
          "Bearer realm=\"culvert\"", 401 },
        { "/v1/models", "Authorization", "Bearer sk-unknown",
          "{\"error\":{\"message\":\"the API key is not "
          "valid\",\"type\":\"invalid_request_error\",\"param\":null,"
          "\"code\":\"invalid_api_key\"}}",
          "Bearer realm=\"culvert\", error=\"invalid_token\"", 401 },
    };
    struct bed b;
    struct access_conf conf = defaults();
    conf.assertion = ACCESS_OFF;
    conf.bearer = ACCESS_BEARER_KNOWN;
    conf.bearer_keys = hashes_file;
    bed_with_file(&b, conf);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct cv_req *req =
            send_request(&b, table[i].path, (const char *const[]){ table[i].name, table[i].value, NULL });
        struct iovec v[1];
        CU_ASSERT_EQUAL(status_within(&b, req, 2000), table[i].status);
        CU_ASSERT_TRUE(cv_str_eq(cv_header(req->resp_headers, CV_STR("www-authenticate")),
                                 cv_str_of(table[i].challenge)));
        CU_ASSERT_EQUAL_FATAL(cv_pipe_peek(req->down, 0, v, 1), 1);
        CU_ASSERT_TRUE(cv_str_eq((struct cv_str){ v[0].iov_base, v[0].iov_len }, cv_str_of(table[i].body)));
        end_request(&b, req);
    }
    bed_stop(&b);
    bed_free(&b);
}

static void the_rule_decides_as_the_dashboard_says(void)
{
    struct bed b;
    struct access_conf conf = defaults();
    conf.assertion = ACCESS_OFF;
    conf.team = "";
    char *good = rig_good(RIG_ONE, ""),
         *fed = rig_token("{\"alg\":\"RS256\"}",
                          "{\"iss\":\"https://testteam.fed.cloudflareaccess.com\",\"aud\":\"" AUD
                          "\",\"exp\":4102444800}",
                          RIG_ONE);
    bed_with_file(&b, conf);
    struct cv_rule *rule = &b.h->worker->routes[TUNNEL_FIRST]->rules[0];
    rule->access_required = true;
    rule->settings.access =
        (struct cv_access){ .required = true, .team_name = CV_STR("testteam"), .aud_tag = { audience, 1 } };
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", good), 200);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", fed), 401);
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", "abc"), 401);
    CU_ASSERT_EQUAL(ROW("X", "y"), 403);
    b.conf.exact = true;
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", "abc"), 502);
    CU_ASSERT_EQUAL(ROW("X", "y"), 403);
    rule->settings.access.environment = CV_STR("fed");
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", fed), 200);
    rule->settings.access.aud_tag.n = 0;
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", fed), 403);
    rule->settings.access.team_name = CV_STR("../evil");
    CU_ASSERT_EQUAL(ROW("Cf-Access-Jwt-Assertion", fed), 502);
    b.conf.rule_access = false;
    CU_ASSERT_EQUAL(ROW("X", "y"), 200);
    bed_stop(&b);
    bed_free(&b);
    free(good), free(fed);
}

SUITE(access_filter, TEST(fetches_once_and_again_only_for_one_unknown_key),
      TEST(fails_closed_while_keys_cannot_be_had), TEST(keys_serve_on_while_the_server_is_away),
      TEST(a_server_that_is_not_trusted_is_not_asked),
      TEST(a_visitor_that_leaves_while_keys_come_is_forgotten), TEST(keys_of_a_file_are_used_and_read_again),
      TEST(every_mode_of_the_assertion), TEST(secrets_do_not_reach_the_origin),
      TEST(refusals_have_the_shape_of_the_api), TEST(the_rule_decides_as_the_dashboard_says));
