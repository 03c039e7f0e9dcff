/* culvert/proxy.h: out through an HTTP or SOCKS5 proxy: how one is named, and what is said with it before the way to the
 * far end is open. Takes and returns bytes; no socket here. Any thread.
 *
 * Source   RFC 9110 §9.3.6 (CONNECT), §11.7 (Basic), RFC 1928 and RFC 1929 (SOCKS5). */
#ifndef CV_PROXY_H
#define CV_PROXY_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

enum cv_proxy_kind { CV_PROXY_NONE, CV_PROXY_HTTP, CV_PROXY_SOCKS5 };
struct cv_proxy {
    enum cv_proxy_kind kind;
    uint16_t port; /* 0: none is named */
    char host[256];
    char credentials[256]; /* "user:password", or empty: a secret; wipe it when it is done with */
};
/* "http://user:password@host:port", "socks5://…", "socks5h://…"; without a scheme it is http. false: it is none of them. */
bool cv_proxy_parse(struct cv_str url, struct cv_proxy *);
/* The value of Proxy-Authorization; nothing without credentials. Wipe it as well. */
void cv_proxy_login(const struct cv_proxy *, struct cv_buf *out);

/* The environment's variable of that name, or of the same in lower case; NULL: neither says anything. */
const char *cv_proxy_variable(const char *upper);
/* What NO_PROXY holds: names, addresses, networks, each with a port perhaps, or *. Read as Go's
 * http.ProxyFromEnvironment does. list may be NULL. */
struct cv_no_proxy;
struct cv_no_proxy *cv_no_proxy_new(const char *list);
void cv_no_proxy_free(struct cv_no_proxy *); /* NULL is fine */
/* host: a name, or an address without brackets. localhost and loopback addresses always are. */
bool cv_no_proxy_holds(const struct cv_no_proxy *, struct cv_str host, uint16_t port);

/* {0} before cv_proxy_begin(). Proxy and host outlive it. */
struct cv_proxy_talk {
    const struct cv_proxy *proxy;
    struct cv_str host; /* a name, or an address without brackets */
    uint16_t port;
    struct cv_buf in;
    int step;
};
enum cv_proxy_verdict { CV_PROXY_MORE, CV_PROXY_DONE, CV_PROXY_FAILED };
/* Opens the way to host:port. What is to be sent is added to `out`, a few hundred bytes at most, and may be a secret. */
void cv_proxy_begin(struct cv_proxy_talk *, const struct cv_proxy *, struct cv_str host, uint16_t port,
                    struct cv_buf *out);
/* What the proxy has sent. After CV_PROXY_DONE all bytes are those of the far end; CV_PROXY_FAILED: err says why. */
enum cv_proxy_verdict cv_proxy_feed(struct cv_proxy_talk *, const uint8_t *, size_t n, struct cv_buf *out,
                                    struct cv_err *);
void cv_proxy_end(struct cv_proxy_talk *);
#endif
