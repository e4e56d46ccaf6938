/* SPDX-License-Identifier: Apache-2.0 */
/* homes: what comes for the partitions of this shard, and for its transient subscribers. */
#include <stdlib.h>
#include <string.h>

#include "broker/conn/publishable.h"
#include "broker/dispatch/dispatch_parts.h"
#include "broker/dispatch/dispatch_uses.h"
#include "broker/message.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/publish.h"
#include "broker/store/serial.h"
#include "cluster/dispatch/origins.h"
#include "proto/node_dispatch.h"
#include "proto/node_publish.h"

#define SOURCES_MAX 4096u /* 32 shards of 32 nodes, and as many of former starts */

/* ---- the message of a frame; made once for all that take it */

static struct message *make_message(struct shard *s, const struct node_publish *p)
{
    struct message *const m = arrive_message(s, p);
    if (m == NULL) {
        return NULL;
    }
    m->publisher = p->publisher;
    if (!serial_is_local(p->publisher)) { /* else there is nothing to be told of */
        m->exchange = p->op & ~DISPATCH_WORD_OF_WILL;
        m->packet_id = (p->op & DISPATCH_WORD_OF_WILL) == 0; /* of an exchange, any */
    }
    return m;
}

/* NULL: not now, or is_bad. */
static struct message *message_of(struct shard *s, struct bytes words)
{
    struct dispatching *const d = s->dispatching;
    struct node_publish p;
    if (d->taking != NULL || d->is_bad) {
        return d->taking;
    }
    if (node_publish_decode(&p, words) != NODE_OK || p.qos == 0 || p.groups.len > 0 ||
        publishable_is_own(p.topic)) {
        d->is_bad = true;
        return NULL;
    }
    d->taking = s->memory_full ? NULL : make_message(s, &p);
    return d->taking;
}

/* ---- what intake wants to know, or to have done */

/* An entry is waited for, or only what is before it. */
static void begin(struct dispatching *d, unsigned p, const struct dispatch_begun *b)
{
    d->begun[p].item = sizeof *b;
    if (!fifo_push(&d->begun[p], b)) {
        remote_out_of_memory();
    }
}

static bool on_propose(void *context, unsigned p, uint64_t origin, uint64_t op, struct bytes bytes)
{
    struct shard *const s = context;
    struct dispatching *const d = s->dispatching;
    struct message *const m = shard_congested(s) ? NULL : message_of(s, bytes);
    if (m == NULL) {
        return false;
    }
    const struct dispatch_begun begun = {.origin = origin, .op = op, .is_entry = true};
    switch (d->uses->publish(s, p, m, origin, op)) {
    case PUBLISH_PARTITION_QUEUED:
        begin(d, p, &begun);
        return true;
    case PUBLISH_PARTITION_NOBODY:
        /* "Done" is of all up to it: those before it may be on their way still. */
        if (d->begun[p].count == 0) {
            intake_applied(d->homes, p, origin, op);
        } else {
            begin(d, p, &(struct dispatch_begun){.origin = origin, .op = op});
        }
        return true;
    default:
        return false;
    }
}

static uint64_t on_highest(void *context, unsigned p, uint64_t origin)
{
    const struct shard *const s = context;
    return s->dispatching->uses->highest(s, p, origin);
}

static bool on_transient(void *context, uint64_t origin, uint64_t op, struct bytes bytes)
{
    struct shard *const s = context;
    struct message *const m = shard_congested(s) ? NULL : message_of(s, bytes);
    (void)origin;
    (void)op;
    if (m == NULL) {
        return false;
    }
    const bool none_missing = publish_arrived(s, m, bytes_of(NULL, 0));
    (void)none_missing; /* of groups, which are not named */
    return true;
}

/* Those before the entry that is applied are, too, as is what waited for it alone. */
static void done_up_to(struct dispatching *d, unsigned p, uint32_t count)
{
    struct fifo *const begun = &d->begun[p];
    for (; count > 0; count--) {
        fifo_pop(begun);
    }
    for (const struct dispatch_begun *b; (b = fifo_first(begun)) != NULL && !b->is_entry;) {
        intake_applied(d->homes, p, b->origin, b->op);
        fifo_pop(begun);
    }
}

void dispatch_run_applied(struct shard *s, unsigned p, uint64_t origin, uint64_t op)
{
    struct dispatching *const d = s->dispatching;
    if (d == NULL || origin == 0 || origin > NODE_ORIGIN_MAX ||
        (d->led & dispatch_partition_bit(p)) == 0) {
        return;
    }
    intake_applied(d->homes, p, origin, op);
    for (uint32_t i = 0; i < d->begun[p].count; i++) { /* it is the first, mostly */
        const struct dispatch_begun *const b = fifo_at(&d->begun[p], i);
        if (b->is_entry && b->origin == origin && b->op == op) {
            done_up_to(d, p, i + 1);
            return;
        }
    }
}

/* ---- frames */

/* The number of a node is in its origins, and it has one for good. */
static void meet(struct dispatching *d, unsigned peer, struct bytes body)
{
    struct node_dispatch frame;
    if (node_dispatch_decode(&frame, body) == NODE_OK) {
        intake_meet(d->homes, peer, origin_node(frame.origin));
        intake_meet(d->here, peer, origin_node(frame.origin));
    }
}

static bool taken(struct shard *s, struct intake *i, unsigned peer, struct bytes body)
{
    struct dispatching *const d = s->dispatching;
    d->is_bad = false;
    const enum intake_err err = intake_received(i, peer, body);
    message_put(d->taking);
    d->taking = NULL;
    return err == INTAKE_OK && !d->is_bad;
}

bool homes_take(struct shard *s, unsigned peer, struct bytes body)
{
    meet(s->dispatching, peer, body);
    return taken(s, s->dispatching->homes, peer, body);
}

/* The shards of those partitions, 1 << id; *here: it is for this node's transient subscribers, too.
 */
static uint32_t shards_of(const struct shard *s, struct bytes items, bool *here)
{
    struct node_dispatch_item item;
    uint32_t shards = 0;
    *here = false;
    while (node_dispatch_item_next(&items, &item)) {
        if (item.partition == NODE_DISPATCH_NODE) {
            *here = true;
        } else {
            shards |= UINT32_C(1) << s->node->partition_shard[item.partition];
        }
    }
    return shards;
}

bool homes_take_all(struct shard *s, unsigned peer, struct bytes body)
{
    struct node_dispatch frame;
    bool here;
    if (node_dispatch_decode(&frame, body) != NODE_OK) {
        return false;
    }
    meet(s->dispatching, peer, body);
    const uint32_t shards = shards_of(s, frame.items, &here);
    bool ok = true;
    for (uint32_t left = shards; left != 0; left &= left - 1) {
        const unsigned to = (unsigned)__builtin_ctz(left);
        if (to != s->id) {
            lane_pass_on(s, to, POST_DISPATCH_IN, peer, NODE_FRAME_DISPATCH, body);
        } else {
            ok = taken(s, s->dispatching->homes, peer, body) && ok;
        }
    }
    return (!here || taken(s, s->dispatching->here, peer, body)) && ok;
}

/* ---- answers */

/* Those of the peer's shards whose lanes would take an answer now. */
static uint32_t ready_shards(const struct shard *s, unsigned peer)
{
    const unsigned lanes = peers_lanes(s, peer);
    uint32_t ready = 0;
    for (unsigned lane = 0; lane < lanes; lane++) {
        if (lane_is_ready(s, peer, lane)) {
            for (unsigned shard = lane; shard < INDEX_SHARDS_MAX; shard += lanes) {
                ready |= UINT32_C(1) << shard;
            }
        }
    }
    return ready;
}

static unsigned shard_of_answer(struct bytes body)
{
    struct node_dispatched frame;
    return node_dispatched_decode(&frame, body) == NODE_OK ? origin_shard(frame.origin) : 0;
}

static void answer_peer(struct shard *s, struct intake *i, unsigned peer, uint32_t shards)
{
    struct bytes body;
    uint8_t type;
    while (shards != 0 && intake_next_of(i, peer, shards, DISPATCH_LANE_ROOM_MIN, &type, &body)) {
        lane_put(s, peer, shard_of_answer(body), type, body);
    }
}

static void answer_self(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    struct bytes body;
    uint8_t type;
    while (intake_next(d->homes, PEERS_SELF, DISPATCH_LANE_ROOM_MIN, &type, &body)) {
        const unsigned to = shard_of_answer(body);
        if (to == s->id) {
            (void)source_received(s, PEERS_SELF, body);
        } else {
            lane_pass_on(s, to, POST_DISPATCH_IN, PEERS_SELF, type, body);
        }
    }
}

void homes_answer(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    answer_self(s);
    for (uint32_t left = d->used; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        const uint32_t shards = ready_shards(s, peer);
        answer_peer(s, d->homes, peer, shards);
        answer_peer(s, d->here, peer, shards);
    }
}

/* ---- beginning and end */

void homes_forget(struct shard *s, unsigned peer)
{
    intake_forget(s->dispatching->homes, peer);
    intake_forget(s->dispatching->here, peer);
}

bool homes_create(struct shard *s)
{
    struct dispatching *const d = s->dispatching;
    struct intake_conf conf = {
        .partitions = s->node->leaders->at_home[s->id],
        .sources_max = SOURCES_MAX,
        .events = {
            .propose = on_propose, .highest = on_highest, .transient = on_transient, .context = s}};
    d->homes = intake_create(&conf);
    conf.partitions = 0;
    conf.transient = true;
    d->here = intake_create(&conf);
    return d->homes != NULL && d->here != NULL;
}

void homes_fini(struct dispatching *d)
{
    intake_destroy(d->homes);
    intake_destroy(d->here);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        fifo_fini(&d->begun[p]);
    }
}
