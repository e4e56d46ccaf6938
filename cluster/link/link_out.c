/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over a connection: what the link says for itself, what is kept, what passes. */
#include "cluster/link/link_parts.h"

#include <assert.h>
#include <string.h>

#include "cluster/link/greeting.h"

/* ---- Control frames */

/* The body is written already, behind where the head goes. */
static void control_put(struct link *l, uint8_t type, uint64_t seq, size_t body_len)
{
    struct bytes *const run = &l->runs[LINK_RUN_CONTROL];
    const struct node_frame frame = {.type = type,
                                     .lane = l->conf.lane,
                                     .seq = seq,
                                     .ack = type == NODE_FRAME_HELLO ? 0 : l->received,
                                     .body = {NULL, body_len}};
    node_frame_head_encode(l->control + run->len, &frame);
    run->len += NODE_FRAME_HEAD_BYTES + body_len;
    assert(run->len <= sizeof l->control);
    l->unacked_bytes = 0; /* each head says it, and HELLO in its body */
}

static uint8_t *control_body(struct link *l)
{
    return l->control + l->runs[LINK_RUN_CONTROL].len + NODE_FRAME_HEAD_BYTES;
}

static void put_hello(struct link *l)
{
    const struct node_hello hello = {.protocol_min = NODE_PROTOCOL,
                                     .protocol_max = NODE_PROTOCOL,
                                     .features = GREETING_FEATURES,
                                     .cluster = l->conf.self.cluster,
                                     .node = l->conf.self.node,
                                     .to = l->conf.peer,
                                     .generation = l->conf.self.generation,
                                     .name = identity_name(&l->conf.self),
                                     .build = l->conf.build,
                                     .frame_max = l->conf.frame_max,
                                     .stream = l->conf.stream,
                                     .received_stream = l->in_stream,
                                     .received_seq = l->received,
                                     .credit = l->credit};
    control_put(l, NODE_FRAME_HELLO, 0, node_hello_encode(control_body(l), &hello));
    l->hello_due = false;
    l->credit_due = false;
}

static void put_gap(struct link *l)
{
    const uint64_t last = l->kept.first - 1;
    const struct node_gap_body gap = {
        .first = l->gap_first, .why = last <= l->fresh_through ? NODE_GAP_FRESH : NODE_GAP_LOST};
    control_put(l, NODE_FRAME_GAP, last, node_gap_encode(control_body(l), &gap));
    if (l->given_high < last) {
        l->given_high = last; /* as it will be acknowledged */
    }
    l->figures.gaps_told += gap.why == NODE_GAP_LOST;
    l->gap_due = false;
}

static bool ack_is_due(const struct link *l, uint64_t now_ms)
{
    return l->unacked_bytes >= l->conf.ack_bytes ||
           (l->unacked_bytes > 0 && now_ms - l->unacked_ms >= l->conf.ack_ms);
}

static void compose_control(struct link *l, uint64_t now_ms)
{
    l->runs[LINK_RUN_CONTROL] = bytes_of(l->control, 0);
    if (l->hello_due) {
        put_hello(l);
    }
    if (l->phase == LINK_PHASE_UP) {
        if (l->gap_due) {
            put_gap(l);
        }
        if (l->credit_due) {
            control_put(l, NODE_FRAME_CREDIT, 0, node_credit_encode(control_body(l), l->credit));
            l->credit_due = false;
        }
        if (ack_is_due(l, now_ms)) {
            control_put(l, NODE_FRAME_ACK, 0, 0);
        }
        if (now_ms - l->said_ms >= l->conf.ping_ms && l->runs[LINK_RUN_CONTROL].len == 0) {
            control_put(l, NODE_FRAME_PING, 0, 0);
        }
    } else if (l->phase == LINK_PHASE_CLOSING && l->close_due) {
        control_put(l, NODE_FRAME_CLOSE, 0, node_close_encode(control_body(l), l->why));
        l->close_due = false;
    }
}

/* ---- The two others */

/* As many as the peer lets us; one, if there is none under way. */
static void compose_kept(struct link *l)
{
    struct backlog *const kept = &l->kept;
    const uint64_t allowed =
        l->peer_credit > kept->given_bytes ? l->peer_credit - kept->given_bytes : 0;
    if (l->peer_credit == 0) {
        return;
    }
    const uint64_t from = kept->cursor_seq;
    l->runs[LINK_RUN_KEPT] = backlog_take(kept, allowed < SIZE_MAX ? (size_t)allowed : SIZE_MAX);
    const uint64_t last = kept->cursor_seq - 1;
    if (from <= l->given_high) {
        l->figures.resent += (last < l->given_high ? last : l->given_high) + 1 - from;
    }
    if (last > l->given_high) {
        l->given_high = last;
    }
}

static void compose_passing(struct link *l)
{
    l->runs[LINK_RUN_PASSING] = backlog_take(&l->passing, SIZE_MAX);
    l->passing_last = l->passing.cursor_seq - 1;
}

bool link_output_is_empty(const struct link *l)
{
    for (unsigned i = 0; i < LINK_RUNS; i++) {
        if (l->runs[i].len > 0) {
            return false;
        }
    }
    return true;
}

size_t link_output(struct link *l, struct bytes runs[LINK_RUNS], uint64_t now_ms)
{
    if (l->connection == 0) {
        return 0;
    }
    if (link_output_is_empty(l)) {
        compose_control(l, now_ms);
        if (l->phase == LINK_PHASE_UP) {
            compose_kept(l);
            compose_passing(l);
        }
    }
    size_t count = 0;
    for (unsigned i = 0; i < LINK_RUNS; i++) {
        if (l->runs[i].len > 0) {
            runs[count++] = l->runs[i];
        }
    }
    return count;
}

void link_sent(struct link *l, uint64_t connection, size_t len, uint64_t now_ms)
{
    if (connection == 0 || connection != l->connection || len == 0) {
        return;
    }
    l->said_ms = now_ms;
    for (unsigned i = 0; i < LINK_RUNS; i++) {
        struct bytes *const run = &l->runs[i];
        const size_t part = len < run->len ? len : run->len;
        if (part > 0) {
            run->at += part;
            run->len -= part;
            len -= part;
        }
    }
    assert(len == 0); /* no more than was lent */
    if (link_output_is_empty(l)) {
        backlog_give_back(&l->kept);
        backlog_give_back(&l->passing);
        if (l->passing_last >= l->passing.first) {
            backlog_acked(&l->passing, l->passing_last); /* nobody will ask for them again */
        }
    }
}

void link_output_reset(struct link *l)
{
    memset(l->runs, 0, sizeof l->runs);
    backlog_give_back(&l->kept);
    backlog_give_back(&l->passing);
    l->figures.passing_dropped += backlog_discard(&l->passing);
    l->hello_due = false;
    l->credit_due = false;
    l->close_due = false;
    l->gap_due = false;
}

/* ---- Putting */

static size_t body_max(const struct link *l)
{
    const bool known = l->peer_generation != 0 && l->peer_frame_max < l->conf.frame_max;
    return known ? l->peer_frame_max : l->conf.frame_max;
}

size_t link_room(const struct link *l)
{
    const size_t max = l->conf.passing_bytes_max;
    return l->phase != LINK_PHASE_UP || l->passing.bytes >= max ? 0 : max - l->passing.bytes;
}

/* A frame over the bound has to be taken when it is the only one, or never could be. */
static enum link_put judge(struct link *l, bool numbered, size_t size)
{
    if (numbered) {
        const size_t max = l->conf.kept_bytes_max;
        const bool fits = l->kept.bytes == 0 || (size <= max && l->kept.bytes <= max - size);
        return fits ? LINK_OK : LINK_FULL;
    }
    const bool fits = size <= link_room(l) || (link_is_up(l) && l->passing.bytes == 0);
    l->figures.passing_dropped += !fits;
    return fits ? LINK_OK : LINK_NO_ROOM;
}

enum link_put link_put(struct link *l, uint8_t type, bool numbered, size_t body_len, uint8_t **body,
                       uint64_t *seq, uint64_t now_ms)
{
    if (body_len > body_max(l)) {
        return LINK_TOO_LARGE;
    }
    const size_t size = NODE_FRAME_HEAD_BYTES + body_len;
    const enum link_put judged = judge(l, numbered, size);
    if (judged != LINK_OK) {
        return judged;
    }
    struct backlog *const b = numbered ? &l->kept : &l->passing;
    struct node_frame frame = {.type = type, .lane = l->conf.lane, .body = {NULL, body_len}};
    if (numbered) {
        frame.seq = b->next;
    }
    uint8_t *const at = backlog_add(b, size);
    if (at == NULL) {
        return LINK_NO_MEMORY;
    }
    node_frame_head_encode(at, &frame);
    *body = at + NODE_FRAME_HEAD_BYTES;
    if (numbered) {
        *seq = frame.seq;
        l->figures.frames_out++;
        link_watch_room(l, now_ms);
    } else {
        l->figures.passing_out++;
    }
    return LINK_OK;
}

void link_set_credit(struct link *l, uint64_t bytes)
{
    l->credit_due = l->credit_due || bytes != l->credit;
    l->credit = bytes;
}
