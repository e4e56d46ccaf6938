/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition's records from another node, where the group says that those that are here are too
 * old (groups_events.copy_wanted); and for others.
 *
 *   ERASING ── on disk ─▶ ASKING ◀── it is on disk ── TAKING ── the last one is ─▶ group_copied()
 *      ▲                    │ └────── PART ────────────▲
 *      └── refused, or none ┘ a second later
 */
#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"
#include "broker/partitions/partitions_parts.h"
#include "broker/store/store.h"
#include "proto/node_copy.h"

#define NEVER     UINT64_MAX
#define AGAIN_MS  1000u
#define TRIES_MAX 5u /* questions that nothing comes of, until another server is asked */

static struct applier_thread *applier_of(const struct partition *p)
{
    return p->shard->node->partitions->applier;
}

static struct shard_partitions *mine(const struct partition *p)
{
    return &p->shard->node->partitions->of_shard[p->shard->id];
}

/* ---- from there */

/* The one that is said to have it; if that is not known, or has failed to, one after the other. */
static uint64_t whom_to_ask(const struct partition *p)
{
    const struct partition_copying *const c = &p->copying;
    if (c->from != 0 && c->turns == 0) {
        return c->from;
    }
    for (unsigned i = 0; i < p->conf.servers_count; i++) {
        const uint64_t number = p->conf.servers[(c->turns + i) % p->conf.servers_count].number;
        if (number != p->conf.self) {
            return number;
        }
    }
    return 0;
}

static void ask(struct partition *p)
{
    struct partition_copying *const c = &p->copying;
    uint8_t body[NODE_COPY_HEAD_BYTES];
    const struct node_copy want = {.kind = NODE_COPY_WANT,
                                   .partition = (uint8_t)p->number,
                                   .incarnation = p->place.incarnation,
                                   .copy = c->copy,
                                   .part = c->part,
                                   .index = c->index};
    node_copy_encode(body, &want);
    c->step = COPY_ASKING;
    c->again_ms = p->shard->now_ms + AGAIN_MS;
    c->tries++;
    c->asked = whom_to_ask(p);
    group_say_beside(p->shard, p->number, c->asked, bytes_of(body, sizeof body));
}

/* What is here goes first. */
static void begin(struct partition *p)
{
    struct partition_copying *const c = &p->copying;
    c->step = COPY_ERASING;
    c->copy = shard_random(p->shard) | 1;
    c->part = 0;
    c->tries = 0;
    c->again_ms = NEVER;
    partition_erase_all(p);
    partition_flush(p);
}

static void begin_later(struct partition *p)
{
    struct partition_copying *const c = &p->copying;
    c->turns++;
    c->step = COPY_WAITING;
    c->again_ms = p->shard->now_ms + AGAIN_MS;
}

void copies_want(struct partition *p, uint64_t from, uint64_t index)
{
    struct partition_copying *const c = &p->copying;
    const bool is_new = c->step == COPY_NONE;
    c->from = from;
    c->index = index;
    if (is_new) {
        c->turns = 0;
        c->begun_ms = p->shard->now_ms;
        mine(p)->copying |= UINT64_C(1) << p->number;
        begin(p);
    }
}

void copies_forget(struct partition *p)
{
    p->copying = (struct partition_copying){.step = COPY_NONE};
    mine(p)->copying &= ~(UINT64_C(1) << p->number);
}

void copies_erased(struct partition *p)
{
    if (p->copying.step == COPY_ERASING) {
        ask(p);
    }
}

static void take_part(struct partition *p, uint64_t from, const struct node_copy *m)
{
    struct partition_copying *const c = &p->copying;
    if (c->step != COPY_ASKING || m->copy != c->copy || m->part != c->part || from != c->asked ||
        (m->part > 0 && (m->index != c->of_index || m->sealed != c->sealed))) {
        return;
    }
    c->of_index = m->index;
    c->sealed = m->sealed;
    c->tries = 0;
    c->step = COPY_TAKING;
    c->again_ms = NEVER;
    const struct partition_place of = {.index = m->index, .sealed = m->sealed};
    applier_copy_in(applier_of(p), p->number, m->part, &of, m->data);
}

void copies_taken(struct partition *p, const struct applier_news *n)
{
    struct partition_copying *const c = &p->copying;
    if (c->step == COPY_TAKING && n->part == c->part) {
        c->part++;
        ask(p);
    }
}

void copies_copied(struct partition *p, uint64_t index)
{
    const struct partition_copying c = p->copying;
    if (c.step != COPY_TAKING) {
        return;
    }
    if (index < c.index) { /* a later one is wanted by now */
        begin(p);
        return;
    }
    copies_forget(p);
    p->place.index = index;
    p->place.sealed = c.sealed;
    p->applied = index > p->applied ? index : p->applied;
    shard_count(p->shard, METRIC_partitions_copied);
    log_event(LOG_INFO, "partition_copied", LOG_NUMBER("partition", p->number),
              LOG_NUMBER("from", c.asked), LOG_NUMBER("index", index),
              LOG_NUMBER("parts", c.part + 1),
              LOG_NUMBER("took_ms", p->shard->now_ms - c.begun_ms));
    group_copied(p->shard, p->number, index);
    move_sealed(p, c.sealed);
    move_written(p);
}

void copies_failed(struct partition *p)
{
    if (p->copying.step == COPY_TAKING) {
        begin_later(p);
    }
}

/* ---- for others */

static void refuse(struct partition *p, uint64_t to, uint64_t copy)
{
    uint8_t body[NODE_COPY_HEAD_BYTES];
    const struct node_copy refused = {.kind = NODE_COPY_REFUSED,
                                      .partition = (uint8_t)p->number,
                                      .incarnation = p->place.incarnation,
                                      .copy = copy};
    node_copy_encode(body, &refused);
    group_say_beside(p->shard, p->number, to, bytes_of(body, sizeof body));
}

static void give(struct partition *p, uint64_t to, const struct node_copy *m)
{
    const bool is_here =
        p->role == PARTITION_FOLLOWS || p->role == PARTITION_REVIVES || p->role == PARTITION_LEADS;
    if (!is_here || p->copying.step != COPY_NONE || m->incarnation != p->place.incarnation ||
        (m->part == 0 && m->index > p->place.index)) {
        refuse(p, to, m->copy);
        return;
    }
    const struct applier_copy wanted = {
        .copy = m->copy, .part = m->part, .to = to, .incarnation = m->incarnation};
    applier_copy_out(applier_of(p), p->number, &wanted);
}

void copies_part(struct partition *p, const struct applier_news *n)
{
    if (n->kind == APPLIER_PART_NOT) {
        refuse(p, n->to, n->copy);
        return;
    }
    uint8_t *const body = malloc(NODE_COPY_HEAD_BYTES + n->len);
    if (body == NULL) {
        return; /* it is asked for once more */
    }
    const struct node_copy part = {.kind = NODE_COPY_PART,
                                   .partition = (uint8_t)p->number,
                                   .is_last = n->is_last,
                                   .incarnation = p->place.incarnation,
                                   .copy = n->copy,
                                   .part = n->part,
                                   .index = n->index,
                                   .sealed = n->sealed};
    node_copy_encode(body, &part);
    memcpy(body + NODE_COPY_HEAD_BYTES, n->bytes, n->len);
    shard_count(p->shard, METRIC_partition_parts_sent);
    group_say_beside(p->shard, p->number, n->to, bytes_of(body, NODE_COPY_HEAD_BYTES + n->len));
    free(body);
}

/* ---- messages, and time */

void copies_received(struct partition *p, uint64_t from, struct bytes body)
{
    struct node_copy m;
    if (node_copy_decode(&m, body) != NODE_OK || m.partition != p->number) {
        return;
    }
    if (m.kind == NODE_COPY_WANT) {
        give(p, from, &m);
    } else if (m.incarnation != p->place.incarnation) {
        return;
    } else if (m.kind == NODE_COPY_PART) {
        take_part(p, from, &m);
    } else if (m.kind == NODE_COPY_HAVE) {
        move_has(p, from, m.index);
    } else if (p->copying.step == COPY_ASKING && m.copy == p->copying.copy &&
               from == p->copying.asked) {
        begin_later(p);
    }
}

void copies_turn(struct shard *s)
{
    struct partitions *const all = s->node->partitions;
    for (uint64_t set = all->of_shard[s->id].copying; set != 0; set &= set - 1) {
        struct partition *const p = &all->of[__builtin_ctzll(set)];
        struct partition_copying *const c = &p->copying;
        if (s->now_ms < c->again_ms) {
            continue;
        }
        if (c->step == COPY_ASKING && c->tries < TRIES_MAX) {
            ask(p);
        } else if (c->step == COPY_ASKING) {
            begin_later(p);
        } else if (c->step == COPY_WAITING) {
            begin(p);
        }
    }
}

uint64_t copies_next_ms(const struct shard *s)
{
    const struct partitions *const all = s->node->partitions;
    uint64_t next_ms = NEVER;
    for (uint64_t set = all->of_shard[s->id].copying; set != 0; set &= set - 1) {
        const uint64_t ms = all->of[__builtin_ctzll(set)].copying.again_ms;
        next_ms = ms < next_ms ? ms : next_ms;
    }
    return next_ms;
}
