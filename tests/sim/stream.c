/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: what TCP is between two nodes: ordered bytes, received in pieces that have nothing to do
 * with how they were written, or an end that each side learns of when it does, or never.
 *
 * A way that is cut holds bytes back rather than losing them; whoever has written then gives up
 * after STREAM_GIVE_UP_US. The reader on the other side is told nothing: it has half a stream,
 * until it writes itself. A machine that died answers nothing; one whose process died resets what
 * comes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define SLOT_BITS      16u
#define SYN_GIVE_UP_US 3000000u
#define RETRY_US       100000u

static struct stream *find(struct sim *sim, uint64_t name)
{
    const uint64_t slot = name >> 1 & ((1u << SLOT_BITS) - 1);
    if (slot >= sim->streams_count) {
        return NULL;
    }
    struct stream *const s = &sim->streams[slot];
    return s->name != 0 && s->name == (name & ~(uint64_t)1) ? s : NULL;
}

static bool end_is_there(const struct sim *sim, const struct stream_end *end)
{
    return end->open && sim_is_alive(sim, end->node, end->life);
}

/* The stream with that name at an end that the node has. */
static struct stream *own(struct sim_node *node, uint64_t name)
{
    struct stream *const s = find(node->sim, name);
    if (s == NULL) {
        return NULL;
    }
    const struct stream_end *const end = &s->end[name & 1];
    return end->node == node->index && end_is_there(node->sim, end) ? s : NULL;
}

static void flow_drop(struct flow *f)
{
    free(f->bytes);
    f->bytes = NULL;
    f->len = 0;
}

static void release_if_over(struct sim *sim, struct stream *s)
{
    const bool ends = end_is_there(sim, &s->end[0]) || end_is_there(sim, &s->end[1]);
    if (!ends) {
        flow_drop(&s->flow[0]);
        flow_drop(&s->flow[1]);
        s->name = 0;
    }
}

void streams_fini(struct sim *sim)
{
    for (size_t i = 0; i < sim->streams_count; i++) {
        flow_drop(&sim->streams[i].flow[0]);
        flow_drop(&sim->streams[i].flow[1]);
    }
    free(sim->streams);
}

static void later(struct sim *sim, enum event_kind kind, uint64_t name, uint64_t b, uint64_t us)
{
    queue_add(&sim->queue,
              (struct event){.kind = kind, .a = name, .b = b, .at_us = sim->now_us + us});
}

static uint64_t latency(struct sim *sim)
{
    return sim_between(sim, sim->latency_least_us, sim->latency_most_us);
}

static void schedule(struct sim *sim, struct stream *s, unsigned direction, uint64_t us)
{
    if (!s->flow[direction].scheduled) {
        s->flow[direction].scheduled = true;
        later(sim, EVENT_STREAM, s->name, direction, us);
    }
}

/* ---- What modules do */

uint64_t sim_stream_open(struct sim_node *node, const struct node_address *to)
{
    struct sim *const sim = node->sim;
    size_t slot = 0;
    while (slot < sim->streams_count && sim->streams[slot].name != 0) {
        slot++;
    }
    if (slot == sim->streams_count) {
        assert(slot < 1u << SLOT_BITS);
        sim->streams = reallocarray(sim->streams, ++sim->streams_count, sizeof *sim->streams);
        assert(sim->streams != NULL);
    }
    struct stream *const s = &sim->streams[slot];
    *s = (struct stream){.name = (++sim->streams_made << SLOT_BITS | slot) << 1};
    s->end[0] = (struct stream_end){
        .node = node->index, .life = node->life, .open = true, .address = node->address};
    s->end[1] = (struct stream_end){.address = *to};
    later(sim, EVENT_CONNECT, s->name, 0, latency(sim));
    return s->name;
}

size_t sim_stream_write(struct sim_node *node, uint64_t stream, struct bytes bytes)
{
    struct stream *const s = own(node, stream);
    if (s == NULL || bytes.len == 0) {
        return 0;
    }
    struct flow *const f = &s->flow[stream & 1];
    if (f->finished) {
        return 0;
    }
    if (f->severed) { /* the kernel takes it, and nobody acknowledges it */
        if (f->blocked_us == 0) {
            f->blocked_us = node->sim->now_us;
            later(node->sim, EVENT_RESET, s->name, (uint64_t)SIM_CLOSE_TIMEOUT << 1 | (stream & 1),
                  STREAM_GIVE_UP_US);
        }
        return bytes.len;
    }
    if (f->bytes == NULL) {
        f->bytes = malloc(STREAM_ROOM);
        assert(f->bytes != NULL);
    }
    const size_t room = STREAM_ROOM - f->len;
    const size_t taken = bytes.len < room ? bytes.len : room;
    memcpy(f->bytes + f->len, bytes.at, taken);
    f->len += taken;
    f->was_full = taken < bytes.len;
    node->bytes_sent += taken;
    node->messages_sent++;
    if (s->connected && taken > 0) {
        schedule(node->sim, s, stream & 1, latency(node->sim));
    }
    return taken;
}

void sim_stream_finish(struct sim_node *node, uint64_t stream)
{
    struct stream *const s = own(node, stream);
    if (s != NULL && !s->flow[stream & 1].finished) {
        s->flow[stream & 1].finished = true;
        if (s->connected) {
            schedule(node->sim, s, stream & 1, latency(node->sim));
        }
    }
}

void sim_stream_close(struct sim_node *node, uint64_t stream)
{
    struct stream *const s = own(node, stream);
    if (s == NULL) {
        return;
    }
    sim_stream_finish(node, stream);
    s->end[stream & 1].open = false;
    flow_drop(&s->flow[~stream & 1]);
    release_if_over(node->sim, s);
}

/* ---- What happens to them */

static void tell_closed(struct sim *sim, struct stream *s, unsigned end, enum sim_close why)
{
    struct stream_end *const e = &s->end[end];
    if (!end_is_there(sim, e)) {
        return;
    }
    const struct sim_module *const module = sim->suite->module;
    void *const running = sim->nodes[e->node]->running;
    const uint64_t name = s->name | end;
    e->open = false;
    flow_drop(&s->flow[end]);
    release_if_over(sim, s);
    if (module->stream_closed != NULL) {
        module->stream_closed(running, name, why);
    }
}

/* A paused process learns of it when it goes on. */
static void on_reset(struct sim *sim, struct stream *s, const struct event *e)
{
    const unsigned end = (unsigned)e->b & 1;
    if (end_is_there(sim, &s->end[end]) && sim->nodes[s->end[end].node]->paused) {
        later(sim, EVENT_RESET, e->a, e->b, RETRY_US);
        return;
    }
    tell_closed(sim, s, end, (enum sim_close)(e->b >> 1));
}

static void reset_later(struct sim *sim, const struct stream *s, unsigned end, enum sim_close why,
                        uint64_t us)
{
    later(sim, EVENT_RESET, s->name, (uint64_t)why << 1 | end, us);
}

static bool is_cut(const struct sim *sim, unsigned from, unsigned to)
{
    return sim->cut[from * sim->count + to] != 0;
}

static void on_connect(struct sim *sim, struct stream *s)
{
    const struct sim_module *const module = sim->suite->module;
    struct stream_end *const far = &s->end[1];
    const unsigned near = s->end[0].node;
    const int32_t there = sim_occupant(sim, &far->address);
    if (there < 0 || is_cut(sim, near, (unsigned)there) || is_cut(sim, (unsigned)there, near)) {
        reset_later(sim, s, 0, SIM_CLOSE_TIMEOUT, SYN_GIVE_UP_US);
        return;
    }
    struct sim_node *const node = sim->nodes[there];
    if (node->running == NULL || module->stream_accepted == NULL) {
        reset_later(sim, s, 0, SIM_CLOSE_REFUSED, latency(sim));
        return;
    }
    if (node->paused) { /* its kernel would take it; that nobody reads is the same to the opener */
        later(sim, EVENT_CONNECT, s->name, 0, RETRY_US);
        return;
    }
    far->node = (unsigned)there;
    far->life = node->life;
    far->open = true;
    later(sim, EVENT_CONNECTED, s->name, 0, latency(sim));
    module->stream_accepted(node->running, s->name | 1, &s->end[0].address);
}

static void on_connected(struct sim *sim, struct stream *s)
{
    const struct sim_module *const module = sim->suite->module;
    const struct stream_end *const near = &s->end[0];
    if (end_is_there(sim, near) && sim->nodes[near->node]->paused) {
        later(sim, EVENT_CONNECTED, s->name, 0, RETRY_US);
        return;
    }
    s->connected = true;
    for (unsigned i = 0; i < 2; i++) {
        if (s->flow[i].len > 0 || s->flow[i].finished) {
            schedule(sim, s, i, 0);
        }
    }
    if (end_is_there(sim, near) && module->stream_opened != NULL) {
        module->stream_opened(sim->nodes[near->node]->running, s->name);
    }
}

/* Bytes, or the end of them, wait at a way that is cut or stalled. */
static void blocked(struct sim *sim, struct stream *s, unsigned direction)
{
    struct flow *const f = &s->flow[direction];
    if (f->blocked_us == 0) {
        f->blocked_us = sim->now_us;
    }
    if (sim->now_us - f->blocked_us >= STREAM_GIVE_UP_US) {
        tell_closed(sim, s, direction, SIM_CLOSE_TIMEOUT);
        return;
    }
    schedule(sim, s, direction, RETRY_US);
}

/* The receiver, its process at least, is no more. */
static void gone(struct sim *sim, struct stream *s, unsigned direction)
{
    const struct sim_node *const node = sim->nodes[s->end[!direction].node];
    if (node->life != s->end[!direction].life && node->running == NULL &&
        node->index % 2 == 0) { /* the machine has died with it: silence */
        blocked(sim, s, direction);
        return;
    }
    flow_drop(&s->flow[direction]);
    tell_closed(sim, s, direction, SIM_CLOSE_RESET);
}

static void told_end(struct sim *sim, struct stream *s, unsigned direction)
{
    const struct sim_module *const module = sim->suite->module;
    const struct stream_end *const reader = &s->end[!direction];
    s->flow[direction].told_end = true;
    if (module->stream_ended != NULL) {
        module->stream_ended(sim->nodes[reader->node]->running, s->name | !direction);
    }
}

static void tell_writable(struct sim *sim, uint64_t name)
{
    struct stream *const s = find(sim, name);
    if (s == NULL || !s->flow[name & 1].was_full || !end_is_there(sim, &s->end[name & 1]) ||
        sim->nodes[s->end[name & 1].node]->paused) {
        return;
    }
    s->flow[name & 1].was_full = false;
    if (sim->suite->module->stream_writable != NULL) {
        sim->suite->module->stream_writable(sim->nodes[s->end[name & 1].node]->running, name);
    }
}

/* Some of what there is, cut anywhere. */
static void deliver(struct sim *sim, struct stream *s, unsigned direction)
{
    const struct sim_module *const module = sim->suite->module;
    struct flow *const f = &s->flow[direction];
    const struct stream_end *const reader = &s->end[!direction];
    const uint64_t name = s->name;
    if (f->len == 0) {
        if (f->finished && !f->told_end && !f->severed) {
            told_end(sim, s, direction);
        }
        return;
    }
    const size_t n =
        sim_chance(sim, 5000) ? f->len : 1 + random_below(&sim->random, (uint32_t)f->len);
    uint8_t *piece = malloc(n); /* the module may write, and close, meanwhile */
    assert(piece != NULL);
    memcpy(piece, f->bytes, n);
    memmove(f->bytes, f->bytes + n, f->len - n);
    f->len -= n;
    if (f->len > 0 || f->finished) {
        schedule(sim, s, direction, sim_between(sim, 1, 200));
    }
    if (module->stream_received != NULL) {
        module->stream_received(sim->nodes[reader->node]->running, name | !direction,
                                bytes_of(piece, n));
    }
    free(piece);
    tell_writable(sim, name | direction);
}

static void on_stream(struct sim *sim, struct stream *s, unsigned direction)
{
    struct flow *const f = &s->flow[direction];
    const struct stream_end *const writer = &s->end[direction], *const reader = &s->end[!direction];
    f->scheduled = false;
    if (is_cut(sim, writer->node, reader->node) || is_cut(sim, reader->node, writer->node) ||
        f->stalled_us > sim->now_us) {
        blocked(sim, s, direction);
    } else if (!end_is_there(sim, reader)) {
        gone(sim, s, direction);
    } else if (sim->nodes[reader->node]->paused) {
        schedule(sim, s, direction, RETRY_US); /* its kernel acknowledges */
    } else {
        f->blocked_us = f->severed ? f->blocked_us : 0;
        deliver(sim, s, direction);
    }
}

void stream_event(struct sim *sim, const struct event *e)
{
    struct stream *const s = find(sim, e->a);
    if (s == NULL) {
        return;
    }
    switch (e->kind) {
    case EVENT_CONNECT:
        on_connect(sim, s);
        break;
    case EVENT_CONNECTED:
        on_connected(sim, s);
        break;
    case EVENT_RESET:
        on_reset(sim, s, e);
        break;
    default:
        on_stream(sim, s, (unsigned)e->b);
        break;
    }
}

/* Half of the nodes die with their machine; of the others the kernel says that a process died. */
void streams_node_died(struct sim *sim, unsigned index)
{
    for (size_t i = 0; i < sim->streams_count; i++) {
        struct stream *const s = &sim->streams[i];
        for (unsigned end = 0; s->name != 0 && end < 2; end++) {
            if (s->end[end].node == index && s->end[end].open) {
                s->end[end].open = false;
                flow_drop(&s->flow[end]);
                if (index % 2 == 1) {
                    reset_later(sim, s, !end, SIM_CLOSE_RESET, latency(sim));
                }
                release_if_over(sim, s);
            }
        }
    }
}

static struct stream *any(struct sim *sim)
{
    if (sim->streams_count == 0) {
        return NULL;
    }
    struct stream *const s =
        &sim->streams[random_below(&sim->random, (uint32_t)sim->streams_count)];
    return s->name != 0 && s->connected ? s : NULL;
}

/* Each direction keeps a part of what is under way; one end, the other, or both are told. */
void streams_cut_one(struct sim *sim)
{
    struct stream *const s = any(sim);
    if (s == NULL) {
        return;
    }
    sim_say(sim, "a stream of %u and %u is cut", s->end[0].node, s->end[1].node);
    const uint64_t told = 1 + random_below(&sim->random, 3);
    for (unsigned i = 0; i < 2; i++) {
        struct flow *const f = &s->flow[i];
        f->len = f->len > 0 ? random_below(&sim->random, (uint32_t)f->len + 1) : 0;
        f->severed = true;
    }
    for (unsigned i = 0; i < 2; i++) {
        if ((told & 1u << i) != 0) {
            reset_later(sim, s, i, SIM_CLOSE_RESET, latency(sim));
        }
    }
}

void streams_stall_one(struct sim *sim)
{
    struct stream *const s = any(sim);
    if (s == NULL) {
        return;
    }
    const uint64_t until = sim->now_us + sim_between(sim, 100, 30000) * US_PER_MS;
    const uint64_t which = 1 + random_below(&sim->random, 3);
    sim_say(sim, "a stream of %u and %u stalls", s->end[0].node, s->end[1].node);
    for (unsigned i = 0; i < 2; i++) {
        if ((which & 1u << i) != 0 && s->flow[i].stalled_us < until) {
            s->flow[i].stalled_us = until;
        }
    }
}
