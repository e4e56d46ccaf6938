/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/remote/forward.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/owed.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/message.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/filter.h"
#include "broker/route/index.h"
#include "broker/route/promise.h"
#include "broker/route/share.h"
#include "proto/node_publish.h"
#include "proto/reason.h"

/* What a message to a group needs to be given to another member of it. */
struct regroup {
    struct message *message; /* a reference */
    uint64_t group_id, except, publisher_hash;
    size_t len;
    uint8_t field[]; /* of the frame */
};

struct post_forward {
    struct post_head head;
    uint8_t peer;
    struct message *message; /* a reference, the record's */
    struct regroup *group;   /* the receiver's; NULL: to all */
    uint64_t ticket;         /* 0: nobody waits */
};

/* POST_FORWARDED, POST_REFUSED, POST_SKIPPED */
struct post_forwarded {
    struct post_head head;
    uint8_t peer;
    uint8_t reason;
    uint64_t ticket;
};

struct forwarded {
    uint64_t seq;          /* of its frame; 0: it was not taken */
    uint64_t ticket;       /* the publisher's shard's */
    struct regroup *group; /* NULL: to all */
    uint8_t shard;         /* the publisher's */
    bool done;
};

/* ---- groups */

#define AGAIN_MAX 4u /* looks for a member on a node that lives */

static const char share[] = "$share/";

static uint8_t *put(uint8_t *at, struct bytes text)
{
    memcpy(at, text.at, text.len);
    return at + text.len;
}

static struct regroup *regroup_create(struct message *m, const struct share_group *group,
                                      uint64_t except, uint64_t publisher_hash)
{
    const struct bytes name = bytes_of(group->name, group->name_len);
    const struct bytes filter = bytes_of(group->filter->text, group->filter->len);
    const size_t text_len = sizeof share - 1 + name.len + 1 + filter.len;
    uint8_t *const text = remote_alloc(text_len);
    uint8_t *at = put(text, bytes_of((const uint8_t *)share, sizeof share - 1));
    at = put(at, name);
    *at++ = '/';
    (void)put(at, filter);
    const struct bytes whole = bytes_of(text, text_len);
    const size_t len = node_group_encode(NULL, whole);
    struct regroup *const g = remote_alloc(sizeof *g + len);
    *g = (struct regroup){.message = message_take(m, 1),
                          .group_id = share_group_id(group),
                          .except = except,
                          .publisher_hash = publisher_hash,
                          .len = len};
    (void)node_group_encode(g->field, whole);
    free(text);
    return g;
}

static void regroup_free(struct regroup *g)
{
    if (g != NULL) {
        message_put(g->message);
        free(g);
    }
}

/* To another member, as those of that node are no more. */
static void give_again(struct shard *s, struct regroup *g)
{
    shard_count(s, METRIC_shared_redispatched);
    shard_due(s, message_take(g->message, 1), g->group_id, g->except, g->publisher_hash);
}

/* ---- to the publisher's shard: on the shard of the lane */

static void tell(struct shard *s, unsigned to, enum post_type type, unsigned peer, uint64_t ticket,
                 uint8_t reason)
{
    struct post_forwarded *const p = post_reserve(s, to, type, sizeof *p);
    p->peer = (uint8_t)peer;
    p->reason = reason;
    p->ticket = ticket;
    post_commit(s, to);
}

static void tell_kept(struct shard *s, unsigned to, unsigned peer, uint64_t ticket)
{
    if (to == s->id) {
        owed_kept(s, INDEX_PEER_FIRST + peer, ticket);
    } else {
        tell(s, to, POST_FORWARDED, peer, ticket, 0);
    }
}

static void tell_refused(struct shard *s, unsigned to, uint64_t ticket, uint8_t reason)
{
    shard_count(s, METRIC_forward_refused);
    if (to == s->id) {
        owed_refused(s, ticket, reason);
    } else {
        tell(s, to, POST_REFUSED, 0, ticket, reason);
    }
}

void forward_on_forwarded(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_forwarded *const p = (const void *)record;
    (void)from;
    owed_kept(s, INDEX_PEER_FIRST + p->peer, p->ticket);
}

void forward_on_refused(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_forwarded *const p = (const void *)record;
    (void)from;
    owed_refused(s, p->ticket, p->reason);
}

/* It is known what became of it. A refusal is told at once; that it is kept, when all before it
 * are.
 */
static void end(struct shard *s, struct forwarded *f, uint8_t reason)
{
    if (f->done) {
        return;
    }
    f->done = true;
    if (f->group != NULL && reason == MQTT_REASON_NO_MATCHING_SUBSCRIBERS) {
        give_again(s, f->group);
    } else if (reason >= MQTT_REASON_UNSPECIFIED_ERROR) {
        tell_refused(s, f->shard, f->ticket, reason);
    }
    regroup_free(f->group);
    f->group = NULL;
}

/* A message to all there and one to a group of theirs have one ticket, and follow each other. */
static bool is_followed(const struct outward *o, const struct forwarded *f)
{
    const struct forwarded *const next = fifo_first(&o->entries);
    return next != NULL && next->shard == f->shard && next->ticket == f->ticket;
}

/* What is answered, and all before it. */
static void settle(struct shard *s, unsigned peer)
{
    struct outward *const o = &s->remote->outward[peer];
    for (const struct forwarded *f; (f = fifo_first(&o->entries)) != NULL && f->done;) {
        const struct forwarded done = *f;
        fifo_pop(&o->entries);
        o->first++;
        if (!is_followed(o, &done)) {
            tell_kept(s, done.shard, peer, done.ticket);
        }
    }
}

static void add(struct shard *s, unsigned peer, const struct forwarded *f)
{
    struct outward *const o = &s->remote->outward[peer];
    o->entries.item = sizeof *f;
    if (!fifo_push(&o->entries, f)) {
        remote_out_of_memory();
    }
    if (f->done) {
        settle(s, peer);
    }
}

/* Nobody there will answer. Another member of a group may have it instead. */
static void end_unheard(struct shard *s, struct forwarded *f, uint8_t reason)
{
    const bool again = f->group != NULL && reason == 0;
    if (!f->done && reason == 0) {
        shard_count(s, METRIC_forward_ended);
    }
    end(s, f, again ? (uint8_t)MQTT_REASON_NO_MATCHING_SUBSCRIBERS : reason);
}

void forward_over(struct shard *s, unsigned peer, uint8_t reason)
{
    struct outward *const o = &s->remote->outward[peer];
    for (uint32_t i = 0; i < o->entries.count; i++) {
        end_unheard(s, fifo_at(&o->entries, i), reason);
    }
    settle(s, peer);
}

void forward_lost(struct shard *s, unsigned peer, uint64_t first, uint64_t last, enum link_loss why)
{
    struct outward *const o = &s->remote->outward[peer];
    const uint8_t reason = why == LINK_LOSS_TOO_LARGE ? MQTT_REASON_QUOTA_EXCEEDED : 0;
    for (uint32_t i = 0; i < o->entries.count; i++) {
        struct forwarded *const f = fifo_at(&o->entries, i);
        if (f->seq >= first && f->seq <= last) {
            end_unheard(s, f, reason);
        }
    }
    settle(s, peer);
}

enum link_taken forward_answered(struct shard *s, unsigned peer, struct bytes body)
{
    struct outward *const o = &s->remote->outward[peer];
    struct bytes list;
    struct node_result result;
    if (node_results_decode(&list, body) != NODE_OK) {
        return LINK_BAD;
    }
    while (node_result_next(&list, &result)) {
        if (result.op >= o->first + o->entries.count) {
            return LINK_BAD; /* it was never sent */
        }
        if (result.op >= o->first) { /* else it was taken for dead meanwhile, or for lost */
            end(s, fifo_at(&o->entries, (uint32_t)(result.op - o->first)), result.reason);
        }
    }
    settle(s, peer);
    return LINK_TAKEN;
}

void forward_fini(struct remote *r)
{
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        struct fifo *const entries = &r->outward[peer].entries;
        for (uint32_t i = 0; i < entries->count; i++) {
            regroup_free(((struct forwarded *)fifo_at(entries, i))->group);
        }
        fifo_fini(entries);
    }
}

/* ---- into the link */

uint64_t forward_expiry_left(const struct shard *s, const struct message *m)
{
    if (!m->has_expiry) {
        return NODE_NO_EXPIRY;
    }
    return m->expires_ms > s->now_ms ? m->expires_ms - s->now_ms : 0;
}

/* Of a retained message: those that are for a group are not stored. */
static struct retained_version version_of(const struct message *m, const struct regroup *g)
{
    return m->versioned && g == NULL ? message_version(m) : (struct retained_version){.stamp = 0};
}

static enum link_put put_frame(struct shard *s, unsigned peer, const struct message *m,
                               const struct regroup *g, uint64_t op, uint64_t *seq)
{
    const struct retained_version version = version_of(m, g);
    const struct node_publish frame = {
        .op = op,
        .published_ms = s->now_ms + (uint64_t)s->node->wall_offset_ms,
        .expiry_ms = forward_expiry_left(s, m),
        .stamp = version.stamp,
        .generation = version.generation,
        .qos = m->qos,
        .retain = m->retain,
        .stored_only = g == NULL && dispatch_run_takes(s, m),
        .topic = message_topic(m),
        .properties = message_properties(m),
        .payload = message_payload(m),
        .groups = g == NULL ? bytes_of(NULL, 0) : bytes_of(g->field, g->len),
    };
    uint8_t *body;
    *seq = 0;
    const enum link_put err = peers_put(s, peer, NODE_FRAME_PUBLISH, m->qos > 0,
                                        node_publish_encode(NULL, &frame), &body, seq);
    if (err == LINK_OK) {
        (void)node_publish_encode(body, &frame);
        shard_count(s, METRIC_forward_sent);
    }
    return err;
}

static bool leaves_room(const struct shard *s, unsigned peer)
{
    return s->remote->interest == NULL || peers_room(s, peer) >= INTEREST_ROOM;
}

/* The lane is this shard's. Takes the group. */
static void put_on_lane(struct shard *s, unsigned peer, unsigned from, struct message *m,
                        struct regroup *g, uint64_t ticket)
{
    struct outward *const o = &s->remote->outward[peer];
    struct forwarded f = {.ticket = ticket, .group = g, .shard = (uint8_t)from};
    const bool is_there = (s->remote->live & remote_bit(peer)) != 0 && peers_has_lane(s, peer);
    const uint64_t op = ticket == 0 ? 0 : o->first + o->entries.count;
    const bool fits = is_there && (ticket != 0 || leaves_room(s, peer));
    const enum link_put err = fits ? put_frame(s, peer, m, g, op, &f.seq) : LINK_NO_ROOM;
    if (ticket == 0) {
        if (err != LINK_OK) {
            shard_drop(s, METRIC_drop_forward_full, bytes_of(NULL, 0), message_topic(m));
        }
        regroup_free(g);
        return;
    }
    if (!is_there) {
        end_unheard(s, &f, 0); /* its shard has yet to hear that it is dead */
    } else if (err != LINK_OK) {
        end(s, &f, MQTT_REASON_QUOTA_EXCEEDED);
    }
    add(s, peer, &f);
}

/* What is given up is a frame that says nothing: an answer to no message. */
void forward_leave_gap(struct shard *s, unsigned peer)
{
    const struct node_result nothing = {.op = 0};
    uint8_t *body;
    uint64_t seq;
    const size_t len = node_results_encode(NULL, &nothing, 1);
    if (!peers_has_lane(s, peer)) {
        return; /* it is nobody's number any more */
    }
    if (peers_put(s, peer, NODE_FRAME_RESULT, true, len, &body, &seq) == LINK_OK) {
        (void)node_results_encode(body, &nothing, 1);
    }
    peers_give_up(s, peer);
}

/* Takes the group. */
static void pass_on(struct shard *s, unsigned peer, struct message *m, struct regroup *g,
                    uint64_t ticket)
{
    const unsigned lane = s->id % peers_lanes(s, peer);
    if (lane == s->id) {
        put_on_lane(s, peer, s->id, m, g, ticket);
        return;
    }
    struct post_forward *const p = post_reserve(s, lane, POST_FORWARD, sizeof *p);
    p->peer = (uint8_t)peer;
    p->message = message_take(m, 1);
    p->group = g;
    p->ticket = ticket;
    post_commit(s, lane);
}

void forward_on_forward(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_forward *const p = (const void *)record;
    put_on_lane(s, p->peer, from, p->message, p->group, p->ticket);
    message_put(p->message);
}

/* The node is taken for dead: should it come back, its sessions have missed something. */
static void skip(struct shard *s, unsigned peer)
{
    if (s->id == 0) {
        forward_leave_gap(s, peer);
        return;
    }
    struct post_forwarded *const p = post_reserve(s, 0, POST_SKIPPED, sizeof *p);
    p->peer = (uint8_t)peer;
    post_commit(s, 0);
}

void forward_on_skipped(struct shard *s, unsigned from, const struct post_head *record)
{
    const unsigned peer = ((const struct post_forwarded *)(const void *)record)->peer;
    (void)from;
    forward_leave_gap(s, peer);
}

void forward_missed(struct shard *s, unsigned peer)
{
    struct remote *const r = s->remote;
    if ((r->skipped & remote_bit(peer)) == 0) {
        r->skipped |= remote_bit(peer);
        skip(s, peer);
    }
}

bool forward_lives(struct shard *s, unsigned peer, const struct message *m)
{
    if ((s->remote->live & remote_bit(peer)) != 0) {
        return true;
    }
    shard_count(s, METRIC_forward_skipped);
    if (m->qos > 0) {
        forward_missed(s, peer);
    }
    return false;
}

static uint64_t ticket_for(struct shard *s, unsigned peer, const struct message *m)
{
    return m->qos == 0 ? 0 : promise_wait_for(s, INDEX_PEER_FIRST + peer);
}

void forward_plain(struct shard *s, unsigned peer, struct message *m)
{
    ASSERT_OWNED(s);
    if (forward_lives(s, peer, m)) {
        pass_on(s, peer, m, NULL, ticket_for(s, peer, m));
    }
}

void forward_group(struct shard *s, unsigned peer, struct message *m,
                   const struct share_group *group, const struct due *due)
{
    ASSERT_OWNED(s);
    if ((s->remote->live & remote_bit(peer)) != 0) {
        pass_on(s, peer, m, regroup_create(m, group, due->except, due->publisher_hash),
                ticket_for(s, peer, m));
    } else if (due->hidden < AGAIN_MAX) { /* who writes the group has yet to hear that it is dead */
        shard_count(s, METRIC_shared_redispatched);
        shard_due_again(s, message_take(m, 1), due->group_id, due->except, due->publisher_hash,
                        due->hidden + 1);
    } else {
        shard_drop(s, METRIC_drop_shared_no_member, bytes_of(NULL, 0), message_topic(m));
    }
}

uint32_t forward_living(const struct shard *s)
{
    return s->remote->live;
}

bool forward_is_slow(const struct shard *s, uint32_t *peers)
{
    for (uint32_t left = *peers; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        const unsigned lanes = peers_lanes(s, peer);
        const struct shard *const lane = s->node->shards[lanes == 0 ? s->id : s->id % lanes];
        if ((atomic_load_explicit(&lane->remote->slow, memory_order_relaxed) & remote_bit(peer)) !=
            0) {
            return true;
        }
    }
    *peers = 0;
    return false;
}
