/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cluster/meta/meta.h"
#include "cluster/meta/meta_parts.h"
#include "proto/node_field.h"

/*
 * A state: fields, each once, given once and for all:
 *   HEAD        cluster, u32 next number, u32 level, u8 replicas
 *   MEMBERS     each: u32 number, u8 state, a node (node_meta.h)
 *   REMOVED     each: u32 number, UUID
 *   PARTITIONS  each of the 64: u32 incarnation, u8 step, u64 changed, u64 began, u64 moved,
 *               u64 sealed, replicas and to: u8 count, u32 each
 */
enum {
    TAG_HEAD = NODE_TAG_HEAD,
    TAG_MEMBERS = 3,
    TAG_REMOVED = 4,
    TAG_PARTITIONS = 5,
};

/* ---- Writing */

static void put_members(struct sink *s, const struct meta_state *state)
{
    for (unsigned i = 0; i < state->members_count; i++) {
        const struct meta_member *const m = &state->members[i];
        const struct node_meta_node node = {.uuid = m->uuid,
                                            .features = m->features,
                                            .name = bytes_of(m->name, m->name_len),
                                            .zone = bytes_of(m->zone, m->zone_len)};
        uint8_t item[NODE_META_NODE_MAX];
        node_put_u32(s, m->number);
        sink_u8(s, m->state);
        sink_bytes(s, bytes_of(item, node_meta_node_encode(item, &node)));
    }
}

static void put_removed(struct sink *s, const struct meta_state *state)
{
    for (unsigned i = 0; i < state->removed_count; i++) {
        node_put_u32(s, state->removed[i].number);
        sink_bytes(s, bytes_of(state->removed[i].uuid.bytes, UUID_BYTES));
    }
}

static void put_replicas(struct sink *s, const struct node_replicas *r)
{
    sink_u8(s, r->count);
    for (unsigned i = 0; i < r->count; i++) {
        node_put_u32(s, r->at[i]);
    }
}

static void put_partitions(struct sink *s, const struct meta_state *state)
{
    for (unsigned i = 0; i < NODE_META_PARTITIONS; i++) {
        const struct meta_partition *const p = &state->partitions[i];
        node_put_u32(s, p->incarnation);
        sink_u8(s, p->step);
        node_put_u64(s, p->changed);
        node_put_u64(s, p->began);
        node_put_u64(s, p->moved);
        node_put_u64(s, p->sealed);
        put_replicas(s, &p->replicas);
        put_replicas(s, &p->to);
    }
}

/* A field whose length is only known when it has been written. */
static void put_list(struct sink *s, uint8_t tag, const struct meta_state *state,
                     void (*put)(struct sink *s, const struct meta_state *state))
{
    struct sink counted = node_sink(NULL);
    put(&counted, state);
    node_put_head(s, tag, counted.len);
    put(s, state);
}

size_t meta_encode(const struct meta_state *state, uint8_t *out)
{
    struct sink s = node_sink(out);
    node_put_head(&s, TAG_HEAD, UUID_BYTES + 2 * sizeof(uint32_t) + 1);
    sink_bytes(&s, bytes_of(state->cluster.bytes, UUID_BYTES));
    node_put_u32(&s, state->next_number);
    node_put_u32(&s, state->level);
    sink_u8(&s, state->replicas);
    put_list(&s, TAG_MEMBERS, state, put_members);
    put_list(&s, TAG_REMOVED, state, put_removed);
    put_list(&s, TAG_PARTITIONS, state, put_partitions);
    return s.len;
}

bool meta_hash(const struct meta_state *state, uint64_t *hash)
{
    const size_t len = meta_encode(state, NULL);
    uint8_t *const out = malloc(len);
    if (out == NULL) {
        return false;
    }
    (void)meta_encode(state, out);
    *hash = XXH3_64bits(out, len);
    free(out);
    return true;
}

/* ---- Reading. What is read is a state that commands may have come to. */

static bool take_head(struct meta_state *s, struct bytes value)
{
    struct cursor c = node_cursor(value);
    return node_copy(&c, s->cluster.bytes, UUID_BYTES) && node_u32(&c, &s->next_number) &&
           s->next_number >= 1 && node_u32(&c, &s->level) && cursor_u8(&c, &s->replicas);
}

static bool take_member(struct meta_state *s, struct bytes *rest)
{
    struct cursor c = node_cursor(*rest);
    struct node_meta_node node;
    if (s->members_count == META_MEMBERS_MAX) {
        return false;
    }
    struct meta_member *const m = &s->members[s->members_count];
    if (!node_u32(&c, &m->number) || !cursor_u8(&c, &m->state) || m->state > META_LEAVING) {
        return false;
    }
    *rest = cursor_rest(&c);
    if (!node_meta_node_next(rest, &node) || meta_member_by_uuid(s, node.uuid) != NULL) {
        return false;
    }
    m->uuid = node.uuid;
    m->features = node.features;
    m->name_len = (uint8_t)node.name.len;
    m->zone_len = (uint8_t)node.zone.len;
    memcpy(m->name, node.name.at, node.name.len);
    if (node.zone.len > 0) {
        memcpy(m->zone, node.zone.at, node.zone.len);
    }
    s->members_count++;
    return m->number >= 1 && (s->members_count == 1 || m[-1].number < m->number);
}

static bool take_removed(struct meta_state *s, struct bytes *rest)
{
    struct cursor c = node_cursor(*rest);
    if (s->removed_count == META_REMOVED_MAX) {
        return false;
    }
    struct meta_removed *const r = &s->removed[s->removed_count];
    if (!node_u32(&c, &r->number) || !node_copy(&c, r->uuid.bytes, UUID_BYTES) ||
        node_uuid_is_none(r->uuid) || meta_was_removed(s, r->uuid)) {
        return false;
    }
    *rest = cursor_rest(&c);
    s->removed_count++;
    return r->number >= 1 && (s->removed_count == 1 || r[-1].number < r->number);
}

static bool take_replicas(struct cursor *c, struct node_replicas *r)
{
    if (!cursor_u8(c, &r->count) || r->count > NODE_META_REPLICAS_MAX) {
        return false;
    }
    for (unsigned i = 0; i < r->count; i++) {
        if (!node_u32(c, &r->at[i])) {
            return false;
        }
    }
    return r->count == 0 || node_replicas_are_fair(r);
}

static bool take_partition(struct cursor *c, struct meta_partition *p)
{
    return node_u32(c, &p->incarnation) && cursor_u8(c, &p->step) && node_u64(c, &p->changed) &&
           node_u64(c, &p->began) && node_u64(c, &p->moved) && node_u64(c, &p->sealed) &&
           take_replicas(c, &p->replicas) && take_replicas(c, &p->to);
}

static bool take_lists(struct meta_state *s, uint8_t tag, struct bytes value)
{
    if (tag == TAG_PARTITIONS) {
        struct cursor c = node_cursor(value);
        for (unsigned i = 0; i < NODE_META_PARTITIONS; i++) {
            if (!take_partition(&c, &s->partitions[i])) {
                return false;
            }
        }
        return cursor_left(&c) == 0;
    }
    while (value.len > 0) {
        if (!(tag == TAG_MEMBERS ? take_member(s, &value) : take_removed(s, &value))) {
            return false;
        }
    }
    return true;
}

static bool numbers_are_given(const struct meta_state *s, const struct node_replicas *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->at[i] >= s->next_number) {
            return false;
        }
    }
    return true;
}

static bool partition_is_fair(const struct meta_state *s, const struct meta_partition *p)
{
    const bool is_moving = p->step != META_STEADY;
    return p->incarnation >= 1 && p->changed >= p->moved && p->step <= META_SEALED &&
           p->replicas.count > 0 && (p->to.count > 0) == is_moving && (p->moved > 0) == is_moving &&
           (p->sealed > 0) == (p->step == META_SEALED) && (p->began > 0) == (p->incarnation > 1) &&
           numbers_are_given(s, &p->replicas) && numbers_are_given(s, &p->to);
}

static bool partition_is_nothing(const struct meta_partition *p)
{
    return p->incarnation == 0 && p->step == META_STEADY && p->changed == 0 && p->began == 0 &&
           p->moved == 0 && p->sealed == 0 && p->replicas.count == 0 && p->to.count == 0;
}

/* As meta_init() leaves it. */
static bool is_nothing(const struct meta_state *s)
{
    for (unsigned i = 0; i < NODE_META_PARTITIONS; i++) {
        if (!partition_is_nothing(&s->partitions[i])) {
            return false;
        }
    }
    return s->next_number == 1 && s->level == 0 && s->replicas == 0 && s->members_count == 0 &&
           s->removed_count == 0;
}

static bool is_fair(const struct meta_state *s)
{
    if (cluster_uuid_is_none(s->cluster)) {
        return is_nothing(s);
    }
    if (!meta_replicas_are_known(s->replicas) || s->members_count == 0 ||
        s->members[s->members_count - 1].number >= s->next_number ||
        (s->removed_count > 0 && s->removed[s->removed_count - 1].number >= s->next_number)) {
        return false;
    }
    for (unsigned i = 0; i < s->members_count; i++) {
        if (s->members[i].features < s->level || meta_was_removed(s, s->members[i].uuid)) {
            return false;
        }
    }
    for (unsigned i = 0; i < NODE_META_PARTITIONS; i++) {
        if (!partition_is_fair(s, &s->partitions[i])) {
            return false;
        }
    }
    return true;
}

static bool take_fields(struct meta_state *s, struct bytes in)
{
    struct cursor c = node_cursor(in);
    unsigned seen = 0;
    while (cursor_left(&c) > 0) {
        struct node_field field;
        if (!node_field_take(&c, &field)) {
            return false;
        }
        if (field.tag != TAG_HEAD && (field.tag < TAG_MEMBERS || field.tag > TAG_PARTITIONS)) {
            if (node_field_unknown(&field) != NODE_OK) {
                return false;
            }
            continue;
        }
        if ((seen & 1u << field.tag) != 0 ||
            !(field.tag == TAG_HEAD ? take_head(s, field.value)
                                    : take_lists(s, field.tag, field.value))) {
            return false;
        }
        seen |= 1u << field.tag;
    }
    return seen == (1u << TAG_HEAD | 1u << TAG_MEMBERS | 1u << TAG_REMOVED | 1u << TAG_PARTITIONS);
}

bool meta_decode(struct meta_state *state, struct bytes in)
{
    meta_init(state);
    if (!take_fields(state, in) || !is_fair(state)) {
        meta_init(state);
        return false;
    }
    return true;
}
