/* capnp.h: Cap'n Proto messages: framing, reading without copies, writing in one segment.
 *
 * Source: docs/protocol.md §7. Always unpacked, little-endian.
 *
 * Reading never allocates and never fails on the spot: a getter that meets a broken pointer answers the
 * default and marks the message, and capnp_check() tells at the end. A null pointer, a missing field and
 * a pointer of an unexpected kind are no errors: they read as the default.
 *
 *     struct capnp_msg m;                              struct capnp_build b;
 *     e = capnp_open(&m, p, n, err);                   struct capnp_new at = capnp_begin(&b, &buf);
 *     struct capnp_struct s = capnp_root(&m);          struct capnp_new s = capnp_put_struct(at, 0, 1, 1);
 *     type = capnp_get_u16(s, 0);                      capnp_put_u16(s, 0, type);
 *     dest = capnp_get_text(s, 0);                     capnp_put_text(s, 0, dest);
 *     e = capnp_check(&m, err);                        capnp_end(&b);
 */
#ifndef TUNNEL_CAPNP_H
#define TUNNEL_CAPNP_H

#include "culvert/culvert.h"
#include "culvert/mem.h"

enum {
    CAPNP_MAX_SEGMENTS = 513,
    CAPNP_MAX_BYTES = 64 << 20, /* of a whole message; a caller's own limit is far below it */
    CAPNP_MAX_DEPTH = 64,       /* pointers behind pointers                                 */
    CAPNP_READS = 8,            /* times over that a message may be read                   */
};

/* ---- framing: where does a message end that arrives in pieces? --------------------------------- */

/* p, n: what is there so far, beginning with the segment table. On CV_OK *need is the length of the
 * message if *need <= n, and otherwise the length to have before asking again. Nothing above `max` bytes
 * (table included) is ever asked for: CV_E_LIMIT. CV_E_PROTO: not a message. */
enum cv_error capnp_frame(const uint8_t *p, size_t n, size_t max, size_t *need, struct cv_err *);

/* ---- reading ----------------------------------------------------------------------------------- */

/* An open message. Borrows its bytes; so does everything that the getters return. */
struct capnp_msg {
    const uint8_t *body; /* segment 0, the others back to back behind it */
    uint32_t segments;
    uint32_t start[CAPNP_MAX_SEGMENTS + 1]; /* first word of each in body; the last one is the end */
    uint32_t budget;                        /* words that may still be read                        */
    const char *bad;                        /* the first thing that was wrong, or NULL             */
};
struct capnp_struct {
    struct capnp_msg *msg;
    const uint8_t *data;
    uint32_t data_bytes;
    uint32_t ptrs; /* word of the first pointer in msg->body */
    uint16_t n_ptrs;
    uint16_t seg;
    uint8_t depth; /* how many more pointers may be followed */
};
struct capnp_list {
    struct capnp_msg *msg;
    uint32_t n;          /* elements; 0 for a null pointer                     */
    uint32_t at;         /* first word of the first element in msg->body       */
    uint32_t step;       /* bytes from one to the next                         */
    uint32_t data_bytes; /* of each element, read as a struct                  */
    uint16_t n_ptrs;     /* of each element, read as a struct                  */
    uint16_t seg;
    uint8_t depth;
};

/* p, n: exactly one framed message, *need bytes as capnp_frame() said. The msg must stay where it is
 * while it is read. */
enum cv_error capnp_open(struct capnp_msg *, const uint8_t *p, size_t n, struct cv_err *);
struct capnp_struct capnp_root(struct capnp_msg *);
/* CV_OK, or CV_E_PROTO and why if any read so far met something broken. */
enum cv_error capnp_check(const struct capnp_msg *, struct cv_err *);

/* Fields, by byte (bit) offset in the data section; i is the number of a pointer. */
uint8_t capnp_get_u8(struct capnp_struct, size_t byte);
uint16_t capnp_get_u16(struct capnp_struct, size_t byte);
uint32_t capnp_get_u32(struct capnp_struct, size_t byte);
uint64_t capnp_get_u64(struct capnp_struct, size_t byte);
bool capnp_get_bit(struct capnp_struct, size_t bit);
struct capnp_struct capnp_get_struct(struct capnp_struct, size_t i);
struct cv_str capnp_get_text(struct capnp_struct, size_t i); /* without its NUL; empty if there is none */
struct cv_str capnp_get_data(struct capnp_struct, size_t i); /* p is NULL if the pointer is null        */
bool capnp_get_cap(struct capnp_struct, size_t i, uint32_t *index); /* false: no capability pointer */
struct capnp_list capnp_get_list(struct capnp_struct, size_t i);    /* of structs or of Text               */
/* i < list.n. A list of Text: element i is the struct whose pointer 0 is the text. */
struct capnp_struct capnp_list_at(struct capnp_list, size_t i);

/* ---- writing ----------------------------------------------------------------------------------- */

/* Objects go one behind the other in the order of the put calls, appended to `out`, where other bytes may
 * already be. The arguments of a put may not point into `out`. At most CAPNP_MAX_BYTES. */
struct capnp_build {
    struct cv_buf *out;
    size_t begin; /* offset of the segment table in out */
};
/* A place with data words and pointers: a struct, an element, or a list of pointers. Valid until
 * capnp_end(). */
struct capnp_new {
    struct capnp_build *b;
    uint32_t at; /* first word in the segment */
    uint32_t words, ptrs;
};

/* Returns the place whose pointer 0 is the root of the message. */
struct capnp_new capnp_begin(struct capnp_build *, struct cv_buf *out);
/* The message is complete: fills in its segment table. */
void capnp_end(struct capnp_build *);

void capnp_put_u8(struct capnp_new, size_t byte, uint8_t);
void capnp_put_u16(struct capnp_new, size_t byte, uint16_t);
void capnp_put_u32(struct capnp_new, size_t byte, uint32_t);
void capnp_put_u64(struct capnp_new, size_t byte, uint64_t);
void capnp_put_bit(struct capnp_new, size_t bit, bool);
struct capnp_new capnp_put_struct(struct capnp_new, size_t i, uint16_t words, uint16_t ptrs);
void capnp_put_text(struct capnp_new, size_t i, struct cv_str); /* empty: a null pointer */
void capnp_put_data(struct capnp_new, size_t i, struct cv_str); /* p NULL: a null pointer */
void capnp_put_cap(struct capnp_new, size_t i, uint32_t index);
/* A list of n structs; returns the first, capnp_next() gives the one behind. */
struct capnp_new capnp_put_structs(struct capnp_new, size_t i, size_t n, uint16_t words, uint16_t ptrs);
struct capnp_new capnp_next(struct capnp_new);
/* A list of n pointers; the place returned holds them all. */
struct capnp_new capnp_put_pointers(struct capnp_new, size_t i, size_t n);
/* Pointer i, which is the last word so far, gives way to segment 0 of a message, whose first word is the
 * pointer to that message. */
void capnp_put_segment(struct capnp_new, size_t i, const struct capnp_msg *);

#endif
