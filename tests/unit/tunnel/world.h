/* world.h: a supervisor with a clock turned by hand, chance that is no chance, and a record of all that it did. */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H
#include "tunnel/supervisor.h"

#include <netinet/in.h>

enum act { DIAL, UNREGISTER, CLOSE, GOODBYE, ANNOUNCE, REPLACED, KEEP_OLD, DRAINED, END, LOG };
struct action {
    enum act what;
    int64_t at;
    uint32_t id;
    unsigned index;
    enum sup_protocol protocol;
    unsigned port; /* dialled: tells addresses apart */
    unsigned attempts;
    int64_t amount; /* timeout; status; reason */
    enum cv_level level;
    char text[256]; /* of a log line: message, then " error=" and it */
};
struct world {
    struct supervisor *s;
    struct sup_conf conf;
    int64_t now, timer;
    double chance; /* every random number is this part of its bound; 1 is the highest possible */
    struct action did[512];
    size_t n;
    bool path_gone; /* the kernel would use another source address */
};
extern struct world world;

/* Both transports, `connections` of them, defaults of the options; no addresses yet. chance 0.5, now 0. */
void world_begin(unsigned connections);
void world_conf(void);          /* makes the supervisor; change world.conf before */
void world_addresses(size_t n); /* ports 1 … n, in turn to either region; starts it */
void world_end(void);
void world_pass(int64_t ms); /* timers fire on their way */

const struct action *world_last(enum act, unsigned index); /* of that index (DIAL) or id; NULL: none */
const struct action *world_dial(unsigned index);   /* the last; ends the test program if there is none */
const struct action *world_said(const char *part); /* the last log line that contains it; NULL: none */
size_t world_count(enum act);
void world_forget(void); /* the record */

/* Events of the connection last dialled for the index, or of one by its id. */
void world_up(uint32_t id);
void world_registered(uint32_t id);
void world_connect(unsigned index); /* up and registered */
void world_connect_all(void);       /* every index, as they are dialled */
void world_leaving(uint32_t id);
void world_down(uint32_t id, const char *why);
void world_refused(uint32_t id, const char *why, bool should_retry, int64_t retry_after_ms);
void world_unregistered(uint32_t id);
void world_sample(uint32_t id, unsigned open, bool moved, unsigned stuck, int64_t still_ms);
#endif
