/* demo_origin.c: what stands behind the tunnel in the demo: a router that speaks the streaming shapes of the OpenAI and
 * Anthropic APIs, and a UI page beside it.
 *
 *     demo_origin ROUTER_PORT UI_PORT      (loopback; runs until SIGTERM)
 *
 * A request without "stream": true gets its answer whole. The body of a request says how slow a stream is with
 * "delay_ms" (default 50) and how many words it has with "words" (default 8, the text repeats). */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = { "Every", " byte", " leaves", " the", " moment", " it", " arrives", "." };
enum { N_WORDS = sizeof(words) / sizeof(words[0]) };

struct answer {
    struct evhttp_request *req;
    struct event *timer;
    struct timeval delay;
    bool anthropic;
    int next, total;
};

/* ---- reading the request ------------------------------------------------------------------------------ */

static char *body_of(struct evhttp_request *req)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t n = evbuffer_get_length(in);
    char *text = calloc(1, n + 1);
    if (text)
        evbuffer_remove(in, text, n);
    return text;
}

static long number_after(const char *body, const char *key, long otherwise)
{
    const char *at = strstr(body, key);
    at = at ? strchr(at, ':') : NULL;
    return at ? strtol(at + 1, NULL, 10) : otherwise;
}

static bool wants_stream(const char *body)
{
    const char *at = strstr(body, "\"stream\"");
    at = at ? strchr(at, ':') : NULL;
    return at && strncmp(at + 1 + strspn(at + 1, " "), "true", 4) == 0;
}

/* ---- streams ------------------------------------------------------------------------------------------ */

static void send_event(struct answer *a, const char *name, const char *before, const char *text,
                       const char *after)
{
    struct evbuffer *b = evbuffer_new();
    if (name)
        evbuffer_add_printf(b, "event: %s\n", name);
    evbuffer_add_printf(b, "data: %s%s%s\n\n", before, text, after);
    evhttp_send_reply_chunk(a->req, b);
    evbuffer_free(b);
}

static void send_word(struct answer *a)
{
    const char *word = words[a->next % N_WORDS];
    if (a->anthropic)
        send_event(
            a, "content_block_delta",
            "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"",
            word, "\"}}");
    else
        send_event(
            a, NULL,
            "{\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion.chunk\",\"model\":\"demo\",\"choices\":"
            "[{\"index\":0,\"delta\":{\"content\":\"",
            word, "\"},\"finish_reason\":null}]}");
    a->next++;
}

static void free_answer(struct answer *a)
{
    event_free(a->timer);
    free(a);
}

static void end_stream(struct answer *a)
{
    if (a->anthropic) {
        send_event(a, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}", "", "");
        send_event(a, "message_delta",
                   "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_"
                   "tokens\":8}}",
                   "", "");
        send_event(a, "message_stop", "{\"type\":\"message_stop\"}", "", "");
    } else {
        send_event(
            a, NULL,
            "{\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion.chunk\",\"model\":\"demo\",\"choices\":"
            "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
            "", "");
        send_event(a, NULL, "[DONE]", "", "");
    }
    evhttp_connection_set_closecb(evhttp_request_get_connection(a->req), NULL, NULL);
    evhttp_send_reply_end(a->req);
    free_answer(a);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct answer *a = arg;
    if (a->next == a->total) {
        end_stream(a);
        return;
    }
    send_word(a);
    evtimer_add(a->timer, &a->delay);
}

static void on_left(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    free_answer(arg);
}

static void begin_stream(struct evhttp_request *req, const char *body, bool anthropic)
{
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    struct answer *a = calloc(1, sizeof(*a));
    if (!a)
        abort();
    long ms = number_after(body, "\"delay_ms\"", 50);
    a->req = req;
    a->anthropic = anthropic;
    a->total = (int)number_after(body, "\"words\"", N_WORDS);
    a->delay = (struct timeval){ ms / 1000, ms % 1000 * 1000 };
    a->timer = evtimer_new(evhttp_connection_get_base(conn), on_tick, a);
    evhttp_connection_set_closecb(conn, on_left, a);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "text/event-stream");
    evhttp_send_reply_start(req, 200, "OK");
    if (anthropic)
        send_event(
            a, "message_start",
            "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_demo\",\"type\":\"message\",\"role\":"
            "\"assistant\",\"model\":\"demo\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_"
            "tokens\":1,"
            "\"output_tokens\":0}}}",
            "", "");
    on_tick(-1, 0, a);
}

/* ---- pages -------------------------------------------------------------------------------------------- */

static void send_text(struct evhttp_request *req, int status, const char *type, const char *text)
{
    struct evbuffer *b = evbuffer_new();
    evbuffer_add(b, text, strlen(text));
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
    evhttp_send_reply(req, status, NULL, b);
    evbuffer_free(b);
}

static void on_completion(struct evhttp_request *req, void *arg)
{
    bool anthropic = arg != NULL;
    char *body = body_of(req);
    if (body && wants_stream(body))
        begin_stream(req, body, anthropic);
    else if (anthropic)
        send_text(
            req, 200, "application/json",
            "{\"id\":\"msg_demo\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"demo\",\"content\":"
            "[{\"type\":\"text\",\"text\":\"Every byte leaves the moment it arrives.\"}],\"stop_reason\":"
            "\"end_turn\"}\n");
    else
        send_text(
            req, 200, "application/json",
            "{\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion\",\"model\":\"demo\",\"choices\":[{"
            "\"index\":0,"
            "\"message\":{\"role\":\"assistant\",\"content\":\"Every byte leaves the moment it arrives.\"},"
            "\"finish_reason\":\"stop\"}]}\n");
    free(body);
}

static void on_router_other(struct evhttp_request *req, void *arg)
{
    (void)arg;
    send_text(req, 404, "application/json",
              "{\"error\":{\"message\":\"no such path\",\"type\":\"not_found\"}}\n");
}

static void on_ui(struct evhttp_request *req, void *arg)
{
    (void)arg;
    send_text(req, 200, "text/html; charset=utf-8",
              "<!doctype html><html lang=\"en\"><title>Router UI</title><h1>Router UI</h1>"
              "<p>This page came through the tunnel.</p></html>\n");
}

static struct evhttp *listen_on(struct event_base *base, const char *port)
{
    struct evhttp *http = evhttp_new(base);
    if (!http || evhttp_bind_socket(http, "127.0.0.1", (ev_uint16_t)strtol(port, NULL, 10)) != 0) {
        fprintf(stderr, "demo_origin: cannot listen on 127.0.0.1:%s\n", port);
        exit(1);
    }
    return http;
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    event_base_loopbreak(arg);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: demo_origin ROUTER_PORT UI_PORT\n");
        return 2;
    }
    struct event_base *base = event_base_new();
    struct evhttp *router = listen_on(base, argv[1]), *ui = listen_on(base, argv[2]);
    evhttp_set_cb(router, "/v1/chat/completions", on_completion, NULL);
    evhttp_set_cb(router, "/v1/messages", on_completion, router);
    evhttp_set_gencb(router, on_router_other, NULL);
    evhttp_set_gencb(ui, on_ui, NULL);
    struct event *end = evsignal_new(base, SIGTERM, on_signal, base);
    event_add(end, NULL);
    event_base_dispatch(base);
    event_free(end);
    evhttp_free(router);
    evhttp_free(ui);
    event_base_free(base);
    return 0;
}
