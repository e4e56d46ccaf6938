/* SPDX-License-Identifier: Apache-2.0 */
/* Writes lines of random fields to stdout, in the format and from the seed given; for log_json.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/log_line.h"

static uint64_t state;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Half of it text of all kinds, half of it any bytes. */
static size_t random_text(uint8_t *out, size_t out_bytes)
{
    static const char *const pieces[] = {
        "\"",           "\\",           "=",   " ",    "\n",  "\xc3\xa9", "\xf0\x9f\x98\x80",
        "\xe2\x80\xa8", "\xed\xa0\x80", "abc", "\xff", "\xc3"};
    size_t len = 0;
    const size_t want = next() % out_bytes;
    const bool any = next() % 2 == 0;
    while (len < want) {
        if (any) {
            out[len++] = (uint8_t)next();
            continue;
        }
        const char *const piece = pieces[next() % (sizeof pieces / sizeof pieces[0])];
        for (size_t i = 0; piece[i] != '\0' && len < want; i++) {
            out[len++] = (uint8_t)piece[i];
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    if (argc != 3) {
        return 2;
    }
    const enum log_format format = strcmp(argv[1], "json") == 0 ? LOG_JSON : LOG_LOGFMT;
    state = strtoull(argv[2], NULL, 10) | 1;
    for (unsigned line = 0; line < 5000; line++) {
        uint8_t text[6][400];
        struct log_field fields[7] = {{.name = NULL}};
        const size_t count = 1 + next() % 7;
        for (size_t i = 1; i < count; i++) {
            const char *const name = names[i - 1];
            fields[i] =
                next() % 4 == 0
                    ? log_field_signed(name, (int64_t)next())
                    : log_field_bytes(name, bytes_of(text[i - 1], random_text(text[i - 1], 400)));
        }
        struct log_record r;
        char out[LOG_LINE_BYTES_MAX];
        const struct log_place place = {.now_ns = next(), .suppressed = (uint32_t)(next() % 3)};
        log_record_fill(&r, (enum log_level)(next() % 4), "event", &place, fields, count);
        fwrite(out, 1, log_line_write(out, &r, format), stdout);
    }
    return 0;
}
