/* SPDX-License-Identifier: Apache-2.0 */
/* What META says to other nodes, and hears of them, by lane 0. */
#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"
#include "broker/meta/meta_parts.h"
#include "broker/node.h"
#include "broker/remote/remote_parts.h"
#include "broker/shard/shard.h"
#include "proto/node_hello.h"

/* ---- who is there */

unsigned meta_peer_of(const struct meta_run *r, struct node_uuid node)
{
    unsigned peer = 0;
    while (peer < PEERS_MAX && !node_uuid_equal(r->peers[peer].node, node)) {
        peer++;
    }
    return peer;
}

static bool is_of_this_cluster(const struct meta_run *r, const struct meta_peer *p)
{
    return meta_is_formed(r) && p->has_said &&
           cluster_uuid_equal(p->cluster, formation_cluster(r->formation));
}

unsigned meta_peer_numbered(const struct meta_run *r, uint32_t number)
{
    const struct meta_member *const m = meta_member_of(&r->state, number);
    if (m != NULL) {
        return meta_peer_of(r, m->uuid);
    }
    unsigned peer = 0;
    while (peer < PEERS_MAX && !(is_of_this_cluster(r, &r->peers[peer]) &&
                                 r->peers[peer].number == number && number != 0)) {
        peer++;
    }
    return peer;
}

struct node_meta_node meta_node_of_peer(const struct meta_peer *p)
{
    return (struct node_meta_node){.uuid = p->node,
                                   .features = p->features,
                                   .name = bytes_of(p->name, p->name_len),
                                   .zone = bytes_of(p->zone, p->zone_len)};
}

struct node_meta_node meta_node_of_self(const struct meta_run *r)
{
    return (struct node_meta_node){.uuid = r->self,
                                   .features = META_FEATURES,
                                   .name = bytes_of(r->name, r->name_len),
                                   .zone = bytes_of(r->zone, r->zone_len)};
}

/* It lives after all. */
static void remember_again(struct meta_run *r, struct node_uuid node)
{
    for (unsigned i = 0; i < META_FORGOTTEN_MAX; i++) {
        if (node_uuid_equal(r->forgotten[i], node)) {
            r->forgotten[i] = (struct node_uuid){{0}};
        }
    }
}

void meta_run_facts(struct shard *s, const struct peer_facts *facts)
{
    struct meta_run *const r = s->node->meta_run;
    if (r == NULL || s->id != 0) {
        return;
    }
    struct meta_peer *const p = &r->peers[facts->number];
    if (facts->forgotten || node_uuid_equal(facts->node, r->self)) {
        if (facts->forgotten && facts->gone && meta_member_by_uuid(&r->state, p->node) != NULL) {
            r->forgotten[r->forgotten_count++ % META_FORGOTTEN_MAX] = p->node;
        }
        *p = (struct meta_peer){.is_live = false};
        meta_hurry(r);
        return;
    }
    if (!node_uuid_equal(p->node, facts->node)) {
        *p = (struct meta_peer){.node = facts->node, .since_ms = s->now_ms};
    }
    if (facts->live) {
        remember_again(r, facts->node);
    }
    if (p->is_live != facts->live) {
        p->is_live = facts->live;
        p->since_ms = s->now_ms;
        meta_hurry(r);
    }
    p->name_len = facts->name_len;
    memcpy(p->name, facts->name, facts->name_len);
}

void meta_run_up(struct shard *s, unsigned peer)
{
    struct meta_run *const r = s->node->meta_run;
    if (r != NULL && s->id == 0) {
        r->peers[peer].owes = true;
        meta_hurry(r);
    }
}

/* ---- out */

static bool has_room(const struct shard *s, unsigned peer, size_t len)
{
    const size_t room = peers_room(s, peer), frame = NODE_FRAME_HEAD_BYTES + len;
    return (room > INTEREST_ROOM && frame <= room - INTEREST_ROOM) ||
           len <= peers_room_alone(s, peer);
}

static bool put(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    uint8_t *to;
    uint64_t seq;
    if ((peers_features(s, peer) & NODE_FEATURE_META) == 0 || !has_room(s, peer, body.len) ||
        peers_put(s, peer, type, false, body.len, &to, &seq) != LINK_OK) {
        return false;
    }
    memcpy(to, body.at, body.len);
    return true;
}

/* Whatever finds no room is said again: by formation, by who asks, by who reports. */
void meta_say(struct shard *s, unsigned peer, uint8_t type, struct bytes body)
{
    if (peer < PEERS_MAX) {
        (void)put(s, peer, type, body);
    }
}

void meta_say_who(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    uint8_t body[NODE_META_MEMBER_MAX];
    struct node_meta_member m = {.features = META_FEATURES, .zone = bytes_of(r->zone, r->zone_len)};
    if (meta_is_formed(r)) {
        m.cluster = formation_cluster(r->formation);
        m.number = formation_number(r->formation);
    }
    const size_t len = node_meta_member_encode(body, &m);
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        struct meta_peer *const p = &r->peers[peer];
        if (p->owes && !node_uuid_is_none(p->node)) {
            p->owes = !put(s, peer, NODE_FRAME_META_MEMBER, bytes_of(body, len));
        }
    }
}

/* Who has said that it has that state; else one of the others after the other. */
static unsigned whom_to_ask(const struct meta_run *r)
{
    if (r->asked % 2 == 0) {
        const unsigned peer = meta_peer_numbered(r, (uint32_t)r->wanted_from);
        if (peer != PEERS_MAX) {
            return peer;
        }
    }
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        const unsigned peer = (i + r->asked) % PEERS_MAX;
        if (is_of_this_cluster(r, &r->peers[peer]) && r->peers[peer].is_live) {
            return peer;
        }
    }
    return PEERS_MAX;
}

void meta_ask(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    uint8_t body[NODE_META_HEAD_MAX];
    if (r->wanted == 0 || r->has_copy || s->now_ms < r->asked_ms + META_SECOND_MS) {
        return;
    }
    const struct node_meta_copy ask = {.cluster = formation_cluster(r->formation),
                                       .index = r->wanted};
    meta_say(s, whom_to_ask(r), NODE_FRAME_META_STATE,
             bytes_of(body, node_meta_copy_encode(body, &ask)));
    r->asked_ms = s->now_ms;
    r->asked++;
}

/* ---- in */

static void learn(struct shard *s, struct meta_peer *p, const struct node_meta_member *m)
{
    struct meta_run *const r = s->node->meta_run;
    p->has_said = true;
    p->cluster = m->cluster;
    p->number = m->number;
    p->features = m->features;
    p->zone_len = (uint8_t)m->zone.len;
    if (m->zone.len > 0) {
        memcpy(p->zone, m->zone.at, m->zone.len);
    }
    meta_set_servers(s);
    meta_hurry(r);
}

static bool take_member(struct shard *s, struct meta_peer *p, struct bytes body)
{
    struct node_meta_member m;
    if (node_meta_member_decode(&m, body) != NODE_OK) {
        return false;
    }
    learn(s, p, &m);
    return true;
}

static void tell_state(struct shard *s, unsigned peer)
{
    struct meta_run *const r = s->node->meta_run;
    struct node_meta_copy copy = {.cluster = r->state.cluster, .index = r->applied};
    const size_t len = meta_encode(&r->state, NULL);
    uint8_t *const state = malloc(len);
    uint8_t *const body = malloc(len + NODE_META_HEAD_MAX);
    if (state != NULL && body != NULL) { /* else it asks again */
        copy.state = bytes_of(state, meta_encode(&r->state, state));
        meta_say(s, peer, NODE_FRAME_META_STATE,
                 bytes_of(body, node_meta_copy_encode(body, &copy)));
    }
    free(state);
    free(body);
}

static void take_copy(struct shard *s, const struct node_meta_copy *copy)
{
    struct meta_run *const r = s->node->meta_run;
    struct meta_state *const state = malloc(sizeof *state);
    if (state != NULL && meta_decode(state, copy->state) &&
        cluster_uuid_equal(state->cluster, copy->cluster)) {
        r->state = *state;
        r->applied = copy->index;
        r->has_copy = true;
        r->duties_due = true;
        meta_state_changed(r, true);
        meta_show(r);
        log_event(LOG_INFO, "meta_copied", LOG_NUMBER("index", copy->index));
    }
    free(state);
}

static bool take_state(struct shard *s, unsigned peer, struct bytes body)
{
    struct meta_run *const r = s->node->meta_run;
    struct node_meta_copy copy;
    if (node_meta_copy_decode(&copy, body) != NODE_OK) {
        return false;
    }
    if (!is_of_this_cluster(r, &r->peers[peer]) ||
        !cluster_uuid_equal(copy.cluster, formation_cluster(r->formation)) ||
        meta_was_removed(&r->state, r->peers[peer].node)) {
        return true;
    }
    const bool is_here = !cluster_uuid_is_none(r->state.cluster) && r->wanted == 0;
    if (copy.state.len == 0 && is_here && r->applied >= copy.index) {
        tell_state(s, peer);
    } else if (copy.state.len > 0 && r->wanted != 0 && !r->has_copy && copy.index >= r->wanted) {
        take_copy(s, &copy);
    }
    return true;
}

static bool take_report(struct shard *s, const struct meta_peer *p, struct bytes body)
{
    struct meta_run *const r = s->node->meta_run;
    struct bytes items;
    if (node_reports_decode(&items, body) != NODE_OK) {
        return false;
    }
    const struct meta_member *const m = meta_member_by_uuid(&r->state, p->node);
    if (m != NULL) {
        meta_reports_take(&r->reports, &r->state, m->number, items);
    }
    return true;
}

enum link_taken meta_run_received(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct meta_run *const r = s->node->meta_run;
    if (r == NULL) {
        return LINK_UNKNOWN;
    }
    if (s->id != 0) {
        return LINK_BAD; /* it goes on lane 0 */
    }
    struct meta_peer *const p = &r->peers[peer];
    bool is_good = true;
    switch (frame->type) {
    case NODE_FRAME_META_MEMBER:
        is_good = take_member(s, p, frame->body);
        break;
    case NODE_FRAME_META_FORM:
        formation_received(r->formation, p->node, frame->body, s->now_ms);
        meta_hurry(r);
        break;
    case NODE_FRAME_META_STATE:
        is_good = take_state(s, peer, frame->body);
        break;
    default:
        is_good = take_report(s, p, frame->body);
        break;
    }
    return is_good ? LINK_TAKEN : LINK_BAD;
}
