/* SPDX-License-Identifier: Apache-2.0 */
/*
 * self_suite: the world against what it promises itself; and the smallest example of a module.
 *
 * Each node counts: it writes the next number to its disk, syncs, and then tells it to the node
 * behind it, by a stream, as one of a run of numbers; and by datagrams. At all times:
 *   - what comes by a stream is a beginning of the run that the other end wrote, whatever was cut
 *   - after a crash a node finds at least what it knew to be durable, unless its volume is lost
 *   - no clock goes back
 * In the end: each node hears of a number that its neighbour counted after the faults had ended.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/suites.h"

#define NODES_MAX 12u
#define EVERY_MS  20u
#define FILE_ID   3u

struct counter {
    struct sim_node *node;
    uint64_t count, durable, syncing; /* the number that operation will have made durable */
    uint64_t operation;               /* 0: none is under way */
    uint64_t now_ms;
    uint64_t out;         /* our stream to the next one; 0: none */
    uint64_t written;     /* bytes in it */
    uint64_t in[8];       /* streams of others; 0: free */
    uint64_t received[8]; /* bytes of each */
};

struct books {
    uint64_t durable[NODES_MAX]; /* what a node was told to be */
    struct node_uuid volume[NODES_MAX];
    bool heard[NODES_MAX]; /* of its neighbour, since it is calm */
};

/* The byte at that place of any stream. */
static uint8_t byte_at(uint64_t place)
{
    return (uint8_t)(place * 31 + (place >> 8));
}

static unsigned next_of(const struct sim_node *node)
{
    return (sim_index(node) + 1) % sim_nodes(sim_of(node));
}

static void look_at_clock(struct counter *c)
{
    const uint64_t now = sim_now_ms(c->node);
    if (now < c->now_ms) {
        sim_fail(sim_of(c->node), "the clock of node %u goes back", sim_index(c->node));
    }
    c->now_ms = now;
}

static void *on_create(struct sim_node *node)
{
    struct counter *c = calloc(1, sizeof *c);
    assert(c != NULL);
    struct books *const books = sim_suite_state(sim_of(node));
    const unsigned i = sim_index(node);
    c->node = node;
    if (!node_uuid_equal(books->volume[i], sim_identity(node)->node)) {
        books->volume[i] = sim_identity(node)->node;
        books->durable[i] = 0;
    }
    (void)sim_disk_read(node, FILE_ID, 0, &c->count, sizeof c->count);
    if (c->count < books->durable[i]) {
        sim_fail(sim_of(node), "node %u finds %llu, and knew that %llu was durable", i,
                 (unsigned long long)c->count, (unsigned long long)books->durable[i]);
    }
    c->now_ms = sim_now_ms(node);
    sim_set_timer(node, c->now_ms + EVERY_MS);
    return c;
}

static void on_destroy(void *self)
{
    free(self);
}

static void write_some(struct counter *c)
{
    uint8_t bytes[3000];
    const uint64_t len = 1 + sim_random(c->node) % sizeof bytes;
    for (uint64_t i = 0; i < len; i++) {
        bytes[i] = byte_at(c->written + i);
    }
    c->written += sim_stream_write(c->node, c->out, bytes_of(bytes, (size_t)len));
}

static void on_timer(void *self)
{
    struct counter *const c = self;
    const struct node_address to = sim_address(sim_node(sim_of(c->node), next_of(c->node)));
    look_at_clock(c);
    if (c->operation == 0) {
        c->syncing = ++c->count;
        sim_disk_write(c->node, FILE_ID, 0, bytes_of(&c->count, sizeof c->count));
        c->operation = sim_disk_sync(c->node, FILE_ID);
    }
    sim_send(c->node, &to, bytes_of(&c->count, sizeof c->count));
    if (c->out == 0) {
        c->out = sim_stream_open(c->node, &to);
        c->written = 0;
    }
    write_some(c);
    if (sim_random(c->node) % 500 == 0) {
        sim_stream_finish(c->node, c->out);
    }
    sim_set_timer(c->node, c->now_ms + EVERY_MS);
}

static void on_datagram(void *self, const struct node_address *from, struct bytes bytes)
{
    const struct counter *const c = self;
    struct books *const books = sim_suite_state(sim_of(c->node));
    (void)from;
    if (bytes.len != sizeof c->count) {
        sim_fail(sim_of(c->node), "a datagram has another length");
    }
    books->heard[sim_index(c->node)] = sim_is_calm(sim_of(c->node));
}

static unsigned place_of(const struct counter *c, uint64_t stream)
{
    unsigned i = 0;
    while (i < 8 && c->in[i] != stream) {
        i++;
    }
    return i;
}

static void on_accepted(void *self, uint64_t stream, const struct node_address *from)
{
    struct counter *const c = self;
    (void)from;
    unsigned i = place_of(c, 0);
    if (i == 8) {
        i = (unsigned)(sim_random(c->node) % 8);
        sim_stream_close(c->node, c->in[i]);
    }
    c->in[i] = stream;
    c->received[i] = 0;
}

static void on_received(void *self, uint64_t stream, struct bytes bytes)
{
    struct counter *const c = self;
    const unsigned i = place_of(c, stream);
    if (i == 8) {
        sim_fail(sim_of(c->node), "bytes of a stream that node %u has not", sim_index(c->node));
        return;
    }
    for (size_t k = 0; k < bytes.len; k++) {
        if (bytes.at[k] != byte_at(c->received[i] + k)) {
            sim_fail(sim_of(c->node), "a stream to node %u has lost bytes, or their order",
                     sim_index(c->node));
            return;
        }
    }
    c->received[i] += bytes.len;
}

static void on_closed(void *self, uint64_t stream, enum sim_close why)
{
    struct counter *const c = self;
    const unsigned i = place_of(c, stream);
    (void)why;
    if (stream == c->out) {
        c->out = 0;
    } else if (i < 8) {
        c->in[i] = 0;
    }
}

static void on_ended(void *self, uint64_t stream)
{
    struct counter *const c = self;
    on_closed(self, stream, SIM_CLOSE_RESET);
    sim_stream_close(c->node, stream);
}

static void on_disk_done(void *self, uint64_t operation, int error)
{
    struct counter *const c = self;
    struct books *const books = sim_suite_state(sim_of(c->node));
    if (operation != c->operation) {
        sim_fail(sim_of(c->node), "node %u is told of another sync", sim_index(c->node));
    }
    c->operation = 0;
    if (error == 0) {
        books->durable[sim_index(c->node)] = c->syncing;
    }
}

static void *begin(struct sim *sim)
{
    struct books *books = calloc(1, sizeof *books);
    assert(books != NULL);
    assert(sim_nodes(sim) <= NODES_MAX);
    return books;
}

static void end(struct sim *sim)
{
    free(sim_suite_state(sim));
}

/* Of those whose neighbour before them runs. */
static bool is_converged(struct sim *sim)
{
    const struct books *const books = sim_suite_state(sim);
    const unsigned n = sim_nodes(sim);
    for (unsigned i = 0; i < n; i++) {
        const bool both = sim_running(sim_node(sim, i)) != NULL &&
                          sim_running(sim_node(sim, (i + n - 1) % n)) != NULL;
        if (both && !books->heard[i]) {
            return false;
        }
    }
    return true;
}

static const struct sim_module module = {
    .name = "self",
    .create = on_create,
    .destroy = on_destroy,
    .timer = on_timer,
    .datagram = on_datagram,
    .stream_accepted = on_accepted,
    .stream_received = on_received,
    .stream_ended = on_ended,
    .stream_closed = on_closed,
    .disk_done = on_disk_done,
};

const struct sim_suite self_suite = {
    .name = "self",
    .module = &module,
    .faults = SIM_FAULTS_ALL,
    .nodes_min = 2,
    .nodes_max = 4,
    .datagram_bytes_max = sizeof(uint64_t),
    .check_every_ms = 1000,
    .safety_ms = 30000,
    .liveness_ms = 60000,
    .begin = begin,
    .end = end,
    .is_converged = is_converged,
};
