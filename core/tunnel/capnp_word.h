/* capnp_word.h: what the bits of a word of a message mean (docs/protocol.md §7.2). For capnp*.c alone. */
#ifndef TUNNEL_CAPNP_WORD_H
#define TUNNEL_CAPNP_WORD_H
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WORD = 8 }; /* bytes */

/* Pointers: kind in the two lowest bits. */
enum kind { STRUCT, LIST, FAR, OTHER };
enum { DOUBLE_FAR = 4 };                                             /* bit of a FAR                 */
enum code { VOID, BIT, BYTE, TWO, FOUR, EIGHT, POINTER, COMPOSITE }; /* what the elements of a LIST are */

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline void store64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

static inline enum kind kind(uint64_t pointer)
{
    return pointer & 3;
}

/* Of a STRUCT or LIST: words from the end of the pointer to the object. */
static inline int32_t offset(uint64_t pointer)
{
    return (int32_t)(uint32_t)pointer >> 2;
}

/* Of a STRUCT. */
static inline uint32_t data_words(uint64_t pointer)
{
    return pointer >> 32 & 0xffff;
}

static inline uint32_t pointer_count(uint64_t pointer)
{
    return pointer >> 48;
}

/* Of a LIST. */
static inline enum code list_code(uint64_t pointer)
{
    return pointer >> 32 & 7;
}

static inline uint32_t list_count(uint64_t pointer)
{
    return (uint32_t)(pointer >> 35);
}

#endif
