/* settings.h: originRequest: one table of keys that reads, inherits, shows and compares them. */
#ifndef REQUEST_SETTINGS_H
#define REQUEST_SETTINGS_H
#include "request/ip_rule.h"

#define SETTINGS_COUNT 19

struct settings_access {
    bool required;
    struct cv_str team_name;
    struct gojson_list aud_tag; /* of struct cv_str */
    struct cv_str environment;
};
/* An originRequest object as the document has it. */
struct settings_raw {
    bool set[SETTINGS_COUNT]; /* in the order of the table */
    struct cv_settings v;     /* all but the two below     */
    struct gojson_list ip_rules;
    struct settings_access access;
};
extern const struct gojson_type settings_type; /* a struct settings_raw */

/* What holds where nobody says anything. */
extern const struct cv_settings settings_default;
/* Lays what raw sets over *to. A wrong IP rule is left out at the top level and shown as wrong in a rule;
 * neither is an error. */
void settings_apply(struct bump *, struct cv_settings *to, struct settings_raw *raw, bool top_level);

/* The object of docs/protocol.md §16.5: all keys. */
void settings_write(struct cv_buf *, const struct cv_settings *);
/* The object of docs/protocol.md §16.6: what differs from settings_default. */
void settings_write_changed(struct cv_buf *, const struct cv_settings *);
/* ", originRequest.KEY VALUE → VALUE" for each key that differs. */
void settings_write_diff(struct cv_buf *, const struct cv_settings *from, const struct cv_settings *to);

/* A duration in seconds as Go writes it, which counted it in nanoseconds and lets it overflow. */
void settings_write_seconds(struct cv_buf *, int64_t seconds);
extern const struct gojson_type settings_seconds_type; /* config.CustomDuration, an int64_t */
#endif
