/* url.h: URLs of services, taken apart and written as Go's net/url does it. */
#ifndef REQUEST_URL_H
#define REQUEST_URL_H
#include "request/bump.h"
#include "request/reason.h"

/* Parts are decoded and live as long as the memory given. */
struct url {
    struct cv_str scheme; /* lower case                                                             */
    struct cv_str user;   /* as it is written in `text`                                             */
    struct cv_str host;   /* Go's Host: name and port, brackets kept                                */
    struct cv_str name;   /* host without port and brackets                                         */
    struct cv_str port;   /* digits, or empty                                                       */
    struct cv_str path;
    struct cv_str text; /* normalised: Go's String()                                              */
};
/* Reasons read `parse "…": …`. What has a scheme but no slash behind it ("localhost:80") parses, without a
 * host. */
enum cv_error url_parse(struct bump *, struct cv_str text, struct url *, struct reason *);

/* "host:port" taken apart as Go's net.SplitHostPort does: false when there is no port to split off. The port
 * may be empty or no number. Parts are borrowed from the text. */
bool url_split_host_port(struct cv_str text, struct cv_str *host, struct cv_str *port);
#endif
