/* event_scan.h: where events end in an event stream. Source: the event stream format of the HTML standard. */
#ifndef REQUEST_EVENT_SCAN_H
#define REQUEST_EVENT_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_scan { /* {0} at the beginning of a stream */
    bool after_cr;  /* a line feed belongs to it              */
    bool in_line;
    bool has_field; /* since the last empty line: comments make no event */
};
/* How many events end in these bytes, which follow those of the call before. */
size_t event_scan(struct event_scan *, const uint8_t *, size_t n);
#endif
