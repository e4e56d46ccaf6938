/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/topics.h"
#include "broker/conn/owed.h"
#include "broker/conn/publishable.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/replicated/replicated.h"
#include "broker/route/index.h"
#include "broker/route/publish.h"
#include "broker/session/kept.h"
#include "broker/shard/latency.h"
#include "proto/node_publish.h"
#include "proto/reason.h"

/* What a message became that came from another node. */
struct result {
    uint64_t op;
    uint64_t waits, ticket; /* for these targets, as s->route_waits, to keep it */
    uint8_t peer;
    uint8_t reason;
};

#define RESULTS_OF_FRAME 1024u

/* Publishers wait for room no longer than message_stall_s; nor do nodes, and these less than the
 * link waits for us. */
#define FULL_MS_MAX 5000u

/*
 * A retained message is stored before it is matched, as at the node where it was published: so who
 * subscribes meanwhile gets it one way or the other. What comes behind it by the same lane waits
 * for it, in order.
 */
struct arrival {
    struct retain_job job; /* its message: a reference */
    struct arrival *next;
    uint64_t op;
    uint8_t peer;
    bool ready;     /* it is stored, or need not be */
    bool is_stored; /* its answer waits for the disk of who did it */
    bool stored_only;
    bool is_dispatch;  /* not a message, but a body of DISPATCH: `groups` */
    size_t groups_len; /* 0, of DISPATCH: it is void */
    uint8_t groups[];
};

#define ARRIVALS_MAX 1024u /* of a lane; then it waits */

static void owe(struct shard *s, unsigned peer, uint64_t op, uint64_t waits, uint8_t reason)
{
    struct remote *const r = s->remote;
    const struct result result = {
        .op = op, .waits = waits, .ticket = s->ticket, .peer = (uint8_t)peer, .reason = reason};
    if (op == 0) {
        return;
    }
    r->results.item = sizeof result;
    if (!fifo_push(&r->results, &result)) {
        remote_out_of_memory();
    }
}

struct message *arrive_message(struct shard *s, const struct node_publish *p)
{
    struct message *const m = message_create(p->topic, p->properties, p->payload);
    if (m == NULL) {
        return NULL;
    }
    m->qos = p->qos;
    m->retain = p->retain;
    m->hurried = p->qos < 2 && topics_hurry(s->config, p->topic);
    m->has_expiry = p->expiry_ms != NODE_NO_EXPIRY;
    m->expires_ms = m->has_expiry ? s->now_ms + p->expiry_ms : 0;
    latency_stamp(s, m);
    return m;
}

static bool memory_is_short(struct shard *s)
{
    struct remote *const r = s->remote;
    if (!s->memory_full) {
        r->full_ms = 0;
        return false;
    }
    const uint64_t stall_ms = (uint64_t)s->config->limits.message_stall_s * 1000;
    if (r->full_ms == 0) {
        r->full_ms = s->now_ms;
    }
    return s->now_ms - r->full_ms < (stall_ms < FULL_MS_MAX ? stall_ms : FULL_MS_MAX);
}

/* What it becomes; SUCCESS: s->route_waits. */
static enum mqtt_reason route(struct shard *s, struct message *m, struct bytes groups)
{
    uint8_t disk;
    if (m->qos > 0 && publish_is_refused(s, m, &disk)) {
        return (enum mqtt_reason)disk;
    }
    return publish_arrived(s, m, groups) ? MQTT_REASON_SUCCESS
                                         : MQTT_REASON_NO_MATCHING_SUBSCRIBERS;
}

static bool is_retained(const struct shard *s, const struct node_publish *p)
{
    return p->retain && p->stamp > 0 && p->groups.len == 0 && s->node->replicated != NULL;
}

/* ---- one after the other */

/* Its answer waits until it is on the disks of those who have stored it, too. */
static void wait_for_disks(struct shard *s, struct message *m)
{
    const unsigned owner = index_owner(s->node->index, message_topic(m));
    if (m->qos == 0 || kept_hurries(s->node->shards[owner], m)) {
        return;
    }
    publish_wait_for(s, owner, m);
    if (m->payload_len == 0) {
        publish_wait_for(s, 0, m); /* which has the deletion */
    }
}

static void pass_on(struct shard *s, struct arrival *a)
{
    struct message *const m = a->job.message;
    const struct bytes groups = bytes_of(a->groups, a->groups_len);
    if (a->is_dispatch) { /* void, it is malformed, and nothing happens */
        (void)dispatch_run_arrived(s, a->peer, groups); /* its connection may be over */
        free(a);
        return;
    }
    s->route_waits = 0;
    const enum mqtt_reason reason = a->stored_only ? MQTT_REASON_SUCCESS : route(s, m, groups);
    if (a->is_stored && reason == MQTT_REASON_SUCCESS) {
        wait_for_disks(s, m);
    }
    owe(s, a->peer, a->op, s->route_waits, (uint8_t)reason);
    message_put(m);
    free(a);
}

static void pass_on_ready(struct shard *s, unsigned peer)
{
    struct arrivals *const all = &s->remote->arrivals[peer];
    for (struct arrival *a; (a = all->first) != NULL && a->ready;) {
        all->first = a->next;
        all->count--;
        pass_on(s, a);
    }
}

static void on_stored(struct shard *s, struct retain_job *job, enum retain_result result)
{
    struct arrival *const a = (struct arrival *)job;
    a->ready = true;
    a->is_stored = result == RETAIN_DONE;
    pass_on_ready(s, a->peer);
}

static void queue(struct shard *s, unsigned peer, struct arrival *a)
{
    struct arrivals *const all = &s->remote->arrivals[peer];
    if (all->first == NULL) {
        all->first = a;
    } else {
        all->last->next = a;
    }
    all->last = a;
    all->count++;
}

enum arrive_behind arrive_behind(struct shard *s, unsigned peer, struct bytes body)
{
    const struct arrivals *const all = &s->remote->arrivals[peer];
    if (all->first == NULL) {
        return ARRIVE_NOTHING;
    }
    struct arrival *const a = all->count >= ARRIVALS_MAX ? NULL : malloc(sizeof *a + body.len);
    if (a == NULL) {
        return ARRIVE_NOT_NOW;
    }
    *a = (struct arrival){
        .peer = (uint8_t)peer, .ready = true, .is_dispatch = true, .groups_len = body.len};
    memcpy(a->groups, body.at, body.len);
    queue(s, peer, a);
    return ARRIVE_QUEUED;
}

/* Takes the message. false: no memory. */
static bool arrive(struct shard *s, unsigned peer, const struct node_publish *p, struct message *m)
{
    struct arrival *const a = malloc(sizeof *a + p->groups.len);
    if (a == NULL) {
        message_put(m);
        return false;
    }
    *a = (struct arrival){.job = {.done = on_stored, .message = m},
                          .op = p->op,
                          .peer = (uint8_t)peer,
                          .ready = !is_retained(s, p),
                          .stored_only = p->stored_only,
                          .groups_len = p->groups.len};
    if (p->groups.len > 0) {
        memcpy(a->groups, p->groups.at, p->groups.len);
    }
    queue(s, peer, a);
    if (!a->ready) {
        const struct retained_version version = {
            .stamp = p->stamp, .origin = s->remote->nodes[peer], .generation = p->generation};
        const enum retain_result result = replicated_arrived(s, &a->job, &version);
        if (result != RETAIN_WAIT) {
            on_stored(s, &a->job, result);
        }
    }
    return true;
}

void arrive_fini(struct remote *r)
{
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        for (struct arrival *a; (a = r->arrivals[peer].first) != NULL;) {
            r->arrivals[peer].first = a->next;
            message_put(a->job.message);
            free(a);
        }
    }
}

/* true: *reason is what it becomes; SUCCESS: s->route_waits. false: it is told later. */
static bool take(struct shard *s, unsigned peer, const struct node_publish *p,
                 enum mqtt_reason *reason)
{
    if (publishable_is_own(p->topic)) {
        *reason = MQTT_REASON_NOT_AUTHORIZED; /* each node has its own */
        return true;
    }
    struct message *const m = s->memory_full ? NULL : arrive_message(s, p);
    *reason = MQTT_REASON_QUOTA_EXCEEDED;
    if (m == NULL) {
        if (p->qos == 0) {
            shard_drop(s, METRIC_drop_message_memory, bytes_of(NULL, 0), p->topic);
        }
        return true;
    }
    if (is_retained(s, p) || s->remote->arrivals[peer].first != NULL) {
        return !arrive(s, peer, p, m);
    }
    *reason = p->stored_only ? MQTT_REASON_SUCCESS : route(s, m, p->groups);
    message_put(m);
    return true;
}

enum link_taken arrive_publish(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct node_publish p;
    if (node_publish_decode(&p, frame->body) != NODE_OK) {
        return LINK_BAD;
    }
    if (shard_congested(s) || (memory_is_short(s) && p.qos > 0) ||
        s->remote->arrivals[peer].count >= ARRIVALS_MAX) {
        s->remote->held |= remote_bit(peer);
        return LINK_NOT_NOW;
    }
    shard_count(s, METRIC_forward_received);
    s->route_waits = 0;
    enum mqtt_reason reason;
    if (take(s, peer, &p, &reason)) {
        owe(s, peer, p.op, s->route_waits, (uint8_t)reason);
    }
    return LINK_TAKEN;
}

/* ---- the answers */

static bool is_ready(const struct shard *s, const struct result *r)
{
    return owed_is_kept(s, r->waits, r->ticket);
}

/* false: there is no room; they stay. A node that is nobody's number any more is told nothing. */
static bool put_results(struct shard *s, unsigned peer, const struct node_result *results,
                        size_t count)
{
    uint8_t *body;
    uint64_t seq;
    if (!peers_has_lane(s, peer)) {
        return true;
    }
    const enum link_put err = peers_put(s, peer, NODE_FRAME_RESULT, true,
                                        node_results_encode(NULL, results, count), &body, &seq);
    if (err != LINK_OK) {
        return false;
    }
    (void)node_results_encode(body, results, count);
    return true;
}

/* Of one peer, as many as go into a frame; those that are sent are marked by a peer that is none.
 */
#define SENT UINT8_MAX

static void send_of(struct shard *s, unsigned peer)
{
    struct remote *const r = s->remote;
    struct node_result results[RESULTS_OF_FRAME];
    uint32_t at[RESULTS_OF_FRAME];
    size_t count = 0;
    for (uint32_t i = 0; i < r->results.count; i++) {
        const struct result *const result = fifo_at(&r->results, i);
        if (result->peer != peer || !is_ready(s, result)) {
            continue;
        }
        results[count] = (struct node_result){.op = result->op, .reason = result->reason};
        at[count++] = i;
        if (count == RESULTS_OF_FRAME) {
            break;
        }
    }
    if (count == 0) {
        return;
    }
    if (!put_results(s, peer, results, count)) {
        r->results_failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        ((struct result *)fifo_at(&r->results, at[i]))->peer = SENT;
    }
}

static uint32_t peers_ready(const struct shard *s)
{
    const struct fifo *const results = &s->remote->results;
    uint32_t peers = 0;
    for (uint32_t i = 0; i < results->count; i++) {
        const struct result *const result = fifo_at(results, i);
        peers |= is_ready(s, result) ? remote_bit(result->peer) : 0;
    }
    return peers;
}

/* Takes those out that were sent; the others keep their order. */
static void close_up(struct fifo *results)
{
    const uint32_t count = results->count;
    for (uint32_t i = 0; i < count; i++) {
        const struct result result = *(const struct result *)fifo_first(results);
        fifo_pop(results);
        if (result.peer != SENT && !fifo_push(results, &result)) {
            remote_out_of_memory(); /* never: there is its place */
        }
    }
}

void arrive_flush(struct shard *s)
{
    struct remote *const r = s->remote;
    r->results_failed = false;
    uint32_t peers = peers_ready(s);
    if (peers == 0) {
        return;
    }
    for (; peers != 0; peers &= peers - 1) {
        send_of(s, (unsigned)__builtin_ctz(peers));
    }
    close_up(&r->results);
    r->results_failed = r->results_failed || peers_ready(s) != 0;
}

void arrive_forget(struct shard *s, unsigned peer)
{
    struct fifo *const results = &s->remote->results;
    for (uint32_t i = 0; i < results->count; i++) {
        struct result *const result = fifo_at(results, i);
        result->peer = result->peer == peer ? SENT : result->peer;
    }
    close_up(results);
    for (struct arrival *a = s->remote->arrivals[peer].first; a != NULL; a = a->next) {
        a->op = 0;
        a->groups_len = a->is_dispatch ? 0 : a->groups_len;
    }
}
