/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/meta/formation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/node_field.h"

#define MEMBERS_BYTES_MAX (NODE_META_FORM_MAX * NODE_META_NODE_MAX)

/* What is on disk: a head, and the first members. */
struct kept {
    uint8_t phase; /* of enum formation_phase */
    struct cluster_uuid cluster;
    struct node_uuid proposer; /* PROPOSED, PROMISED */
    uint32_t number;           /* FORMED */
    size_t members_len;
    uint8_t members[MEMBERS_BYTES_MAX];
};

struct formation {
    struct formation_conf conf;
    struct kept kept; /* what is written; is it durable? */
    uint64_t written, durable;

    /* Of the proposal: */
    bool promised[NODE_META_FORM_MAX]; /* by place in the members */
    uint64_t proposed_ms;
    uint64_t rest_ms;   /* nothing is proposed before */
    uint64_t proposals; /* of this start */

    uint64_t again_ms; /* when all is said again */
    bool sees_cluster;
};

struct formation_conf formation_conf_defaults(void)
{
    return (struct formation_conf){.initial_size = 3, .again_ms = 1000, .patience_ms = 10000};
}

struct formation *formation_create(const struct formation_conf *conf)
{
    assert(conf->initial_size >= 1);
    assert(conf->initial_size <= NODE_META_FORM_MAX);

    struct formation *const f = calloc(1, sizeof *f);
    if (f != NULL) {
        f->conf = *conf;
    }
    return f;
}

void formation_destroy(struct formation *f)
{
    free(f);
}

/* ---- The disk */

static void encode(struct sink *s, const struct kept *k)
{
    node_put_head(s, NODE_TAG_HEAD, 1 + 2 * UUID_BYTES + sizeof k->number);
    sink_u8(s, k->phase);
    sink_bytes(s, bytes_of(k->cluster.bytes, UUID_BYTES));
    sink_bytes(s, bytes_of(k->proposer.bytes, UUID_BYTES));
    node_put_u32(s, k->number);
    node_put_field(s, NODE_TAG_ITEMS, bytes_of(k->members, k->members_len));
}

static void write_kept(struct formation *f)
{
    uint8_t out[FORMATION_RECORD_MAX];
    struct sink s = node_sink(out);
    encode(&s, &f->kept);
    assert(s.len <= sizeof out);
    f->written++;
    f->again_ms = 0;
    f->conf.events.write(f->conf.events.context, bytes_of(out, s.len));
}

static bool is_durable(const struct formation *f)
{
    return f->durable == f->written;
}

bool formation_recover(struct formation *f, struct bytes record)
{
    struct bytes head, items;
    struct kept k = {.phase = 0};
    unsigned count;
    if (node_fields_head_items(&head, &items, record) != NODE_OK) {
        return false;
    }
    struct cursor c = node_cursor(head);
    if (!cursor_u8(&c, &k.phase) || k.phase > FORMATION_FORMED ||
        !node_copy(&c, k.cluster.bytes, UUID_BYTES) ||
        !node_copy(&c, k.proposer.bytes, UUID_BYTES) || !node_u32(&c, &k.number) ||
        !node_meta_nodes_check(items, NODE_META_FORM_MAX, &count) || items.len > sizeof k.members ||
        (k.phase != FORMATION_EMPTY && cluster_uuid_is_none(k.cluster)) ||
        (k.phase == FORMATION_FORMED) != (k.number > 0)) {
        return false;
    }
    k.members_len = items.len;
    if (items.len > 0) {
        memcpy(k.members, items.at, items.len);
    }
    f->kept = k;
    f->promised[0] = k.phase == FORMATION_PROPOSED; /* by itself */
    return true;
}

uint64_t formation_written(const struct formation *f)
{
    return f->written;
}

/* ---- The first members */

static struct bytes members(const struct formation *f)
{
    return bytes_of(f->kept.members, f->kept.members_len);
}

/* Its place among them, from 0 on; NODE_META_FORM_MAX: it is none. */
static unsigned place_of(struct bytes items, struct node_uuid uuid)
{
    struct node_meta_node node;
    for (unsigned i = 0; items.len > 0 && node_meta_node_next(&items, &node); i++) {
        if (node_uuid_equal(node.uuid, uuid)) {
            return i;
        }
    }
    return NODE_META_FORM_MAX;
}

static bool is_about(const struct formation *f, struct cluster_uuid cluster)
{
    return f->kept.phase != FORMATION_EMPTY && cluster_uuid_equal(f->kept.cluster, cluster);
}

/* ---- Steps: each is written, and nothing more is said until it is durable */

static void step_to_empty(struct formation *f)
{
    memset(&f->kept, 0, sizeof f->kept);
    write_kept(f);
}

static void give_up(struct formation *f, uint64_t now_ms)
{
    assert(f->kept.phase == FORMATION_PROPOSED);
    f->rest_ms = now_ms + f->conf.again_ms;
    step_to_empty(f);
}

static void step_to_formed(struct formation *f, uint32_t number)
{
    f->kept.phase = FORMATION_FORMED;
    f->kept.number = number;
    write_kept(f);
}

static void step_to_member(struct formation *f, struct cluster_uuid cluster, uint32_t number)
{
    memset(&f->kept, 0, sizeof f->kept);
    f->kept.cluster = cluster;
    step_to_formed(f, number);
}

static void step_to_promised(struct formation *f, const struct node_form *m, struct node_uuid from)
{
    memset(&f->kept, 0, sizeof f->kept);
    memset(f->promised, 0, sizeof f->promised);
    f->kept.phase = FORMATION_PROMISED;
    f->kept.cluster = m->cluster;
    f->kept.proposer = from;
    f->kept.members_len = m->items.len;
    memcpy(f->kept.members, m->items.at, m->items.len);
    write_kept(f);
}

/* A UUID that nobody else comes to: of what is random of this start, and of a count. */
static struct cluster_uuid new_cluster(struct formation *f)
{
    uint8_t in[2 * UUID_BYTES + sizeof(uint64_t)];
    uint8_t out[UUID_BYTES];
    memcpy(in, f->conf.random, UUID_BYTES);
    memcpy(in + UUID_BYTES, f->conf.self.bytes, UUID_BYTES);
    put_u64(in + 2 * (size_t)UUID_BYTES, ++f->proposals);
    const XXH128_hash_t hash = XXH3_128bits(in, sizeof in);
    put_u64(out, hash.low64);
    put_u64(out + sizeof(uint64_t), hash.high64);
    return cluster_uuid_of_random(out);
}

/* ---- What is said */

static void say(struct formation *f, struct node_uuid to, enum node_form_kind kind,
                struct cluster_uuid cluster, struct bytes items)
{
    uint8_t out[NODE_META_HEAD_MAX + MEMBERS_BYTES_MAX];
    const struct node_form m = {.kind = (uint8_t)kind, .cluster = cluster, .items = items};
    f->conf.events.send(f->conf.events.context, to, bytes_of(out, node_form_encode(out, &m)));
}

/* To those of the others who have not answered. */
static void say_to_others(struct formation *f, enum node_form_kind kind, struct bytes items)
{
    struct bytes rest = members(f);
    struct node_meta_node node;
    for (unsigned i = 0; rest.len > 0 && node_meta_node_next(&rest, &node); i++) {
        if (!node_uuid_equal(node.uuid, f->conf.self) && !f->promised[i]) {
            say(f, node.uuid, kind, f->kept.cluster, items);
        }
    }
}

size_t formation_welcome(uint8_t *out, struct cluster_uuid cluster, uint32_t number)
{
    const struct node_form m = {.kind = NODE_FORM_WELCOME, .number = number, .cluster = cluster};
    return node_form_encode(out, &m);
}

/* Who was promised hears it, and so does everybody else of them: one who knows that it is formed
 * says so. */
static void say_again(struct formation *f, uint64_t now_ms)
{
    if (!is_durable(f) || now_ms < f->again_ms) {
        return;
    }
    f->again_ms = now_ms + f->conf.again_ms;
    if (f->kept.phase == FORMATION_PROPOSED) {
        say_to_others(f, NODE_FORM_PROPOSE, members(f));
    } else if (f->kept.phase == FORMATION_PROMISED) {
        say_to_others(f, NODE_FORM_PROMISED, bytes_of(NULL, 0));
    }
}

/* ---- Proposing */

static const struct formation_seen *next_free(const struct formation_seen *seen, unsigned count,
                                              struct node_uuid behind)
{
    const struct formation_seen *next = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (cluster_uuid_is_none(seen[i].cluster) &&
            node_uuid_compare(seen[i].node.uuid, behind) > 0 &&
            (next == NULL || node_uuid_compare(seen[i].node.uuid, next->node.uuid) < 0)) {
            next = &seen[i];
        }
    }
    return next;
}

/* The initial_size of those that are free with the lowest UUIDs; fewer: it cannot be proposed. */
static unsigned gather(struct formation *f, const struct formation_seen *seen, unsigned count)
{
    struct node_uuid behind = {{0}};
    unsigned n = 0;
    f->kept.members_len = 0;
    while (n < f->conf.initial_size) {
        const struct formation_seen *const next = next_free(seen, count, behind);
        if (next == NULL) {
            break;
        }
        f->kept.members_len +=
            node_meta_node_encode(f->kept.members + f->kept.members_len, &next->node);
        behind = next->node.uuid;
        n++;
    }
    return n;
}

static void propose(struct formation *f, const struct formation_seen *seen, unsigned count,
                    uint64_t now_ms)
{
    if (gather(f, seen, count) < f->conf.initial_size || place_of(members(f), f->conf.self) != 0) {
        f->kept.members_len = 0;
        return;
    }
    f->kept.phase = FORMATION_PROPOSED;
    f->kept.cluster = new_cluster(f);
    f->kept.proposer = f->conf.self;
    f->proposed_ms = now_ms;
    memset(f->promised, 0, sizeof f->promised);
    f->promised[0] = true;
    write_kept(f);
}

static bool have_all_promised(const struct formation *f)
{
    struct bytes rest = members(f);
    struct node_meta_node node;
    for (unsigned i = 0; rest.len > 0 && node_meta_node_next(&rest, &node); i++) {
        if (!f->promised[i]) {
            return false;
        }
    }
    return true;
}

/* When its own promise is on disk, too. */
static void complete(struct formation *f)
{
    if (f->kept.phase == FORMATION_PROPOSED && is_durable(f) && have_all_promised(f)) {
        step_to_formed(f, 1);
    }
}

/* ---- What happens */

void formation_durable(struct formation *f, uint64_t written, uint64_t now_ms)
{
    assert(written <= f->written);
    f->durable = written > f->durable ? written : f->durable;
    complete(f);
    say_again(f, now_ms);
}

static bool is_cluster_there(const struct formation *f, const struct formation_seen *seen,
                             unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!cluster_uuid_is_none(seen[i].cluster) && !is_about(f, seen[i].cluster)) {
            return true;
        }
    }
    return false;
}

void formation_turn(struct formation *f, const struct formation_seen *seen, unsigned count,
                    uint64_t now_ms)
{
    f->sees_cluster = is_cluster_there(f, seen, count);
    if (f->kept.phase == FORMATION_PROPOSED && f->proposed_ms == 0) {
        f->proposed_ms = now_ms; /* a start: it has all its patience again */
    }
    if (f->kept.phase == FORMATION_PROPOSED && is_durable(f) &&
        (f->sees_cluster || now_ms >= f->proposed_ms + f->conf.patience_ms)) {
        give_up(f, now_ms);
    } else if (f->kept.phase == FORMATION_EMPTY && is_durable(f) && !f->sees_cluster &&
               now_ms >= f->rest_ms) {
        propose(f, seen, count, now_ms);
    }
    say_again(f, now_ms);
}

static void on_proposed(struct formation *f, struct node_uuid from, const struct node_form *m,
                        uint64_t now_ms)
{
    if (is_about(f, m->cluster)) {
        /* PROMISED is what is said again; FORMED it need not hear */
        f->again_ms = f->kept.phase == FORMATION_PROMISED ? 0 : f->again_ms;
        return;
    }
    if (place_of(m->items, from) != 0 || place_of(m->items, f->conf.self) >= NODE_META_FORM_MAX ||
        node_uuid_equal(from, f->conf.self)) {
        return; /* nobody proposes that */
    }
    /* One's own is given up for that of a lower one: the other way round both could wait. */
    const bool is_free =
        f->kept.phase == FORMATION_EMPTY ||
        (f->kept.phase == FORMATION_PROPOSED && node_uuid_compare(from, f->conf.self) < 0);
    if (is_free && !f->sees_cluster) {
        f->rest_ms = now_ms + f->conf.again_ms;
        step_to_promised(f, m, from);
    } else {
        say(f, from, NODE_FORM_REFUSED, m->cluster, bytes_of(NULL, 0));
    }
}

static void on_promised(struct formation *f, struct node_uuid from, const struct node_form *m)
{
    if (is_about(f, m->cluster)) {
        const unsigned place = place_of(members(f), from);
        if (f->kept.phase == FORMATION_FORMED) {
            say(f, from, NODE_FORM_FORMED, m->cluster, bytes_of(NULL, 0));
        } else if (f->kept.phase == FORMATION_PROPOSED && place < NODE_META_FORM_MAX) {
            f->promised[place] = true;
            complete(f);
        }
        return;
    }
    /* Others of them say nothing of it: who has proposed is the lowest one, and knows. */
    say(f, from, NODE_FORM_ABANDONED, m->cluster, bytes_of(NULL, 0));
}

/* A word about the formation that it has promised, by one whose word counts. */
static void on_word(struct formation *f, struct node_uuid from, const struct node_form *m)
{
    if (f->kept.phase != FORMATION_PROMISED || !is_about(f, m->cluster)) {
        return;
    }
    const unsigned place = place_of(members(f), f->conf.self);
    if (m->kind == NODE_FORM_FORMED && place_of(members(f), from) < NODE_META_FORM_MAX) {
        step_to_formed(f, place + 1);
    } else if (m->kind == NODE_FORM_ABANDONED && node_uuid_equal(from, f->kept.proposer)) {
        step_to_empty(f);
    }
}

static void on_welcome(struct formation *f, const struct node_form *m)
{
    if (f->kept.phase == FORMATION_EMPTY || f->kept.phase == FORMATION_PROPOSED) {
        step_to_member(f, m->cluster, m->number);
    } else if (f->kept.phase == FORMATION_PROMISED && is_about(f, m->cluster)) {
        step_to_formed(f, place_of(members(f), f->conf.self) + 1);
    }
}

/* While something is on its way to the disk nothing is heard: all of it is said again. */
void formation_received(struct formation *f, struct node_uuid from, struct bytes message,
                        uint64_t now_ms)
{
    struct node_form m;
    if (!is_durable(f) || node_form_decode(&m, message) != NODE_OK) {
        return;
    }
    switch ((enum node_form_kind)m.kind) {
    case NODE_FORM_PROPOSE:
        on_proposed(f, from, &m, now_ms);
        break;
    case NODE_FORM_PROMISED:
        on_promised(f, from, &m);
        break;
    case NODE_FORM_REFUSED:
        if (f->kept.phase == FORMATION_PROPOSED && is_about(f, m.cluster)) {
            give_up(f, now_ms);
        }
        break;
    case NODE_FORM_ABANDONED:
    case NODE_FORM_FORMED:
        on_word(f, from, &m);
        break;
    case NODE_FORM_WELCOME:
        on_welcome(f, &m);
        break;
    }
    say_again(f, now_ms);
}

/* ---- Figures */

enum formation_phase formation_phase(const struct formation *f)
{
    const bool is_early = f->kept.phase == FORMATION_FORMED && !is_durable(f);
    return is_early ? FORMATION_PROMISED : (enum formation_phase)f->kept.phase;
}

struct cluster_uuid formation_cluster(const struct formation *f)
{
    return f->kept.cluster;
}

uint32_t formation_number(const struct formation *f)
{
    return f->kept.number;
}

struct bytes formation_members(const struct formation *f)
{
    return members(f);
}

struct node_uuid formation_waits_for(const struct formation *f)
{
    return f->kept.phase == FORMATION_PROMISED ? f->kept.proposer : (struct node_uuid){{0}};
}
