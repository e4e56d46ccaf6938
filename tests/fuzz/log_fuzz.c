/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_fuzz: whatever a client says, a line of the log is one line, its values are in their quotes,
 * nothing in it is acted upon by a terminal, and unquoted it says the same again. The log's reading
 * of UTF-8 (rune.h) agrees with the decoder's (utf8.h).
 *
 * Input: texts with a 0xff between each two; each becomes a field.
 */
#include <string.h>

#include "broker/log/log_line.h"
#include "broker/log/rune.h"
#include "proto/utf8.h"
#include "tests/fuzz/fuzz.h"

#define TEXTS_MAX 6u

/* In well-formed UTF-8: of each length of sequence, how one begins. */
static size_t rune_put(uint8_t *out, uint32_t rune)
{
    if (rune < 0x80) {
        out[0] = (uint8_t)rune;
        return 1;
    }
    const size_t len = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, rune >>= 6) {
        out[i] = (uint8_t)(0x80 | (rune & 0x3f));
    }
    out[0] = (uint8_t)(0xf00 >> len | rune);
    return len;
}

/* The text as the line has to give it: what is no UTF-8 is U+FFFD, byte by byte. out[3 * len] */
static size_t shown(struct bytes text, uint8_t *out)
{
    size_t to = 0;
    bool whole = true;
    for (size_t at = 0; at < text.len;) {
        uint32_t rune;
        const size_t len = rune_decode(text.at + at, text.len - at, &rune);
        uint8_t again[4];
        FUZZ_EXPECT(len == 0 ||
                    (rune_put(again, rune) == len && memcmp(again, text.at + at, len) == 0));
        whole = whole && len > 0 && rune != 0; /* MQTT has no U+0000 */
        to += rune_put(out + to, len == 0 ? 0xfffd : rune);
        at += len == 0 ? 1 : len;
    }
    FUZZ_EXPECT(whole == utf8_valid(text));
    return to;
}

static uint32_t hex4(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], '\0'};
    char *end;
    const unsigned long value = strtoul(digits, &end, 16);
    FUZZ_EXPECT(end == digits + 4);
    return (uint32_t)value;
}

/* Takes one escape off `at`, which stands behind its backslash. */
static const char *escape_take(const char *at, uint32_t *rune)
{
    static const char letters[] = "\"\\nrt", meant[] = "\"\\\n\r\t";
    if (*at != 'u') {
        const char *const letter = memchr(letters, *at, sizeof letters - 1);
        FUZZ_EXPECT(letter != NULL);
        *rune = (uint8_t)meant[letter - letters];
        return at + 1;
    }
    *rune = hex4(at + 1);
    if (*rune >= 0xd800 && *rune < 0xdc00) {
        FUZZ_EXPECT(at[5] == '\\' && at[6] == 'u');
        const uint32_t low = hex4(at + 7);
        FUZZ_EXPECT(low >= 0xdc00 && low < 0xe000);
        *rune = 0x10000 + ((*rune - 0xd800) << 10) + (low - 0xdc00);
        return at + 11;
    }
    return at + 5;
}

/* Reads the value at `at`; out[] gets it without quotes and escapes. Where the line goes on. */
static const char *value_take(const char *at, uint8_t *out, size_t *len)
{
    *len = 0;
    if (*at != '"') {
        while (*at != ' ' && *at != '\n') {
            FUZZ_EXPECT(*at > ' ' && *at < 0x7f && strchr("\"=\\", *at) == NULL);
            out[(*len)++] = (uint8_t)*at++;
        }
        return at;
    }
    for (at++; *at != '"';) {
        uint32_t rune;
        if (*at == '\\') {
            at = escape_take(at + 1, &rune);
            *len += rune_put(out + *len, rune);
        } else {
            const size_t n = rune_decode((const uint8_t *)at, 4, &rune);
            FUZZ_EXPECT(n > 0 && !rune_is_unsafe(rune));
            memcpy(out + *len, at, n);
            *len += n;
            at += n;
        }
    }
    return at + 1;
}

/* `line` is followed by room that holds a newline: no reading goes further. */
static void line_check(const char *line, const struct log_record *r, enum log_format format)
{
    static uint8_t got[LOG_LINE_BYTES_MAX], wanted[3 * LOG_RECORD_BYTES];
    const char *at = line;
    struct log_field field;
    for (size_t from = 0; log_record_next(r, &from, &field);) {
        char name[LOG_NAME_BYTES_MAX + 8];
        snprintf(name, sizeof name, format == LOG_JSON ? ",\"%s\":" : " %s=", field.name);
        at = strstr(at, name); /* each name is there but once, and before what a client says */
        FUZZ_EXPECT(at != NULL);
        size_t len;
        at = value_take(at + strlen(name), got, &len);
        FUZZ_EXPECT(len == shown(field.bytes, wanted) && memcmp(got, wanted, len) == 0);
    }
    FUZZ_EXPECT(strncmp(at, format == LOG_JSON ? "}\n" : "\n", 2 - (format != LOG_JSON)) == 0 ||
                (r->cut && strstr(at, "cut") != NULL));
}

static void write_and_check(const struct log_record *r, enum log_format format)
{
    static char line[LOG_LINE_BYTES_MAX + 8];
    const size_t len = log_line_write(line, r, format);
    FUZZ_EXPECT(len > 0 && len <= LOG_LINE_BYTES_MAX);
    FUZZ_EXPECT(memchr(line, '\n', len) == line + len - 1 && memchr(line, '\0', len) == NULL);
    memset(line + len, 0, 8);
    line_check(line, r, format);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[TEXTS_MAX] = {"field_a", "field_b", "field_c",
                                                 "field_d", "field_e", "field_f"};
    struct log_field fields[TEXTS_MAX + 1] = {{.name = NULL}};
    size_t count = 1;
    for (bool more = true; more && count <= TEXTS_MAX; count++) {
        const uint8_t *const end = size == 0 ? NULL : memchr(data, 0xff, size);
        const size_t len = end == NULL ? size : (size_t)(end - data);
        fields[count] = log_field_bytes(names[count - 1], bytes_of(data, len));
        uint8_t *const out = malloc(3 * len + 1);
        FUZZ_EXPECT(out != NULL);
        shown(fields[count].bytes, out);
        free(out);
        more = end != NULL;
        data += len + more;
        size -= len + more;
    }
    struct log_record r;
    const struct log_place place = {.now_ns = 1};
    log_record_fill(&r, LOG_WARNING, "event", &place, fields, count);
    write_and_check(&r, LOG_LOGFMT);
    write_and_check(&r, LOG_JSON);
    return 0;
}
