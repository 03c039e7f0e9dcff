/* notes.c: the last lines that the main thread has logged, for whoever asks what has happened; main thread only. */
#include "loop/loop.h"

#include "culvert/operate.h"

#include <string.h>

enum { NOTES = 64, NOTE_BYTES = 240 };

static struct {
    struct note {
        int64_t unix_s;
        enum cv_level level;
        size_t n;
        char text[NOTE_BYTES];
    } v[NOTES];
    size_t n; /* ever kept */
} notes;

void notes_keep(int64_t unix_s, enum cv_level level, struct cv_str text)
{
    struct note *note = &notes.v[notes.n++ % NOTES];
    note->unix_s = unix_s;
    note->level = level;
    note->n = text.n < NOTE_BYTES ? text.n : NOTE_BYTES;
    while (note->n < text.n && note->n > 0 && ((unsigned char)text.p[note->n] & 0xc0) == 0x80)
        note->n--; /* no half characters */
    memcpy(note->text, text.p, note->n);
}

void cv_notes_each(void (*fn)(void *arg, const struct cv_note *), void *arg)
{
    size_t from = notes.n > NOTES ? notes.n - NOTES : 0;
    for (size_t i = from; i < notes.n; i++) {
        const struct note *note = &notes.v[i % NOTES];
        fn(arg, &(struct cv_note){ note->unix_s, note->level, { note->text, note->n } });
    }
}
