/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_list.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/config/file_text.h"

#define FREE_SLOT     0u
#define ADDRESS_BYTES 16u
#define LENGTHS       129u /* of ranges: 0..128 bits */

/* What a ban is found by. */
struct key {
    uint8_t kind; /* enum ban_kind */
    uint8_t bits; /* of an address, else 0 */
    struct bytes value;
};

struct entry {
    uint64_t until_ms; /* UINT64_MAX: forever */
    size_t value_at;   /* in values */
    uint16_t value_len;
    uint8_t kind;
    uint8_t bits;
    unsigned line;
};

struct ban_list {
    uint64_t seed;
    size_t count;
    size_t mask;     /* number of slots less one: a power of two, at least twice count */
    uint32_t *slots; /* by the key's hash, then one after the other: an entry's index and 1 */
    struct entry *entries;
    uint8_t *values;
    size_t values_len;
    uint8_t lengths[LENGTHS]; /* of ranges that there are */
    unsigned lengths_count;
};

struct reader {
    struct ban_list *list;
    const char *name;
    struct ban_clock clock;
    struct config_error *error;
};

/* ---- looking up */

static bool is_key(const struct ban_list *l, const struct entry *e, struct key key)
{
    return e->kind == key.kind && e->bits == key.bits &&
           bytes_equal(bytes_of(l->values + e->value_at, e->value_len), key.value);
}

/* Where the key's entry is, or would be. */
static size_t slot_of(const struct ban_list *l, struct key key)
{
    const uint64_t seed = l->seed ^ ((uint64_t)key.kind << 8 | key.bits);
    size_t slot = XXH3_64bits_withSeed(key.value.at, key.value.len, seed) & l->mask;
    while (l->slots[slot] != FREE_SLOT && !is_key(l, &l->entries[l->slots[slot] - 1], key)) {
        slot = (slot + 1) & l->mask;
    }
    return slot;
}

static unsigned find(const struct ban_list *l, struct key key, uint64_t now_ms)
{
    const uint32_t found = l->slots[slot_of(l, key)];
    if (found == FREE_SLOT) {
        return 0;
    }
    const struct entry *const e = &l->entries[found - 1];
    return now_ms < e->until_ms ? e->line : 0;
}

unsigned ban_list_find(const struct ban_list *l, enum ban_kind kind, struct bytes name,
                       uint64_t now_ms)
{
    assert(kind == BAN_CLIENT || kind == BAN_USER);

    return find(l, (struct key){.kind = (uint8_t)kind, .value = name}, now_ms);
}

unsigned ban_list_find_address(const struct ban_list *l, const struct in6_addr *address,
                               uint64_t now_ms)
{
    unsigned line = 0;
    for (unsigned i = 0; line == 0 && i < l->lengths_count; i++) {
        const struct in6_addr cut = address_range_cut(*address, l->lengths[i]);
        line = find(l,
                    (struct key){.kind = BAN_ADDRESS,
                                 .bits = l->lengths[i],
                                 .value = bytes_of(&cut, ADDRESS_BYTES)},
                    now_ms);
    }
    return line;
}

size_t ban_list_count(const struct ban_list *l)
{
    return l->count;
}

/* ---- reading */

static void add_length(struct ban_list *l, uint8_t bits)
{
    if (memchr(l->lengths, bits, l->lengths_count) == NULL) {
        l->lengths[l->lengths_count++] = bits;
    }
}

static void add(struct ban_list *l, struct key key, uint64_t until_ms, unsigned line)
{
    const size_t slot = slot_of(l, key);
    if (l->slots[slot] != FREE_SLOT) {
        struct entry *const e = &l->entries[l->slots[slot] - 1];
        if (until_ms > e->until_ms) {
            e->until_ms = until_ms;
            e->line = line;
        }
        return;
    }
    struct entry *const e = &l->entries[l->count++];
    *e = (struct entry){.until_ms = until_ms,
                        .value_at = l->values_len,
                        .value_len = (uint16_t)key.value.len,
                        .kind = key.kind,
                        .bits = key.bits,
                        .line = line};
    memcpy(l->values + l->values_len, key.value.at, key.value.len);
    l->values_len += key.value.len;
    l->slots[slot] = (uint32_t)l->count;
    if (key.kind == BAN_ADDRESS) {
        add_length(l, key.bits);
    }
}

static uint64_t until_ms(const struct ban *ban, struct ban_clock clock)
{
    return ban->until_s == BAN_FOREVER
               ? UINT64_MAX
               : clock.now_ms + (uint64_t)(ban->until_s - clock.wall_s) * 1000;
}

static void read_line(struct reader *r, unsigned number, struct bytes text)
{
    struct ban ban;
    const char *const wrong = ban_parse(&ban, text);
    if (wrong != NULL) {
        config_error_add(r->error, "%s:%u: %s", r->name, number, wrong);
        return;
    }
    if (ban.until_s <= r->clock.wall_s) {
        return;
    }
    const struct key key = {.kind = (uint8_t)ban.kind,
                            .bits = ban.range.bits,
                            .value = ban.kind == BAN_ADDRESS
                                         ? bytes_of(&ban.range.address, ADDRESS_BYTES)
                                         : bytes_of(ban.value, ban.value_len)};
    add(r->list, key, until_ms(&ban, r->clock), number);
}

static size_t bans_in(struct bytes text)
{
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    size_t count = 0;
    while (ban_lines_next(&lines, &line)) {
        count += line.text.len > 0;
    }
    return count;
}

/* Values are at most as long as what they were read from, but for addresses. */
static struct ban_list *create(size_t bans, size_t text_len, uint64_t seed)
{
    size_t slots = 2;
    while (slots < 2 * bans) {
        slots *= 2;
    }
    struct ban_list *const l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->seed = seed;
    l->mask = slots - 1;
    l->slots = calloc(slots, sizeof l->slots[0]);
    l->entries = calloc(bans > 0 ? bans : 1, sizeof l->entries[0]);
    l->values = malloc(text_len + bans * ADDRESS_BYTES + 1);
    if (l->slots == NULL || l->entries == NULL || l->values == NULL) {
        ban_list_destroy(l);
        return NULL;
    }
    return l;
}

/* What was too much for values goes back. */
static void shrink(struct ban_list *l)
{
    uint8_t *const fitting = realloc(l->values, l->values_len + 1);
    if (fitting != NULL) {
        l->values = fitting;
    }
}

enum ban_list_err ban_list_parse(struct ban_list **out, const char *name, struct bytes text,
                                 uint64_t seed, struct ban_clock clock, struct config_error *error)
{
    const unsigned mistakes = error->count;
    if (text.len > BAN_FILE_BYTES_MAX) {
        config_error_add(error, "%s: it has more than %u bytes", name, BAN_FILE_BYTES_MAX);
        return BAN_LIST_INVALID;
    }
    const size_t bans = bans_in(text);
    if (bans > BANS_MAX) {
        config_error_add(error, "%s: it has more than %u bans", name, BANS_MAX);
        return BAN_LIST_INVALID;
    }
    struct reader r = {
        .list = create(bans, text.len, seed), .name = name, .clock = clock, .error = error};
    if (r.list == NULL) {
        return BAN_LIST_NO_MEMORY;
    }
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    while (ban_lines_next(&lines, &line)) {
        if (line.text.len > 0) {
            read_line(&r, lines.number, line.text);
        }
    }
    assert(r.list->count <= bans);
    assert(r.list->values_len <= text.len + bans * ADDRESS_BYTES);
    if (error->count > mistakes) {
        ban_list_destroy(r.list);
        return BAN_LIST_INVALID;
    }
    shrink(r.list);
    *out = r.list;
    return BAN_LIST_OK;
}

enum ban_list_err ban_list_read(struct ban_list **out, const char *path, uint64_t seed,
                                struct ban_clock clock, struct config_error *error)
{
    char *text;
    size_t len;
    const int err = file_text_read(path, BAN_FILE_BYTES_MAX, &text, &len);
    if (err == ENOMEM) {
        return BAN_LIST_NO_MEMORY;
    }
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", path,
                         err == EFBIG ? "it has more than 64 MiB" : strerror(err));
        return BAN_LIST_INVALID;
    }
    const enum ban_list_err parsed =
        ban_list_parse(out, path, bytes_of(text, len), seed, clock, error);
    free(text);
    return parsed;
}

void ban_list_destroy(struct ban_list *l)
{
    if (l != NULL) {
        free(l->slots);
        free(l->entries);
        free(l->values);
        free(l);
    }
}
