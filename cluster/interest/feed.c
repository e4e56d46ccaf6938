/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to a peer: what we have of its interest, and our own, from where it stands. */
#include "cluster/interest/interest_parts.h"

#include <assert.h>
#include <string.h>

static void snapshot_begin(struct interest *i, struct peer *p)
{
    p->feed = FEED_SNAPSHOT;
    p->snapshot = ++i->snapshots;
    p->parts_sent = 0;
    p->parts_acked = 0;
    p->place = 0;
    p->sent = i->own.version;
    i->figures.snapshots_sent++;
}

/* Are all changes behind that version still there? */
static bool tail_reaches(const struct interest *i, uint64_t version)
{
    return version <= i->own.version && version + 1 >= i->own.tail.first;
}

void feed_begin(struct interest *i, struct peer *p, const struct node_interest_ack *ack)
{
    if (ack->want == NODE_WANT_TAIL && ack->generation == i->conf.generation &&
        tail_reaches(i, ack->version)) {
        p->feed = FEED_TAIL;
        p->sent = ack->version;
        i->figures.tails_sent++;
    } else {
        snapshot_begin(i, p);
    }
}

/* ---- Each makes one body */

static struct bytes next_ack(struct interest *i, struct peer *p)
{
    const bool good = view_is_good(&p->view);
    const struct node_interest_ack ack = {.generation = good ? p->view.generation : 0,
                                          .version = good ? p->settled : 0,
                                          .snapshot = p->view.snapshot,
                                          .parts = p->view.parts,
                                          .want = (uint8_t)p->want};
    p->ack_due = false;
    p->want = NODE_WANT_NOTHING;
    return bytes_of(i->body, node_interest_ack_encode(i->body, &ack));
}

static struct bytes next_digest(struct interest *i, struct peer *p, uint64_t now_ms)
{
    struct node_interest_digest digest = {.generation = i->conf.generation,
                                          .version = i->own.version};
    digest_encode(digest.digest, i->own.digest);
    p->digest_ms = now_ms + i->conf.digest_ms;
    return bytes_of(i->body, node_interest_digest_encode(i->body, &digest));
}

/* Items are written behind the longest head; the head then goes right before them. */
static uint8_t *items_at(struct interest *i)
{
    return i->body + NODE_INTEREST_HEAD_MAX;
}

static struct bytes joined(struct interest *i, const uint8_t *head, size_t head_len,
                           size_t items_len)
{
    uint8_t *const at = items_at(i) - head_len;
    memcpy(at, head, head_len);
    return bytes_of(at, head_len + items_len);
}

/* Changes; false: the next one does not fit. */
static bool next_delta(struct interest *i, struct peer *p, size_t room, struct bytes *body)
{
    struct node_interest_delta delta = {
        .generation = i->conf.generation, .first = p->sent + 1, .count = i->conf.turn_steps};
    const size_t len = tail_copy(&i->own.tail, delta.first, items_at(i), room, &delta.count);
    if (delta.count == 0) {
        return false;
    }
    delta.items = bytes_of(items_at(i), len);
    uint8_t head[NODE_INTEREST_HEAD_MAX];
    *body = joined(i, head, node_interest_delta_encode(head, &delta), len);
    p->sent += delta.count;
    return true;
}

/* All changes that were made so far have been sent: so what the part says is never older than what
 * the peer knows already, and no deletion is undone by it. */
static bool next_part(struct interest *i, struct peer *p, size_t room, struct bytes *body)
{
    assert(p->sent == i->own.version);

    if (room < INTEREST_BODY_MAX - NODE_INTEREST_HEAD_MAX ||
        p->parts_sent - p->parts_acked >= i->conf.parts_max) {
        return false;
    }
    struct node_interest_snapshot part = {.generation = i->conf.generation,
                                          .version = i->own.version,
                                          .snapshot = p->snapshot,
                                          .part = p->parts_sent};
    const size_t len =
        own_walk(&i->own, &p->place, items_at(i), room, i->conf.turn_steps, &part.last);
    part.items = bytes_of(items_at(i), len);
    uint8_t head[NODE_INTEREST_HEAD_MAX];
    *body = joined(i, head, node_interest_snapshot_encode(head, &part), len);
    p->parts_sent++;
    if (part.last) {
        p->feed = FEED_TAIL;
    }
    return true;
}

bool interest_next(struct interest *i, unsigned peer, size_t room, uint64_t now_ms, uint8_t *type,
                   struct bytes *body)
{
    assert(peer < INTEREST_PEERS_MAX);

    struct peer *const p = &i->peers[peer];
    if (!p->up || room < 2 * NODE_INTEREST_HEAD_MAX) {
        return false;
    }
    if (p->ack_due) {
        *type = NODE_FRAME_INTEREST_ACK;
        *body = next_ack(i, p);
        return true;
    }
    if (p->feed == FEED_NONE) {
        return false;
    }
    if (!tail_reaches(i, p->sent)) {
        snapshot_begin(i, p);
    }
    const size_t items =
        (room < INTEREST_BODY_MAX ? room : INTEREST_BODY_MAX) - NODE_INTEREST_HEAD_MAX;
    if (p->sent < i->own.version) {
        *type = NODE_FRAME_INTEREST_DELTA;
        return next_delta(i, p, items, body);
    }
    if (p->feed == FEED_SNAPSHOT) {
        *type = NODE_FRAME_INTEREST_SNAPSHOT;
        return next_part(i, p, items, body);
    }
    if (now_ms >= p->digest_ms) {
        *type = NODE_FRAME_INTEREST_DIGEST;
        *body = next_digest(i, p, now_ms);
        return true;
    }
    return false;
}
