/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/replica/versions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHILD_SHIFT 56u
#define LEAF_SHIFT  48u

bool versions_init(struct versions *t, uint64_t seed)
{
    *t = (struct versions){.seed = seed};
    t->leaves = calloc(VERSIONS_LEAVES, sizeof *t->leaves);
    if (t->leaves == NULL || table_init(&t->table) != 0) {
        free(t->leaves);
        return false;
    }
    if (table_init(&t->writers) != 0) {
        table_fini(&t->table);
        free(t->leaves);
        return false;
    }
    return true;
}

void versions_fini(struct versions *t)
{
    size_t cursor = 0;
    for (struct table_link *l = table_any(&t->table, &cursor); l != NULL;
         l = table_any(&t->table, &cursor)) {
        table_remove(&t->table, l);
        free(table_object(l, struct topic_entry, link));
    }
    cursor = 0;
    for (struct table_link *l = table_any(&t->writers, &cursor); l != NULL;
         l = table_any(&t->writers, &cursor)) {
        table_remove(&t->writers, l);
        free(table_object(l, struct topic_writer, link));
    }
    table_fini(&t->table);
    table_fini(&t->writers);
    free(t->leaves);
    t->leaves = NULL;
}

/* ---- Hashes */

struct topic_name_hash versions_hash(const struct versions *t, struct bytes topic)
{
    const XXH128_hash_t h = XXH3_128bits_withSeed(topic.at, topic.len, t->seed);
    return (struct topic_name_hash){.hash = h.low64, .check = (uint32_t)h.high64};
}

uint64_t versions_place(uint64_t hash)
{
    return table_place_after(hash) - 1;
}

static uint64_t writer_hash(const struct versions *t, struct node_uuid origin, uint64_t generation)
{
    uint8_t bytes[UUID_BYTES + sizeof generation];
    memcpy(bytes, origin.bytes, UUID_BYTES);
    put_u64(bytes + UUID_BYTES, generation);
    return XXH3_64bits_withSeed(bytes, sizeof bytes, t->seed);
}

/* Of the topic and its version. */
static unsigned __int128 entry_hash(const struct versions *t, const struct topic_entry *e)
{
    const XXH128_hash_t topic = XXH3_128bits_withSeed(e->topic, e->len, t->seed);
    uint8_t bytes[4 * sizeof(uint64_t) + UUID_BYTES];
    put_u64(bytes, topic.low64);
    put_u64(bytes + 8, topic.high64);
    put_u64(bytes + 16, e->stamp);
    put_u64(bytes + 24, e->writer->generation);
    memcpy(bytes + 32, e->writer->origin.bytes, UUID_BYTES);
    const XXH128_hash_t h = XXH3_128bits_withSeed(bytes, sizeof bytes, t->seed);
    return (unsigned __int128)h.high64 << 64 | h.low64;
}

static void count_in(struct versions *t, const struct topic_entry *e)
{
    const unsigned __int128 h = entry_hash(t, e);
    const uint64_t place = versions_place(e->link.hash);
    t->root.sum += h;
    t->children[place >> CHILD_SHIFT].sum += h;
    t->leaves[place >> LEAF_SHIFT].sum += h;
    t->gone += e->gone;
}

static void count_out(struct versions *t, const struct topic_entry *e)
{
    const unsigned __int128 h = entry_hash(t, e);
    const uint64_t place = versions_place(e->link.hash);
    t->root.sum -= h;
    t->children[place >> CHILD_SHIFT].sum -= h;
    t->leaves[place >> LEAF_SHIFT].sum -= h;
    t->gone -= e->gone;
}

/* ---- Writers */

static struct topic_writer *writer_take(struct versions *t, struct node_uuid origin,
                                        uint64_t generation)
{
    const uint64_t hash = writer_hash(t, origin, generation);
    for (struct table_link *l = table_find(&t->writers, hash); l != NULL; l = table_find_next(l)) {
        struct topic_writer *const w = table_object(l, struct topic_writer, link);
        if (w->generation == generation && node_uuid_equal(w->origin, origin)) {
            w->count++;
            return w;
        }
    }
    struct topic_writer *const w = calloc(1, sizeof *w);
    if (w != NULL) {
        w->origin = origin;
        w->generation = generation;
        w->count = 1;
        table_insert(&t->writers, &w->link, hash);
        t->bytes += sizeof *w;
    }
    return w;
}

static void writer_put(struct versions *t, struct topic_writer *w)
{
    assert(w->count > 0);

    if (--w->count == 0) {
        table_remove(&t->writers, &w->link);
        t->bytes -= sizeof *w;
        free(w);
    }
}

/* ---- Entries */

struct topic_entry *versions_find(struct versions *t, struct bytes topic)
{
    const uint64_t hash = versions_hash(t, topic).hash;
    for (struct table_link *l = table_find(&t->table, hash); l != NULL; l = table_find_next(l)) {
        struct topic_entry *const e = table_object(l, struct topic_entry, link);
        if (bytes_equal(versions_name(e), topic)) {
            return e;
        }
    }
    return NULL;
}

static size_t entry_bytes(size_t len)
{
    return offsetof(struct topic_entry, topic) + len;
}

static struct topic_entry *create(struct versions *t, struct bytes topic)
{
    assert(topic.len <= NODE_RETAINED_TOPIC_MAX);

    struct topic_entry *const e = calloc(1, entry_bytes(topic.len));
    if (e != NULL) {
        const uint64_t hash = versions_hash(t, topic).hash;
        e->len = (uint16_t)topic.len;
        memcpy(e->topic, topic.at, topic.len);
        table_insert(&t->table, &e->link, hash);
        t->count++;
        t->counts[versions_place(hash) >> CHILD_SHIFT]++;
        t->bytes += entry_bytes(topic.len);
    }
    return e;
}

struct topic_entry *versions_set(struct versions *t, struct bytes topic,
                                 const struct retained_version *version, bool gone, uint64_t handle)
{
    struct topic_writer *const w = writer_take(t, version->origin, version->generation);
    if (w == NULL) {
        return NULL;
    }
    struct topic_entry *e = versions_find(t, topic);
    if (e != NULL) {
        count_out(t, e);
        writer_put(t, e->writer);
    } else {
        e = create(t, topic);
        if (e == NULL) {
            writer_put(t, w);
            return NULL;
        }
    }
    e->stamp = version->stamp;
    e->writer = w;
    e->gone = gone;
    e->handle = handle;
    count_in(t, e);
    return e;
}

void versions_expire(struct versions *t, struct topic_entry *e)
{
    assert(!e->gone);

    e->gone = true;
    e->handle = 0;
    t->gone++;
}

void versions_remove(struct versions *t, struct topic_entry *e)
{
    count_out(t, e);
    writer_put(t, e->writer);
    table_remove(&t->table, &e->link);
    t->count--;
    t->counts[versions_place(e->link.hash) >> CHILD_SHIFT]--;
    t->bytes -= entry_bytes(e->len);
    free(e);
}

bool versions_check(struct versions *t)
{
    struct digest root = {0};
    size_t count = 0, gone = 0;
    uint64_t place = 0;
    for (unsigned steps = 1u << 20;;) {
        struct table_link *l = table_walk(&t->table, &place, &steps);
        if (l == NULL) {
            break;
        }
        place = table_place_after(l->hash);
        for (; l != NULL; l = table_find_next(l)) {
            const struct topic_entry *const e = table_object(l, struct topic_entry, link);
            root.sum += entry_hash(t, e);
            count++;
            gone += e->gone;
        }
        if (place == 0) {
            break;
        }
    }
    struct digest children = {0}, leaves = {0};
    size_t counts = 0;
    for (unsigned i = 0; i < VERSIONS_PARTS; i++) {
        children.sum += t->children[i].sum;
        counts += t->counts[i];
    }
    for (unsigned i = 0; i < VERSIONS_LEAVES; i++) {
        leaves.sum += t->leaves[i].sum;
    }
    return root.sum == t->root.sum && children.sum == root.sum && leaves.sum == root.sum &&
           count == t->count && counts == count && gone == t->gone;
}
