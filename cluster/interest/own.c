/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/own.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAITS_MIN 64u

struct own_entry {
    struct table_link link;
    uint64_t version; /* that told of it */
    uint32_t held;    /* how often it was taken */
    uint32_t told;    /* the count that the others know; >= 1 */
    uint16_t len;
    uint8_t kind;
    bool waits : 1; /* in own.waits */
    bool anew : 1;  /* it was taken since it came there: its time begins again */
    uint8_t text[];
};

bool own_init(struct own *o, const struct own_conf *conf)
{
    *o = (struct own){.seed = conf->seed, .settle_ms = conf->settle_ms};
    if (table_init(&o->table) != 0) {
        return false;
    }
    if (!tail_init(&o->tail, conf->tail_ops_max, conf->tail_bytes_max)) {
        table_fini(&o->table);
        return false;
    }
    return true;
}

void own_fini(struct own *o)
{
    size_t cursor = 0;
    for (struct table_link *l = table_any(&o->table, &cursor); l != NULL;
         l = table_any(&o->table, &cursor)) {
        struct own_entry *const e = table_object(l, struct own_entry, link);
        table_remove(&o->table, l);
        free(e);
    }
    table_fini(&o->table);
    tail_fini(&o->tail);
    free(o->waits);
    o->waits = NULL;
}

static struct bytes text_of(const struct own_entry *e)
{
    return bytes_of(e->text, e->len);
}

static struct own_entry *find(struct own *o, uint64_t hash, uint8_t kind, struct bytes text)
{
    for (struct table_link *l = table_find(&o->table, hash); l != NULL; l = table_find_next(l)) {
        struct own_entry *const e = table_object(l, struct own_entry, link);
        if (e->kind == kind && bytes_equal(text_of(e), text)) {
            return e;
        }
    }
    return NULL;
}

/* What is to be told of it: a filter is there or not, a group has so many members. */
static uint32_t count_of(const struct own_entry *e)
{
    return e->kind == NODE_INTEREST_GROUP || e->held == 0 ? e->held : 1;
}

/* One more version: the count of the entry is now what it is. */
static void tell(struct own *o, struct own_entry *e)
{
    const uint32_t count = count_of(e);
    const struct node_interest_item item = {.kind = e->kind, .count = count, .text = text_of(e)};
    digest_change(&o->digest, item_hash(e->kind, text_of(e), o->seed), e->told, count);
    tail_add(&o->tail, &item);
    o->version++;
    e->told = count;
    assert(o->version == o->tail.next - 1);
}

static size_t entry_bytes(size_t len)
{
    return offsetof(struct own_entry, text) + len;
}

static void entry_free(struct own *o, struct own_entry *e)
{
    table_remove(&o->table, &e->link);
    o->count--;
    o->bytes -= entry_bytes(e->len);
    free(e);
}

/* ---- What waits to be told */

static struct own_wait *wait_at(const struct own *o, size_t i)
{
    return &o->waits[(o->waits_first + i) % o->waits_capacity];
}

static bool waits_reserve(struct own *o)
{
    if (o->waits_count < o->waits_capacity) {
        return true;
    }
    const size_t capacity = o->waits_capacity == 0 ? WAITS_MIN : 2 * o->waits_capacity;
    struct own_wait *const waits = calloc(capacity, sizeof *waits);
    if (waits == NULL) {
        return false;
    }
    for (size_t i = 0; i < o->waits_count; i++) {
        waits[i] = *wait_at(o, i);
    }
    free(o->waits);
    o->waits = waits;
    o->waits_capacity = capacity;
    o->waits_first = 0;
    return true;
}

/* Its time has come. */
static void settle(struct own *o, struct own_entry *e)
{
    if (count_of(e) != e->told) {
        tell(o, e);
    }
    if (e->held == 0) {
        entry_free(o, e);
    }
}

/* Without memory for waiting it is told at once. */
static void wait_begin(struct own *o, struct own_entry *e, uint64_t now_ms)
{
    if (!waits_reserve(o)) {
        settle(o, e);
        return;
    }
    o->waits_count++;
    *wait_at(o, o->waits_count - 1) =
        (struct own_wait){.entry = e, .due_ms = now_ms + o->settle_ms};
    e->waits = true;
    e->anew = false;
}

void own_turn(struct own *o, uint64_t now_ms, unsigned steps)
{
    for (; steps > 0 && own_next_ms(o) <= now_ms; steps--) {
        struct own_entry *const e = wait_at(o, 0)->entry;
        o->waits_first = (o->waits_first + 1) % o->waits_capacity;
        o->waits_count--;
        e->waits = false;
        if (e->held == 0 && e->anew) { /* it was wanted, and let go of, in between */
            wait_begin(o, e, now_ms);
        } else {
            settle(o, e);
        }
    }
}

uint64_t own_next_ms(const struct own *o)
{
    return o->waits_count == 0 ? UINT64_MAX : wait_at(o, 0)->due_ms;
}

/* ---- */

static struct own_entry *create(struct own *o, uint64_t hash, uint8_t kind, struct bytes text)
{
    assert(text.len <= NODE_INTEREST_TEXT_MAX);

    struct own_entry *const e = calloc(1, entry_bytes(text.len));
    if (e != NULL) {
        e->kind = kind;
        e->len = (uint16_t)text.len;
        memcpy(e->text, text.at, text.len);
        table_insert(&o->table, &e->link, hash);
        o->count++;
        o->bytes += entry_bytes(text.len);
    }
    return e;
}

bool own_take(struct own *o, uint8_t kind, struct bytes text, uint64_t now_ms, uint64_t *version)
{
    const uint64_t hash = item_hash_short(item_hash(kind, text, o->seed));
    struct own_entry *e = find(o, hash, kind, text);
    if (e == NULL) {
        e = create(o, hash, kind, text);
        if (e == NULL) {
            return false;
        }
        e->held = 1;
        tell(o, e);
        e->version = o->version;
        *version = e->version;
        return true;
    }
    *version = e->version;
    e->anew = e->anew || e->held == 0;
    e->held++;
    if (!e->waits && count_of(e) != e->told) {
        wait_begin(o, e, now_ms);
    }
    return true;
}

void own_put(struct own *o, uint8_t kind, struct bytes text, uint64_t now_ms)
{
    struct own_entry *const e =
        find(o, item_hash_short(item_hash(kind, text, o->seed)), kind, text);
    assert(e != NULL);
    assert(e->held > 0);

    e->held--;
    if (!e->waits && count_of(e) != e->told) {
        wait_begin(o, e, now_ms);
    }
}

/* ---- A walk */

static size_t encode(const struct own_entry *e, uint8_t *out, size_t out_max)
{
    const struct node_interest_item item = {.kind = e->kind, .count = e->told, .text = text_of(e)};
    return NODE_INTEREST_ITEM_BYTES + item.text.len > out_max
               ? 0
               : node_interest_item_encode(out, &item);
}

/* All that have the hash of `l`; 0: they do not fit. Three of 64 KiB and with the same 64 bits
 * would never: the digest tells. */
static size_t encode_same(const struct table_link *l, uint8_t *out, size_t out_max)
{
    size_t len = 0;
    for (; l != NULL; l = table_find_next(l)) {
        const size_t one =
            encode(table_object(l, const struct own_entry, link), out + len, out_max - len);
        if (one == 0) {
            return 0;
        }
        len += one;
    }
    return len;
}

size_t own_walk(struct own *o, uint64_t *place, uint8_t *out, size_t out_max, unsigned steps,
                bool *end)
{
    size_t len = 0;
    *end = false;
    while (steps > 0) {
        const struct table_link *const l = table_walk(&o->table, place, &steps);
        if (l == NULL) {
            *end = steps > 0;
            break;
        }
        const size_t more = encode_same(l, out + len, out_max - len);
        if (more == 0 && len > 0) {
            break; /* in the next part */
        }
        len += more;
        steps--;
        *place = table_place_after(l->hash);
        if (*place == 0) {
            *end = true;
            break;
        }
    }
    return len;
}
