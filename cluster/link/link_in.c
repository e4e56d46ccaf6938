/* SPDX-License-Identifier: Apache-2.0 */
/* What comes over a connection: bytes become frames, frames are judged by their numbers. */
#include "cluster/link/link_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/link/greeting.h"

#define INPUT_BYTES_MIN   4096u
#define INPUT_BYTES_EXTRA 262144u /* a larger buffer is not kept for the next frame */

/* ---- Frames */

enum step {
    STEP_DONE,
    STEP_HELD,  /* the same frame again, later */
    STEP_ENDED, /* the connection has */
};

static enum step end(struct link *l, enum node_close why, uint64_t now_ms)
{
    link_end(l, why, true, now_ms);
    return STEP_ENDED;
}

static void note_unacked(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    if (l->unacked_bytes == 0) {
        l->unacked_ms = now_ms;
    }
    l->unacked_bytes += NODE_FRAME_HEAD_BYTES + frame->body.len;
}

/* The peer says farewell. */
static enum step on_close(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    enum node_close why = NODE_CLOSE_NONE;
    if (node_close_decode(&why, frame->body) != NODE_OK) {
        return end(l, NODE_CLOSE_MALFORMED, now_ms);
    }
    link_end(l, why, false, now_ms);
    return STEP_ENDED;
}

/* Of the node that was called; of one that has called it was read by greeting_read(). */
static enum step on_hello(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    struct node_hello hello;
    if (frame->type == NODE_FRAME_CLOSE) {
        return on_close(l, frame, now_ms);
    }
    if (frame->type != NODE_FRAME_HELLO || frame->lane != l->conf.lane) {
        return end(l, NODE_CLOSE_NO_HELLO, now_ms);
    }
    const enum node_err err = node_hello_decode(&hello, frame->body);
    if (err != NODE_OK) {
        return end(l, node_close_of(err), now_ms);
    }
    enum node_close why = greeting_judge(&l->conf.self, &hello, true);
    if (why == NODE_CLOSE_NONE) {
        why = link_greeted(l, &hello, now_ms);
    }
    return why == NODE_CLOSE_NONE ? STEP_DONE : end(l, why, now_ms);
}

/* Numbers received + 1..frame->seq do not come. What of them has come does not matter. */
static enum step on_gap(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    struct node_gap_body gap;
    if (node_gap_decode(&gap, frame->body) != NODE_OK || frame->seq == 0) {
        return end(l, NODE_CLOSE_MALFORMED, now_ms);
    }
    if (frame->seq <= l->received) {
        return STEP_DONE;
    }
    if (gap.first > l->received + 1) {
        return end(l, NODE_CLOSE_OUT_OF_ORDER, now_ms);
    }
    l->received = frame->seq;
    note_unacked(l, frame, now_ms);
    if (gap.why == NODE_GAP_LOST) {
        l->figures.gaps_heard++;
        l->conf.events.gap(l->conf.events.context);
    }
    return STEP_DONE;
}

/* Of a later version, or of a part that this node does not have. */
static enum step pass_over(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    if ((frame->flags & NODE_FRAME_CRITICAL) != 0) {
        return end(l, NODE_CLOSE_UNKNOWN_CRITICAL, now_ms);
    }
    l->figures.skipped++;
    return STEP_DONE;
}

static enum step deliver(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    if (node_frame_name(frame->type) == NULL) {
        return pass_over(l, frame, now_ms);
    }
    switch (l->conf.events.deliver(l->conf.events.context, frame)) {
    case LINK_TAKEN:
        return STEP_DONE;
    case LINK_NOT_NOW:
        return STEP_HELD;
    case LINK_UNKNOWN:
        return pass_over(l, frame, now_ms);
    default:
        return end(l, NODE_CLOSE_MALFORMED, now_ms);
    }
}

static enum step on_numbered(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    if (frame->seq <= l->received) {
        l->figures.duplicates++;
        note_unacked(l, frame, now_ms);
        return STEP_DONE;
    }
    if (frame->seq != l->received + 1) {
        return end(l, NODE_CLOSE_OUT_OF_ORDER, now_ms);
    }
    const enum step step = deliver(l, frame, now_ms);
    if (step == STEP_DONE) {
        l->received = frame->seq;
        l->figures.frames_in++;
        note_unacked(l, frame, now_ms);
    }
    return step;
}

static enum step on_passing(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    const enum step step = deliver(l, frame, now_ms);
    l->figures.passing_in += step == STEP_DONE;
    return step;
}

static enum step on_credit(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    return node_credit_decode(&l->peer_credit, frame->body) == NODE_OK
               ? STEP_DONE
               : end(l, NODE_CLOSE_MALFORMED, now_ms);
}

/* false: it acknowledges what was not sent. */
static bool ack_take(struct link *l, uint64_t ack, uint64_t now_ms)
{
    if (ack > l->given_high) {
        return false;
    }
    if (ack >= l->kept.first) {
        backlog_acked(&l->kept, ack);
        link_watch_room(l, now_ms);
    }
    return true;
}

static enum step frame_take(struct link *l, const struct node_frame *frame, uint64_t now_ms)
{
    if (l->phase == LINK_PHASE_GREETING) {
        return on_hello(l, frame, now_ms);
    }
    if (frame->lane != l->conf.lane) {
        return end(l, NODE_CLOSE_MALFORMED, now_ms);
    }
    if (!ack_take(l, frame->ack, now_ms)) {
        return end(l, NODE_CLOSE_OUT_OF_ORDER, now_ms);
    }
    switch (frame->type) {
    case NODE_FRAME_HELLO:
        return end(l, NODE_CLOSE_OUT_OF_ORDER, now_ms);
    case NODE_FRAME_CLOSE:
        return on_close(l, frame, now_ms);
    case NODE_FRAME_ACK:
    case NODE_FRAME_PING:
        return STEP_DONE;
    case NODE_FRAME_CREDIT:
        return on_credit(l, frame, now_ms);
    case NODE_FRAME_GAP:
        return on_gap(l, frame, now_ms);
    default:
        return frame->seq > 0 ? on_numbered(l, frame, now_ms) : on_passing(l, frame, now_ms);
    }
}

/* ---- Bytes */

void link_input_reset(struct link *l)
{
    if (l->in_capacity > INPUT_BYTES_EXTRA) {
        free(l->in);
        l->in = NULL;
        l->in_capacity = 0;
    }
    l->in_len = 0;
    l->held = false;
}

/* Room for `size` bytes, of a frame of which some have come: it grows with what comes, not with
 * what is promised. */
static bool input_reserve(struct link *l, size_t size)
{
    if (size <= l->in_capacity) {
        return true;
    }
    size_t capacity = l->in_capacity < INPUT_BYTES_MIN ? INPUT_BYTES_MIN : l->in_capacity;
    while (capacity < size) {
        capacity *= 2;
    }
    uint8_t *const in = realloc(l->in, capacity);
    if (in == NULL) {
        return false;
    }
    l->in = in;
    l->in_capacity = capacity;
    return true;
}

static enum node_err frame_decode(const struct link *l, struct node_frame *frame, const uint8_t *in,
                                  size_t len, size_t *used)
{
    const size_t body_max =
        l->phase == LINK_PHASE_GREETING ? NODE_HELLO_BYTES_MAX : l->conf.frame_max;
    return node_frame_decode(frame, in, len, body_max, used);
}

/* Goes on with the frame of which some is in the buffer. *used bytes of in[0..len) went there. */
static enum step buffered(struct link *l, const uint8_t *in, size_t len, uint64_t now_ms,
                          size_t *used)
{
    struct node_frame frame;
    size_t size;
    *used = 0;
    for (;;) {
        const enum node_err err = frame_decode(l, &frame, l->in, l->in_len, &size);
        if (err == NODE_OK) {
            const enum step step = frame_take(l, &frame, now_ms);
            if (step == STEP_DONE) {
                link_input_reset(l);
            }
            return step;
        }
        if (err != NODE_NEED_MORE) {
            return end(l, node_close_of(err), now_ms);
        }
        const size_t missing = size - l->in_len, left = len - *used;
        const size_t part = missing < left ? missing : left;
        if (part == 0) {
            return STEP_DONE;
        }
        if (!input_reserve(l, l->in_len + part)) {
            return end(l, NODE_CLOSE_NO_MEMORY, now_ms);
        }
        memcpy(l->in + l->in_len, in + *used, part);
        l->in_len += part;
        *used += part;
    }
}

/* A frame that begins with in[0..len), len > 0; if it is not whole, its beginning is kept. */
static enum step direct(struct link *l, const uint8_t *in, size_t len, uint64_t now_ms,
                        size_t *used)
{
    struct node_frame frame;
    size_t size;
    const enum node_err err = frame_decode(l, &frame, in, len, &size);
    if (err == NODE_NEED_MORE) {
        return buffered(l, in, len, now_ms, used);
    }
    if (err != NODE_OK) {
        return end(l, node_close_of(err), now_ms);
    }
    const enum step step = frame_take(l, &frame, now_ms);
    *used = step == STEP_DONE ? size : 0;
    return step;
}

void link_received(struct link *l, uint64_t connection, const uint8_t *in, size_t len,
                   uint64_t now_ms, size_t *used)
{
    size_t at = 0;
    *used = len;
    if (connection == 0 || connection != l->connection || l->phase == LINK_PHASE_CLOSING) {
        return;
    }
    l->heard_ms = now_ms;
    l->held = false;
    enum step step = STEP_DONE;
    while (step == STEP_DONE && (at < len || l->in_len > 0)) {
        size_t part = 0;
        step = l->in_len > 0 ? buffered(l, in + at, len - at, now_ms, &part)
                             : direct(l, in + at, len - at, now_ms, &part);
        at += part;
        if (step == STEP_DONE && l->in_len > 0 && at == len) {
            return; /* a beginning */
        }
    }
    if (step == STEP_HELD) {
        l->held = true;
        *used = at;
    }
}
