/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bans_fuzz: any bytes are a ban list, or are refused in words that have a line; a ban that is
 * taken is read again as it is printed. Whoever is asked for is banned if a naive reading of all
 * lines, one after the other, says so. With one ban added, or taken out, all other lines are as
 * they were.
 *
 * Input: an address of 16 bytes; a ban's line, up to a newline; then the file.
 */
#include <string.h>

#include "broker/guard/ban_edit.h"
#include "broker/guard/ban_list.h"
#include "tests/fuzz/fuzz.h"

#define SEED   4711u
#define WALL_S 1800000000 /* 2027-01-15T08:00:00Z */
#define NOW_MS 1000000u

static const struct ban_clock now = {.wall_s = WALL_S, .now_ms = NOW_MS};

/* "fuzz:12: …" or "fuzz: …", each a line. */
static void told(const struct config_error *error)
{
    const size_t len = strlen(error->text);
    FUZZ_EXPECT(error->count > 0 && len > 0 && len < CONFIG_ERROR_BYTES);
    FUZZ_EXPECT(error->text[len - 1] == '\n');
    FUZZ_EXPECT(strncmp(error->text, "fuzz:", 5) == 0);
}

static void printed_is_read(const struct ban *ban)
{
    char text[BAN_LINE_BYTES_MAX];
    struct ban again;
    const size_t len = ban_print(ban, text);
    FUZZ_EXPECT(len < BAN_LINE_BYTES_MAX && memchr(text, '\n', len) == NULL);
    FUZZ_EXPECT(ban_parse(&again, bytes_of(text, len)) == NULL);
    FUZZ_EXPECT(ban_is_same(ban, &again) && ban->until_s == again.until_s);
    FUZZ_EXPECT(bytes_equal(ban->because, again.because));
}

static bool covers(const struct ban *ban, enum ban_kind kind, struct bytes name,
                   const struct in6_addr *address)
{
    if (ban->kind != kind || ban->until_s <= WALL_S) {
        return false;
    }
    if (kind != BAN_ADDRESS) {
        return bytes_equal(bytes_of(ban->value, ban->value_len), name);
    }
    for (unsigned i = 0; i < ban->range.bits; i++) {
        const unsigned byte = i / 8, bit = 7 - i % 8;
        if ((ban->range.address.s6_addr[byte] >> bit & 1) != (address->s6_addr[byte] >> bit & 1)) {
            return false;
        }
    }
    return true;
}

/* The list was taken: each line is a ban. */
static bool is_banned(struct bytes text, enum ban_kind kind, struct bytes name,
                      const struct in6_addr *address)
{
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    bool banned = false;
    while (ban_lines_next(&lines, &line)) {
        struct ban ban;
        if (line.text.len > 0) {
            FUZZ_EXPECT(ban_parse(&ban, line.text) == NULL);
            printed_is_read(&ban);
            banned = covers(&ban, kind, name, address) || banned;
        }
    }
    return banned;
}

static bool judged(struct bytes text, struct bytes name, const struct in6_addr *address)
{
    struct ban_list *l = NULL;
    struct config_error error = {0};
    if (ban_list_parse(&l, "fuzz", text, SEED, now, &error) != BAN_LIST_OK) {
        FUZZ_EXPECT(l == NULL);
        told(&error);
        return false;
    }
    FUZZ_EXPECT(error.count == 0);
    for (enum ban_kind kind = BAN_CLIENT; kind <= BAN_ADDRESS; kind++) {
        const unsigned line = kind == BAN_ADDRESS ? ban_list_find_address(l, address, NOW_MS)
                                                  : ban_list_find(l, kind, name, NOW_MS);
        FUZZ_EXPECT((line > 0) == is_banned(text, kind, name, address));
    }
    ban_list_destroy(l);
    return true;
}

static bool is_of(const struct ban_line *line, const struct ban *ban)
{
    struct ban other;
    return line->text.len > 0 && ban_parse(&other, line->text) == NULL && ban_is_same(&other, ban);
}

/* A line without its end, which the last may get; a \r alone before it is then a part of that. */
static struct bytes without_end(const struct ban_line *line)
{
    struct bytes text = bytes_of(line->whole.at, line->whole.len - line->end.len);
    while (text.len > 0 && text.at[text.len - 1] == '\r') {
        text.len--;
    }
    return text;
}

/* The next line of another ban, or none. */
static bool next_other(struct ban_lines *lines, const struct ban *ban, struct bytes *whole)
{
    struct ban_line line;
    while (ban_lines_next(lines, &line)) {
        if (!is_of(&line, ban)) {
            *whole = without_end(&line);
            return true;
        }
    }
    return false;
}

static unsigned lines_of(struct bytes text, const struct ban *ban)
{
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    unsigned count = 0;
    while (ban_lines_next(&lines, &line)) {
        count += is_of(&line, ban);
    }
    return count;
}

static void edited(struct bytes text, const struct ban *ban, bool keep)
{
    struct ban_edit e;
    FUZZ_EXPECT(ban_edit(&e, text, ban, keep));
    const struct bytes after = bytes_of(e.text, e.len);
    FUZZ_EXPECT(e.found == lines_of(text, ban));
    FUZZ_EXPECT(lines_of(after, ban) == keep);
    struct ban_lines before_lines = ban_lines_of(text), after_lines = ban_lines_of(after);
    struct bytes a, b;
    while (next_other(&before_lines, ban, &a)) {
        FUZZ_EXPECT(next_other(&after_lines, ban, &b) && bytes_equal(a, b));
    }
    FUZZ_EXPECT(!next_other(&after_lines, ban, &b));
    free(e.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct in6_addr address;
    if (size < sizeof address) {
        return 0;
    }
    memcpy(&address, data, sizeof address);
    const struct bytes rest = bytes_of(data + sizeof address, size - sizeof address);
    struct ban_lines lines = ban_lines_of(rest);
    struct ban_line first;
    if (!ban_lines_next(&lines, &first)) {
        return 0;
    }
    struct ban ban;
    const bool is_ban = first.text.len > 0 && ban_parse(&ban, first.text) == NULL;
    const struct bytes name = is_ban ? bytes_of(ban.value, ban.value_len) : first.text;
    judged(lines.left, name, &address);
    if (is_ban) {
        edited(lines.left, &ban, true);
        edited(lines.left, &ban, false);
    }
    return 0;
}
