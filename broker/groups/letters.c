/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: to the lane that goes there, and from a lane to the group's home. */
#include <stdlib.h>
#include <string.h>

#include "broker/groups/groups_parts.h"
#include "broker/remote/remote_parts.h"
#include "proto/node_copy.h"
#include "proto/node_hello.h"

struct post_parcel {
    struct post_head head;
    struct parcel *parcel; /* the receiver's */
};

struct parcel *parcel_create(const struct node_uuid *node, unsigned group, uint8_t type,
                             struct bytes bytes)
{
    struct parcel *const p = malloc(sizeof *p + bytes.len);
    if (p != NULL) {
        *p = (struct parcel){.node = *node, .group = group, .type = type, .len = bytes.len};
        memcpy(p->bytes, bytes.at, bytes.len);
    }
    return p;
}

/* By mail; while that is congested nothing is added to it. */
static void pass_on(struct shard *s, unsigned to, enum post_type post, const struct node_uuid *node,
                    unsigned group, uint8_t type, struct bytes bytes)
{
    struct parcel *const p =
        s->post.overflowed > 0 ? NULL : parcel_create(node, group, type, bytes);
    if (p == NULL) {
        shard_count(s, METRIC_groups_messages_dropped);
        return;
    }
    struct post_parcel *const record = post_reserve(s, to, post, sizeof *record);
    record->parcel = p;
    post_commit(s, to);
}

/* ---- out */

/* PEERS_MAX: nobody's number. */
static unsigned peer_of(const struct shard_groups *all, const struct node_uuid *node)
{
    unsigned peer = 0;
    while (peer < PEERS_MAX && !node_uuid_equal(all->nodes[peer], *node)) {
        peer++;
    }
    return peer;
}

/* What is interest's stays; a frame that is too large for that goes alone, or not. */
static bool has_room(const struct shard *s, unsigned peer, size_t len)
{
    const size_t room = peers_room(s, peer), frame = NODE_FRAME_HEAD_BYTES + len;
    return (room > INTEREST_ROOM && frame <= room - INTEREST_ROOM) ||
           len <= peers_room_alone(s, peer);
}

/* A node of a version that knows of no groups is sent nothing. */
static bool put(struct shard *s, unsigned peer, uint8_t type, struct bytes message)
{
    uint8_t *to;
    uint64_t seq;
    if ((peers_features(s, peer) & NODE_FEATURE_GROUPS) == 0 || !has_room(s, peer, message.len) ||
        peers_put(s, peer, type, false, message.len, &to, &seq) != LINK_OK) {
        return false;
    }
    memcpy(to, message.at, message.len);
    return true;
}

void groups_send(struct shard *s, unsigned group, const struct node_uuid *to, uint8_t type,
                 struct bytes message)
{
    const unsigned peer = peer_of(s->groups, to);
    const unsigned lanes = peer == PEERS_MAX ? 0 : peers_lanes(s, peer);
    if (lanes != 0 && s->id % lanes != s->id) {
        pass_on(s, s->id % lanes, POST_GROUP_SEND, to, group, type, message);
    } else if (lanes != 0 && put(s, peer, type, message)) {
        shard_count(s, METRIC_groups_messages_sent);
    } else {
        shard_count(s, METRIC_groups_messages_dropped);
    }
}

void groups_on_send(struct shard *s, unsigned from, const struct post_head *record)
{
    struct parcel *const p = ((const struct post_parcel *)(const void *)record)->parcel;
    const unsigned peer = s->groups == NULL ? PEERS_MAX : peer_of(s->groups, &p->node);
    (void)from;
    if (peer != PEERS_MAX && put(s, peer, p->type, bytes_of(p->bytes, p->len))) {
        shard_count(s, METRIC_groups_messages_sent);
    } else {
        shard_count(s, METRIC_groups_messages_dropped);
    }
    free(p);
}

/* ---- in */

static void deliver(struct shard *s, const struct node_uuid *from,
                    const struct node_consensus *message, struct bytes body)
{
    struct group *const g = s->groups == NULL ? NULL : s->groups->of[group_named(message->group)];
    if (g == NULL || s->store == NULL) {
        shard_count(s, METRIC_groups_messages_refused);
    } else {
        group_take(g, from, message, body);
    }
}

static void deliver_beside(struct shard *s, const struct node_uuid *from, unsigned group,
                           struct bytes body)
{
    struct group *const g = s->groups == NULL ? NULL : s->groups->of[group];
    if (g == NULL || s->store == NULL) {
        shard_count(s, METRIC_groups_messages_refused);
    } else {
        group_take_beside(g, from, body);
    }
}

enum link_taken groups_received(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct node_consensus message;
    if (s->groups == NULL) {
        return LINK_UNKNOWN;
    }
    if (node_consensus_decode(&message, frame->body) != NODE_OK ||
        !group_is_one(group_named(message.group))) {
        return LINK_BAD;
    }
    const unsigned group = group_named(message.group), home = group_home(s->node, group);
    if (home == s->id) {
        deliver(s, &s->groups->nodes[peer], &message, frame->body);
    } else {
        pass_on(s, home, POST_GROUP_MESSAGE, &s->groups->nodes[peer], group, NODE_FRAME_CONSENSUS,
                frame->body);
    }
    return LINK_TAKEN;
}

enum link_taken groups_received_beside(struct shard *s, unsigned peer,
                                       const struct node_frame *frame)
{
    struct node_copy message;
    if (s->groups == NULL) {
        return LINK_UNKNOWN;
    }
    if (node_copy_decode(&message, frame->body) != NODE_OK) {
        return LINK_BAD;
    }
    const unsigned home = group_home(s->node, message.partition);
    if (home == s->id) {
        deliver_beside(s, &s->groups->nodes[peer], message.partition, frame->body);
    } else {
        pass_on(s, home, POST_GROUP_MESSAGE, &s->groups->nodes[peer], message.partition,
                NODE_FRAME_PARTITION_COPY, frame->body);
    }
    return LINK_TAKEN;
}

void groups_on_message(struct shard *s, unsigned from, const struct post_head *record)
{
    struct parcel *const p = ((const struct post_parcel *)(const void *)record)->parcel;
    const struct bytes body = bytes_of(p->bytes, p->len);
    struct node_consensus message;
    (void)from;
    if (p->type == NODE_FRAME_PARTITION_COPY) {
        deliver_beside(s, &p->node, p->group, body);
    } else if (node_consensus_decode(&message, body) == NODE_OK) { /* as before */
        deliver(s, &p->node, &message, body);
    }
    free(p);
}

void groups_facts(struct shard *s, const struct peer_facts *facts)
{
    if (s->groups != NULL) {
        s->groups->nodes[facts->number] = facts->forgotten ? (struct node_uuid){{0}} : facts->node;
    }
}
