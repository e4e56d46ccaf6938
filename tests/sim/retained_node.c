/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/retained_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/little_endian.h"

#define RECORD_BYTES 64u
#define BODY_BYTES   16u
#define FRAME_BYTES  48u
#define KNOWN_BYTES  8u
#define FILE_TOPICS  0u

struct retained_rules retained_rules;

static uint64_t now(const struct retained_node *n)
{
    return sim_now_ms(n->links->node);
}

static uint64_t wall(const struct retained_node *n)
{
    return sim_wall_ms(n->links->node);
}

struct retained_node *retained_node_of(struct sim *sim, unsigned index)
{
    const struct link_node *const n = sim_running(sim_node(sim, index));
    return n != NULL ? n->rider : NULL;
}

static struct bytes topic_text(unsigned topic)
{
    static char texts[RETAINED_TOPICS][16];
    snprintf(texts[topic], sizeof texts[topic], "topic/%u", topic);
    return bytes_text(texts[topic]);
}

static unsigned topic_number(struct bytes topic)
{
    char text[16] = {0};
    assert(topic.len < sizeof text);
    memcpy(text, topic.at, topic.len);
    return (unsigned)strtoul(text + strlen("topic/"), NULL, 10);
}

static uint64_t left_ms(const struct retained_node *n, const struct retained_message *m)
{
    return m->expires_ms == RETAINED_FOREVER ? RETAINED_FOREVER
           : m->expires_ms > now(n)          ? m->expires_ms - now(n)
                                             : 0;
}

static void keep(struct retained_node *n, unsigned topic, const struct retained_version *version,
                 bool gone, uint64_t value, uint64_t expiry_ms)
{
    const uint64_t end = expiry_ms == RETAINED_FOREVER ? RETAINED_FOREVER : now(n) + expiry_ms;
    n->topics[topic] = (struct retained_message){*version, gone, value, end};
    n->dirty[topic] = true;
}

/* ---- What the replica tells */

static enum replica_err on_set(void *context, const struct node_retained_item *item,
                               uint64_t *handle)
{
    struct retained_node *const n = context;
    const unsigned topic = topic_number(item->topic);
    if (item->body.len != BODY_BYTES) {
        return REPLICA_MALFORMED;
    }
    keep(n, topic, &item->version, false, get_u64(item->body.at), get_u64(item->body.at + 8));
    *handle = topic;
    return REPLICA_OK;
}

static void on_gone(void *context, struct bytes topic, const struct retained_version *version)
{
    struct retained_node *const n = context;
    const unsigned number = topic_number(topic);
    if (retained_version_compare(&n->topics[number].version, version) == 0) {
        retained_rules.on_forget(n, number, &n->topics[number]);
    }
    keep(n, number, version, true, 0, RETAINED_FOREVER);
}

static void on_forget(void *context, struct bytes topic)
{
    struct retained_node *const n = context;
    const unsigned number = topic_number(topic);
    retained_rules.on_forget(n, number, &n->topics[number]);
    n->topics[number] = (struct retained_message){0};
    n->dirty[number] = true;
}

static void on_floor(void *context, uint64_t floor)
{
    struct retained_node *const n = context;
    n->floor = floor;
    n->floor_dirty = true;
    if (n->hears) {
        retained_rules.on_floor(n, n->hears_peer, n->hears_known);
    }
}

static void on_drop(void *context, uint64_t handle)
{
    (void)context;
    assert(handle < RETAINED_TOPICS);
}

static size_t on_body(void *context, uint64_t handle, uint8_t *out, size_t out_max)
{
    const struct retained_node *const n = context;
    const struct retained_message *const m = &n->topics[handle];
    const uint64_t left = left_ms(n, m);
    if (left == 0) {
        return 0;
    }
    if (out_max >= BODY_BYTES) {
        put_u64(out, m->value);
        put_u64(out + 8, left);
    }
    return BODY_BYTES;
}

/* ---- The disk */

static void write_topic(struct retained_node *n, unsigned topic)
{
    uint8_t out[RECORD_BYTES] = {0};
    const struct retained_message *const m = &n->topics[topic];
    put_u64(out, m->version.stamp);
    memcpy(out + 8, m->version.origin.bytes, UUID_BYTES);
    put_u64(out + 24, m->version.generation);
    put_u64(out + 32, m->value);
    put_u64(out + 40, left_ms(n, m));
    out[48] = m->gone;
    put_u64(out + 56, n->deleted[topic]);
    sim_disk_write(n->links->node, FILE_TOPICS, (uint64_t)topic * RECORD_BYTES,
                   bytes_of(out, sizeof out));
    n->dirty[topic] = false;
}

/* The floor is in the file as well, behind the topics, so that one sync is for all. */
static void sync_all(struct retained_node *n)
{
    bool any = n->floor_dirty || replica_wants_mark(n->replica);
    for (unsigned i = 0; i < RETAINED_TOPICS && n->sync == 0; i++) {
        if (n->dirty[i]) {
            write_topic(n, i);
            any = true;
        }
    }
    if (n->sync != 0 || (!any && !replica_wants_mark(n->replica))) {
        return;
    }
    uint8_t out[8];
    put_u64(out, n->floor);
    sim_disk_write(n->links->node, FILE_TOPICS, (uint64_t)RETAINED_TOPICS * RECORD_BYTES,
                   bytes_of(out, sizeof out));
    n->floor_dirty = false;
    n->mark = replica_mark(n->replica);
    n->sync = sim_disk_sync(n->links->node, FILE_TOPICS);
}

static void on_disk_done(void *rider, uint64_t operation, int error)
{
    struct retained_node *const n = rider;
    assert(error == 0);
    if (operation == n->sync) {
        n->sync = 0;
        replica_durable(n->replica, n->mark);
        sync_all(n);
    }
}

static void restore(struct retained_node *n)
{
    uint8_t in[RECORD_BYTES], floor[8];
    for (unsigned i = 0; i < RETAINED_TOPICS; i++) {
        const size_t len =
            sim_disk_read(n->links->node, FILE_TOPICS, (uint64_t)i * RECORD_BYTES, in, sizeof in);
        if (len == sizeof in) {
            retained_node_deleted(n, i, get_u64(in + 56));
            n->dirty[i] = false;
        }
        if (len == sizeof in && get_u64(in) > 0) {
            struct retained_version v = {.stamp = get_u64(in), .generation = get_u64(in + 24)};
            memcpy(v.origin.bytes, in + 8, UUID_BYTES);
            keep(n, i, &v, in[48] != 0, get_u64(in + 32), get_u64(in + 40));
            n->dirty[i] = false;
            n->best[i] = v;
            const enum replica_err err =
                replica_restore(n->replica, topic_text(i), &v, in[48] != 0, i);
            assert(err == REPLICA_OK);
        }
    }
    if (sim_disk_read(n->links->node, FILE_TOPICS, (uint64_t)RETAINED_TOPICS * RECORD_BYTES, floor,
                      sizeof floor) == sizeof floor) {
        n->floor = get_u64(floor);
        replica_restore_floor(n->replica, n->floor);
    }
}

/* ---- The links */

static void *on_create(struct link_node *links)
{
    struct retained_node *const n = calloc(1, sizeof *n);
    struct replica_conf conf = replica_conf_defaults();
    assert(n != NULL);
    n->links = links;
    conf.cluster = sim_identity(links->node)->cluster;
    conf.self = sim_identity(links->node)->node;
    conf.generation = sim_identity(links->node)->generation;
    conf.ahead_max_ms = 3600000;
    conf.walk_wait_max_ms = 4000;
    conf.part_bytes = 100; /* one item or two */
    conf.known_max = 1;
    conf.turn_steps = 50;
    conf.events = (struct replica_events){.set = on_set,
                                          .gone = on_gone,
                                          .forget = on_forget,
                                          .floor = on_floor,
                                          .drop = on_drop,
                                          .body = on_body,
                                          .context = n};
    n->replica = replica_create(&conf);
    assert(n->replica != NULL);
    restore(n);
    for (unsigned i = 0; i < link_node_peers(links); i++) {
        if (i != sim_index(links->node)) {
            n->known[i] = true;
            n->uuids[i] = sim_identity(sim_node(sim_of(links->node), i))->node;
            n->up_ms[i] = now(n);
            replica_peer_begin(n->replica, i, n->uuids[i]);
        }
    }
    replica_members_known(n->replica);
    return n;
}

static void on_destroy(void *rider)
{
    struct retained_node *const n = rider;
    replica_destroy(n->replica);
    free(n);
}

static void on_begin(void *rider, unsigned peer, struct node_uuid node)
{
    struct retained_node *const n = rider;
    if (!n->known[peer] || !node_uuid_equal(n->uuids[peer], node)) {
        replica_peer_end(n->replica, peer);
        replica_peer_begin(n->replica, peer, node);
        n->uuids[peer] = node;
        n->known[peer] = true;
        n->lost[peer] = false;
        n->up_ms[peer] = now(n);
    }
}

static void on_up(void *rider, unsigned peer, uint64_t generation)
{
    struct retained_node *const n = rider;
    (void)generation;
    n->up[peer] = true;
    n->lost[peer] = false;
    replica_peer_lost(n->replica, peer, false);
    replica_peer_up(n->replica, peer, now(n));
}

static void on_down(void *rider, unsigned peer)
{
    struct retained_node *const n = rider;
    n->up[peer] = false;
    n->up_ms[peer] = now(n);
    replica_peer_down(n->replica, peer);
}

/* A message of another node, as a frame PUBLISH would have it. */
static enum link_taken on_message(struct retained_node *n, unsigned peer,
                                  const struct node_frame *frame)
{
    if (frame->body.len != FRAME_BYTES) {
        return LINK_BAD;
    }
    const uint8_t *const at = frame->body.at;
    const struct retained_version v = {get_u64(at), n->uuids[peer], get_u64(at + 8)};
    const unsigned topic = get_u32(at + 16);
    const bool gone = get_u32(at + 20) != 0;
    if (replica_apply(n->replica, topic_text(topic), &v, gone, topic, wall(n)) == REPLICA_OK) {
        keep(n, topic, &v, gone, get_u64(at + 24), get_u64(at + 32));
    }
    return LINK_TAKEN;
}

static bool received(struct retained_node *n, unsigned peer, const struct node_frame *frame,
                     uint64_t known)
{
    n->hears = true;
    n->hears_peer = peer;
    n->hears_known = known;
    const enum replica_err err = replica_received(n->replica, peer, frame, now(n), wall(n));
    n->hears = false;
    return err == REPLICA_OK;
}

/* What a peer's floor stands for is as of its word, not as of later. */
static enum link_taken on_digest(struct retained_node *n, unsigned peer, struct node_frame frame)
{
    if (frame.body.len < KNOWN_BYTES) {
        return LINK_BAD;
    }
    frame.body.len -= KNOWN_BYTES;
    const uint64_t known = get_u64(frame.body.at + frame.body.len);
    const uint64_t walks = replica_figures(n->replica).walks;
    const bool taken = received(n, peer, &frame, known);
    if (replica_figures(n->replica).walks > walks) {
        n->walk_known[peer] = known;
    }
    return taken ? LINK_TAKEN : LINK_BAD;
}

static enum link_taken on_deliver(void *rider, unsigned peer, const struct node_frame *frame)
{
    struct retained_node *const n = rider;
    switch (frame->type) {
    case NODE_FRAME_PUBLISH:
        return on_message(n, peer, frame);
    case NODE_FRAME_RETAINED_DIGEST:
        return on_digest(n, peer, *frame);
    default:
        return received(n, peer, frame, n->walk_known[peer]) ? LINK_TAKEN : LINK_BAD;
    }
}

/* A digest goes with what the suite knows at that moment. */
static bool on_next(void *rider, unsigned peer, size_t room, uint8_t *type, struct bytes *body)
{
    struct retained_node *const n = rider;
    if (room < sizeof n->digest ||
        !replica_next(n->replica, peer, room - KNOWN_BYTES, now(n), type, body)) {
        return false;
    }
    if (*type == NODE_FRAME_RETAINED_DIGEST) {
        assert(body->len + KNOWN_BYTES <= sizeof n->digest);
        memcpy(n->digest, body->at, body->len);
        put_u64(n->digest + body->len, retained_rules.known);
        *body = bytes_of(n->digest, body->len + KNOWN_BYTES);
    }
    return true;
}

static void on_turn(void *rider)
{
    struct retained_node *const n = rider;
    for (unsigned i = 0; i < RETAINED_TOPICS; i++) {
        struct retained_message *const m = &n->topics[i];
        if (m->version.stamp > 0 && !m->gone && m->expires_ms <= now(n)) {
            const struct retained_version version = m->version;
            m->gone = true;
            n->dirty[i] = true;
            replica_expired(n->replica, topic_text(i), &version);
        }
    }
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        if (n->known[i] && !n->up[i] && !n->lost[i] &&
            now(n) - n->up_ms[i] >= retained_rules.lost_ms) {
            n->lost[i] = true;
            replica_peer_lost(n->replica, i, true);
            retained_rules.on_lost(n);
        }
    }
    replica_turn(n->replica, now(n));
    sync_all(n);
}

static uint64_t on_next_ms(const void *rider)
{
    const struct retained_node *const n = rider;
    return replica_next_ms(n->replica);
}

const struct link_rider retained_rider = {
    .create = on_create,
    .destroy = on_destroy,
    .begin = on_begin,
    .up = on_up,
    .down = on_down,
    .deliver = on_deliver,
    .next = on_next,
    .turn = on_turn,
    .next_ms = on_next_ms,
    .disk_done = on_disk_done,
    .messages = true,
};

void retained_node_deleted(struct retained_node *n, unsigned topic, uint64_t stamp)
{
    if (stamp > n->deleted[topic]) {
        n->deleted[topic] = stamp;
        n->deleted_as[topic] = ++retained_rules.known;
        n->dirty[topic] = true;
    }
}

/* ---- What users do */

bool retained_node_write(struct retained_node *n, unsigned topic, bool gone, uint64_t value,
                         uint64_t expiry_ms, bool numbered)
{
    struct retained_version v;
    if (replica_write(n->replica, topic_text(topic), gone, topic, wall(n), &v) != REPLICA_OK) {
        return false;
    }
    keep(n, topic, &v, gone, value, expiry_ms);
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        uint8_t *body;
        uint64_t seq;
        struct link *const link = n->links->peers[i].link;
        if (link != NULL && link_put(link, NODE_FRAME_PUBLISH, numbered, FRAME_BYTES, &body, &seq,
                                     now(n)) == LINK_OK) {
            memset(body, 0, FRAME_BYTES);
            put_u64(body, v.stamp);
            put_u64(body + 8, v.generation);
            put_u32(body + 16, topic);
            put_u32(body + 20, gone);
            put_u64(body + 24, value);
            put_u64(body + 32, expiry_ms);
        }
    }
    return true;
}
