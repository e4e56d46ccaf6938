/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replicated/replicated.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "broker/conn/publishable.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/remote/remote_parts.h"
#include "broker/replicated/replicated_parts.h"
#include "broker/route/promise.h"
#include "broker/session/kept.h"
#include "broker/store/difference.h"
#include "proto/little_endian.h"
#include "proto/node_publish.h"

/* A node that was started without anything waits so long for others before it stamps; and all are
 * ready when they have what the others have, or after that time. */
#define ALONE_MS 1000u
#define HEARD_MS 10000u

/* From one time that the disks are asked to the next. */
#define BARRIER_MS 200u

uint64_t replicated_wall_ms(void)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
}

static struct shard *shard_zero(const struct replicated *r)
{
    return r->node->shards[0];
}

/* ---- what the replica tells */

static struct message *message_of(uint64_t handle)
{
    return (struct message *)(uintptr_t)handle;
}

/* As what comes in a frame PUBLISH (remote/arrive.c); to nobody's session. */
static struct message *make_message(const struct shard *s, const struct node_publish *p,
                                    const struct retained_version *version)
{
    struct message *const bare = message_create(p->topic, p->properties, p->payload);
    struct message *const m = bare == NULL ? NULL : message_with_version(bare);
    if (m == NULL) {
        message_put(bare);
        return NULL;
    }
    message_set_version(m, version);
    m->qos = p->qos;
    m->retain = true;
    m->has_expiry = p->expiry_ms != NODE_NO_EXPIRY;
    m->expires_ms = m->has_expiry ? s->now_ms + p->expiry_ms : 0;
    return m;
}

static enum replica_err on_set(void *context, const struct node_retained_item *item,
                               uint64_t *handle)
{
    struct replicated *const r = context;
    struct shard *const s = shard_zero(r);
    struct node_publish p;
    if (node_publish_decode(&p, item->body) != NODE_OK || !bytes_equal(p.topic, item->topic) ||
        p.payload.len == 0 || publishable_is_own(p.topic)) {
        return REPLICA_MALFORMED;
    }
    if (s->memory_full || atomic_load_explicit(&r->node->disk_troubles, memory_order_relaxed) > 0) {
        return REPLICA_NO_MEMORY;
    }
    struct message *const m = make_message(s, &p, &item->version);
    if (m == NULL) {
        return REPLICA_NO_MEMORY;
    }
    *handle = (uint64_t)(uintptr_t)m;
    write_put(s, message_take(m, 1), false, NULL, 0, false);
    return REPLICA_OK;
}

static void on_gone(void *context, struct bytes topic, const struct retained_version *version)
{
    struct replicated *const r = context;
    struct shard *const s = shard_zero(r);
    struct message *const grave = write_grave(topic, version);
    kept_buried(s, topic, grave->topic_hash, version, true);
    write_put(s, grave, true, NULL, 0, false);
}

/* What is there now is what it was told last. */
static void on_forget(void *context, struct bytes topic)
{
    static const struct retained_version any = {.stamp = UINT64_MAX};
    struct replicated *const r = context;
    struct shard *const s = shard_zero(r);
    if (s->store != NULL) {
        difference_grave(s, topic, XXH3_64bits(topic.at, topic.len));
    }
    if (!r->expiring) {
        write_put(s, write_grave(topic, &any), true, NULL, 0, false);
    }
}

/* It is written at the end, and at no other time (store/capture.h). */
static void on_floor(void *context, uint64_t floor)
{
    (void)context;
    (void)floor;
}

static void on_drop(void *context, uint64_t handle)
{
    (void)context;
    message_put(message_of(handle));
}

static size_t on_body(void *context, uint64_t handle, uint8_t *out, size_t out_max)
{
    const struct replicated *const r = context;
    const struct shard *const s = shard_zero(r);
    const struct message *const m = message_of(handle);
    const struct node_publish p = {
        .published_ms = s->now_ms + (uint64_t)s->node->wall_offset_ms,
        .expiry_ms = m->has_expiry ? m->expires_ms - s->now_ms : NODE_NO_EXPIRY,
        .qos = m->qos,
        .retain = true,
        .topic = message_topic(m),
        .properties = message_properties(m),
        .payload = message_payload(m),
    };
    if (m->has_expiry && m->expires_ms <= s->now_ms) {
        return 0;
    }
    const size_t len = node_publish_encode(NULL, &p);
    if (len <= out_max) {
        (void)node_publish_encode(out, &p);
    }
    return len;
}

/* ---- peers */

static void count_missing(struct replicated *r)
{
    replica_members_missing(r->replica, r->missing_count);
}

static void is_missing(struct replicated *r, struct node_uuid node, bool missing)
{
    for (unsigned i = 0; i < r->missing_count; i++) {
        if (node_uuid_equal(r->missing[i], node)) {
            r->missing[i] = r->missing[--r->missing_count];
            break;
        }
    }
    if (missing && r->missing_count < PEERS_MAX) {
        r->missing[r->missing_count++] = node;
    }
    count_missing(r);
}

static void show_peer(struct replicated *r, unsigned peer)
{
    struct shown_peer *const shown = &r->shown_peers[peer];
    const struct replica_peer_figures f = replica_peer_figures(r->replica, peer);
    uint64_t node[2] = {0, 0};
    if ((r->known & remote_bit(peer)) != 0 && f.said) {
        memcpy(node, r->nodes[peer].bytes, sizeof node);
    }
    atomic_store_explicit(&shown->low, get_u64(f.sum), memory_order_relaxed);
    atomic_store_explicit(&shown->high, get_u64(f.sum + 8), memory_order_relaxed);
    atomic_store_explicit(&shown->node[0], node[0], memory_order_relaxed);
    atomic_store_explicit(&shown->node[1], node[1], memory_order_relaxed);
}

void replicated_facts(struct shard *s, const struct peer_facts *facts)
{
    struct replicated *const r = s->node->replicated;
    const unsigned peer = facts->number;
    const uint32_t bit = remote_bit(peer);
    if (facts->forgotten) {
        if ((r->known & bit) != 0) {
            is_missing(r, facts->node, !facts->gone);
            replica_peer_end(r->replica, peer);
        }
        r->known &= ~bit;
        r->live &= ~bit;
        r->up &= ~bit;
        show_peer(r, peer);
        return;
    }
    if ((r->known & bit) == 0) {
        r->known |= bit;
        r->nodes[peer] = facts->node;
        is_missing(r, facts->node, false);
        replica_peer_begin(r->replica, peer, facts->node);
    }
    r->live = facts->live ? r->live | bit : r->live & ~bit;
    r->differs_since_ms[peer] = facts->live ? s->now_ms : 0;
}

void replicated_up(struct shard *s, unsigned peer)
{
    struct replicated *const r = s->node->replicated;
    if ((r->known & remote_bit(peer)) != 0) {
        r->up |= remote_bit(peer);
        replica_peer_up(r->replica, peer, s->now_ms);
    }
}

void replicated_down(struct shard *s, unsigned peer)
{
    struct replicated *const r = s->node->replicated;
    if ((r->up & remote_bit(peer)) != 0) {
        r->up &= ~remote_bit(peer);
        replica_peer_down(r->replica, peer);
    }
}

enum link_taken replicated_received(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct replicated *const r = s->node->replicated;
    if ((r->up & remote_bit(peer)) == 0) {
        return LINK_TAKEN;
    }
    if (shard_congested(s)) {
        return LINK_NOT_NOW;
    }
    return replica_received(r->replica, peer, frame, s->now_ms, replicated_wall_ms()) == REPLICA_OK
               ? LINK_TAKEN
               : LINK_BAD;
}

bool replicated_next(struct shard *s, unsigned peer, size_t room, uint8_t *type, struct bytes *body)
{
    struct replicated *const r = s->node->replicated;
    return (r->up & remote_bit(peer)) != 0 &&
           replica_next(r->replica, peer, room, s->now_ms, type, body);
}

/* ---- the disks */

static void on_marked(struct shard *s, struct retain_job *job, enum retain_result result)
{
    struct barrier *const b = (struct barrier *)job;
    (void)result;
    if (--b->left == 0) {
        replica_durable(s->node->replicated->replica, b->mark);
    }
}

struct post_mark {
    struct post_head head;
    struct retain_job *job;
};

void replicated_on_mark(struct shard *s, unsigned from, const struct post_head *record)
{
    struct retain_job *const job = ((const struct post_mark *)(const void *)record)->job;
    if (s->store == NULL) {
        publish_retain_kept(s, from, job, RETAIN_DONE);
    } else {
        promise_retain(s, from, job, RETAIN_DONE);
    }
}

/* A shard reads what it was told before, and then this. */
static void ask_disks(struct shard *s)
{
    struct replicated *const r = s->node->replicated;
    struct barrier *const b = &r->barrier;
    b->job.done = on_marked;
    b->mark = replica_mark(r->replica);
    b->next_ms = s->now_ms + BARRIER_MS;
    if (s->store == NULL) { /* all is in memory, and ends with it */
        replica_durable(r->replica, b->mark);
        return;
    }
    b->left = s->node->shard_count;
    for (unsigned i = 1; i < s->node->shard_count; i++) {
        struct post_mark *const p = post_reserve(s, i, POST_REPLICA_MARK, sizeof *p);
        p->job = &b->job;
        post_commit(s, i);
    }
    promise_retain(s, 0, &b->job, RETAIN_DONE);
}

/* ---- a turn */

static void look_who_differs(struct replicated *r, uint64_t now_ms)
{
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        const bool same = replica_peer_figures(r->replica, peer).same;
        if ((r->live & remote_bit(peer)) == 0 || same) {
            r->differs_since_ms[peer] = 0;
        } else if (r->differs_since_ms[peer] == 0) {
            r->differs_since_ms[peer] = now_ms;
        }
    }
}

static uint64_t differ_s(const struct replicated *r, uint64_t now_ms)
{
    uint64_t longest_ms = 0;
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        const uint64_t since_ms = r->differs_since_ms[peer];
        const uint64_t ms = since_ms == 0 ? 0 : now_ms - since_ms;
        longest_ms = ms > longest_ms ? ms : longest_ms;
    }
    return longest_ms / 1000;
}

static void show(struct shard *s)
{
    struct replicated *const r = s->node->replicated;
    const struct replica_figures f = replica_figures(r->replica);
    const uint64_t now[REPLICATED_GAUGES] = {
        [REPLICATED_TOPICS] = f.topics - f.gone,
        [REPLICATED_TOMBSTONES] = f.gone,
        [REPLICATED_BYTES] = f.bytes,
        [REPLICATED_WAITING] = r->waiting.count,
        [REPLICATED_DIFFER_S] = differ_s(r, s->now_ms),
        [REPLICATED_WALKS] = f.walks,
        [REPLICATED_ITEMS_SENT] = f.items_sent,
        [REPLICATED_ITEMS_TAKEN] = f.items_taken,
        [REPLICATED_FORGOTTEN] = f.forgotten,
        [REPLICATED_DROPPED] = f.dropped,
        [REPLICATED_AHEAD] = f.ahead,
        [REPLICATED_TOO_LARGE] = f.too_large,
        [REPLICATED_SUM_LOW] = (uint64_t)f.digest.sum,
        [REPLICATED_SUM_HIGH] = (uint64_t)(f.digest.sum >> 64),
    };
    for (unsigned i = 0; i < REPLICATED_GAUGES; i++) {
        atomic_store_explicit(&r->shown[i], now[i], memory_order_relaxed);
    }
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        if ((r->known & remote_bit(peer)) != 0) {
            show_peer(r, peer);
        }
    }
}

/* Whoever lives is connected, and has been listened to. */
static bool has_heard_all(const struct replicated *r)
{
    for (uint32_t left = r->live; left != 0; left &= left - 1) {
        const unsigned peer = (unsigned)__builtin_ctz(left);
        const struct replica_peer_figures f = replica_peer_figures(r->replica, peer);
        if (!f.same && f.has == 0) {
            return false;
        }
    }
    return true;
}

static void look_whether_ready(struct shard *s)
{
    struct replicated *const r = s->node->replicated;
    if (atomic_load_explicit(&s->node->joining, memory_order_relaxed)) {
        return;
    }
    if (r->joined_ms == 0) {
        r->joined_ms = s->now_ms;
    }
    const uint64_t since_ms = s->now_ms - r->joined_ms;
    const bool is_late = since_ms >= HEARD_MS;
    if (!replica_is_ready(r->replica) && (is_late || (r->live == 0 && since_ms >= ALONE_MS))) {
        replica_is_first(r->replica);
    }
    const bool has_all = has_heard_all(r);
    if (!r->heard && (is_late || (since_ms >= ALONE_MS && has_all))) {
        r->heard = true;
        atomic_store_explicit(&r->shown_heard, true, memory_order_relaxed);
        log_event(LOG_INFO, "retained_fetched", LOG_BOOL("all", has_all),
                  LOG_NUMBER("messages", replicated_gauge(s->node, REPLICATED_TOPICS)),
                  LOG_NUMBER("taken", replicated_gauge(s->node, REPLICATED_ITEMS_TAKEN)));
    }
    /* By then all that the others know of was heard of. */
    if (is_late && atomic_load_explicit(&s->node->members_absent, memory_order_relaxed) == 0) {
        replica_members_known(r->replica);
    }
}

void replicated_turn(struct shard *s)
{
    struct replicated *const r = s->node->replicated;
    if (s->now_ms >= r->turn_ms) {
        r->turn_ms = s->now_ms + 10;
        look_whether_ready(s);
        look_who_differs(r, s->now_ms);
        replica_turn(r->replica, s->now_ms);
        show(s);
    }
    if (r->waiting.count > 0) {
        write_waiting(s);
    }
    if (r->barrier.left == 0 && s->now_ms >= r->barrier.next_ms && replica_wants_mark(r->replica)) {
        ask_disks(s);
    }
}

uint64_t replicated_next_ms(const struct shard *s)
{
    const struct replicated *const r = s->node->replicated;
    uint64_t next_ms = replica_next_ms(r->replica);
    if (!r->heard) {
        const uint64_t look_ms = s->now_ms + 100;
        next_ms = look_ms < next_ms ? look_ms : next_ms;
    }
    if (r->barrier.left == 0 && replica_wants_mark(r->replica) && r->barrier.next_ms < next_ms) {
        next_ms = r->barrier.next_ms;
    }
    return next_ms > s->now_ms && next_ms < r->turn_ms ? r->turn_ms : next_ms;
}

/* ---- figures */

uint64_t replicated_gauge(const struct node *node, enum replicated_gauge gauge)
{
    const struct replicated *const r = node->replicated;
    return r == NULL ? 0 : atomic_load_explicit(&r->shown[gauge], memory_order_relaxed);
}

bool replicated_peer_sum(const struct node *node, struct node_uuid peer, uint64_t *low,
                         uint64_t *high)
{
    const struct replicated *const r = node->replicated;
    uint64_t want[2];
    memcpy(want, peer.bytes, sizeof want);
    for (unsigned i = 0; r != NULL && i < PEERS_MAX; i++) {
        const struct shown_peer *const p = &r->shown_peers[i];
        if (atomic_load_explicit(&p->node[0], memory_order_relaxed) == want[0] &&
            atomic_load_explicit(&p->node[1], memory_order_relaxed) == want[1]) {
            *low = atomic_load_explicit(&p->low, memory_order_relaxed);
            *high = atomic_load_explicit(&p->high, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

bool replicated_has_heard(const struct node *node)
{
    return node->replicated == NULL ||
           atomic_load_explicit(&node->replicated->shown_heard, memory_order_relaxed);
}

uint64_t replicated_floor(const struct node *node)
{
    return node->replicated == NULL ? 0 : replica_figures(node->replicated->replica).floor;
}

bool replicated_is_buried(struct shard *s, struct bytes topic, struct retained_version *version)
{
    struct node *const node = s->node;
    bool gone = false;
    if (node->replicated != NULL) {
        return replica_look(node->replicated->replica, topic, version, &gone) && gone;
    }
    const struct grave *const grave = graves_find(&node->graves, topic);
    if (grave != NULL) {
        *version = grave->version;
    }
    return grave != NULL;
}

/* ---- beginning and end */

bool replicated_create(struct node *node, const struct identity *self)
{
    struct replicated *const r = calloc(1, sizeof *r);
    struct replica_conf conf = replica_conf_defaults();
    if (r == NULL) {
        return false;
    }
    r->node = node;
    r->self = self->node;
    r->generation = self->generation;
    conf.cluster = self->cluster;
    conf.self = self->node;
    conf.generation = self->generation;
    conf.events = (struct replica_events){.set = on_set,
                                          .gone = on_gone,
                                          .forget = on_forget,
                                          .floor = on_floor,
                                          .drop = on_drop,
                                          .body = on_body,
                                          .context = r};
    r->replica = replica_create(&conf);
    node->replicated = r;
    return r->replica != NULL && restore_all(r);
}

static void put_one(void *context, uint64_t handle)
{
    (void)context;
    message_put(message_of(handle));
}

void replicated_destroy(struct node *node)
{
    struct replicated *const r = node->replicated;
    graves_fini(&node->graves);
    if (r == NULL) {
        return;
    }
    if (r->replica != NULL) {
        replica_each(r->replica, put_one, NULL);
    }
    replica_destroy(r->replica);
    fifo_fini(&r->waiting);
    free(r);
    node->replicated = NULL;
}
