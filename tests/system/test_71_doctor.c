/* test_71_doctor.c: culvert doctor sees what keeps a tunnel from coming up, and registers nothing. */
#include "scene.h"

#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

/* The words behind `culvert doctor`; $EDGE and $CA stand for the scene's. */
static struct process *examine(const struct scene *t, const char *words, bool with_token)
{
    static char text[1024], token[1100], ca[96];
    const char *argv[32] = { SUITE_BUILD "/culvert", "doctor" };
    size_t n = 2;
    snprintf(text, sizeof(text), "%s", words);
    snprintf(ca, sizeof(ca), "%s/ca.pem", t->dir);
    for (char *rest = text, *word; n < 28 && (word = strsep(&rest, " "));) {
        if (strcmp(word, "$EDGE") == 0) {
            argv[n++] = "--edge";
            argv[n++] = t->edges[0];
            argv[n++] = "--edge";
            argv[n++] = t->edges[1];
        } else {
            argv[n++] = strcmp(word, "$CA") == 0 ? ca : word;
        }
    }
    FILE *f = fopen("tests/vectors/token/good.txt", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    int at = snprintf(token, sizeof(token), "TUNNEL_TOKEN=");
    CU_ASSERT_PTR_NOT_NULL(fgets(token + at, (int)sizeof(token) - at, f));
    fclose(f);
    token[strcspn(token, "\r\n")] = '\0';
    return process_start(argv, (const char *const[]){ "PATH=/nonexistent", with_token ? token : NULL, NULL });
}

static struct scene *some_edge(const char *edge_flags)
{
    return scene_start(&(const struct setup){ .transport = "http2", .edge_flags = edge_flags });
}

struct sickness {
    const char *words;
    bool with_token;
    int status;
    const char *says[4];
};

static void check(const struct scene *t, const struct sickness *s)
{
    struct process *p = examine(t, s->words, s->with_token);
    int status = process_end(p, PATIENCE_MS);
    char *said = process_output(p);
    CU_ASSERT_EQUAL(status, s->status);
    for (size_t i = 0; i < 4 && s->says[i]; i++)
        CHECK_HOLDS(said, s->says[i]);
    free(said);
}

static void an_edge_in_reach_is_found_by_both_transports_and_nothing_is_registered(void)
{
    struct scene *t = some_edge(NULL);
    unsigned before = scene_seen(t, "register");
    check(t, &(const struct sickness){ "$EDGE --cacert $CA",
                                       true,
                                       0,
                                       { "\n✓ udp 7844      127.0.0.1:", "\n✓ tcp 7844      127.0.0.1:",
                                         ": verified, QUIC handshake took ",
                                         "\n✓ A tunnel can come up, over QUIC and over HTTP/2.\n" } });
    CU_ASSERT_EQUAL(scene_seen(t, "register"), before);
    CU_ASSERT_TRUE(before > 0);
    scene_stop(t);
}

static void what_is_wrong_is_marked_and_comes_with_a_remedy(void)
{
    static const struct sickness cases[] = {
        { "$EDGE --cacert $CA",
          false,
          1,
          { "\n✗ token         there is none\n", "→ set TUNNEL_TOKEN", "\n✗ No tunnel can come up" } },
        { "$EDGE --cacert $CA --token nonsense",
          false,
          1,
          { "\n✗ token         it is not a tunnel token (flag --token)\n", "copy it from the dashboard" } },
        { "$EDGE --cacert $CA --token-file /nonexistent/token",
          false,
          1,
          { "Failed to read token file: /nonexistent/token", "\n✗ secret files  /nonexistent/token: " } },
        { "$EDGE", true, 1, { "\n✗ edge tls      ", "→ somebody on the way answers in Cloudflare's place" } },
        { "$EDGE --cacert /nonexistent/ca.pem", true, 1, { "\n✗ start         cacert: unable to read " } },
        { "--edge 127.0.0.1:1 --cacert $CA",
          true,
          1,
          { "\n✗ tcp 7844      127.0.0.1:1: ", "→ let TCP port 7844 out", "→ let UDP port 7844 out" } },
        { "$EDGE --cacert $CA --protocol http2", true, 0, { "over HTTP/2 alone.\n" } },
        { "$EDGE --cacert $CA --url http://127.0.0.1:1",
          true,
          0,
          { "\n✗ origin        rule 0: http://127.0.0.1:1 (127.0.0.1:1): Connection refused\n" } },
        { "$EDGE --cacert $CA --unix-socket /nonexistent/socket",
          true,
          0,
          { "\n✗ origin        rule 0: unix:/nonexistent/socket (unix:/nonexistent/socket): No such file" } },
        { "--config /nonexistent/culvert.ini",
          true,
          1,
          { "✗ configuration /nonexistent/culvert.ini: cannot be opened", "\n✗ No tunnel can come up" } },
        { "--no-such-flag",
          true,
          255,
          { "flag provided but not defined: -no-such-flag", "culvert doctor --help" } },
    };
    struct scene *t = some_edge(NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(t, &cases[i]);
    scene_stop(t);
}

static void a_network_without_udp_leaves_http2(void)
{
    struct scene *t = some_edge("--mute udp");
    check(t, &(const struct sickness){ "$EDGE --cacert $CA",
                                       true,
                                       0,
                                       { "\n✗ udp 7844      127.0.0.1:", "→ let UDP port 7844 out",
                                         "\n✓ tcp 7844      127.0.0.1:", "over HTTP/2 alone.\n" } });
    scene_stop(t);
}

static void an_origin_that_listens_is_reached(void)
{
    char words[120], wanted[120];
    struct scene *t = some_edge(NULL);
    snprintf(words, sizeof(words), "$EDGE --cacert $CA --url http://127.0.0.1:%u", origin_port(t->origin));
    snprintf(wanted, sizeof(wanted), "(127.0.0.1:%u): reached\n", origin_port(t->origin));
    check(t, &(const struct sickness){ words, true, 0, { wanted } });
    scene_stop(t);
}

static void a_secret_that_everybody_may_read_is_a_warning(void)
{
    char name[] = "/tmp/culvert-doctor-XXXXXX", words[120];
    int fd = mkstemp(name);
    struct scene *t = some_edge(NULL);
    snprintf(words, sizeof(words), "--edge 127.0.0.1:1 --token-file %s", name);
    CU_ASSERT_EQUAL(fchmod(fd, 0644), 0);
    check(t, &(const struct sickness){
                 words, false, 1, { "mode 0644, every user may read it", "→ chmod o-rwx " } });
    CU_ASSERT_EQUAL(fchmod(fd, 0400), 0);
    check(t, &(const struct sickness){ words, false, 1, { ": mode 0400 (" } });
    close(fd);
    unlink(name);
    scene_stop(t);
}

static void the_report_is_json_when_asked_for(void)
{
    struct scene *t = some_edge(NULL);
    struct process *p = examine(t, "--json $EDGE --cacert $CA", true);
    CU_ASSERT_EQUAL(process_end(p, PATIENCE_MS), 0);
    char *said = process_output(p);
    yyjson_doc *doc = yyjson_read(said, strlen(said), 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *checks = yyjson_obj_get(root, "checks");
    CU_ASSERT_TRUE(yyjson_is_true(yyjson_obj_get(root, "ok")));
    CU_ASSERT_TRUE(yyjson_arr_size(checks) > 10);
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(yyjson_arr_get_first(checks), "check")),
                           "configuration");
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(yyjson_arr_get_first(checks), "verdict")), "good");
    yyjson_doc_free(doc);
    free(said);
    scene_stop(t);
}

SUITE(system_71_doctor, TEST(an_edge_in_reach_is_found_by_both_transports_and_nothing_is_registered),
      TEST(what_is_wrong_is_marked_and_comes_with_a_remedy), TEST(a_network_without_udp_leaves_http2),
      TEST(an_origin_that_listens_is_reached), TEST(a_secret_that_everybody_may_read_is_a_warning),
      TEST(the_report_is_json_when_asked_for));
