/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/remote/fake_cluster.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "broker/ownership/ownership.h"
#include "broker/peers/peers.h"
#include "broker/remote/remote.h"
#include "broker/shard/shard.h"
#include "cluster/link/greeting.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_disk.h"

#define ROUNDS_MAX 100000u /* more than that is a cluster that never rests */

/* One connection, or the wish for one. */
struct wire {
    struct wire *next;
    unsigned from, to, lane;
    bool asked; /* and not answered */
    int fd_from;
    int fd_to;         /* -1: it has not been said who calls */
    uint8_t read[512]; /* until then */
    size_t read_len;
    bool broken;
};

static struct identity identity_of(const struct fake_cluster *c, unsigned number)
{
    struct identity id = {.generation = c->generations[number], .name_len = 2};
    memset(id.cluster.bytes, 0xcc, sizeof id.cluster.bytes);
    id.node.bytes[0] = (uint8_t)(number + 1);
    id.name[0] = 'n';
    id.name[1] = (uint8_t)('0' + number);
    return id;
}

static void on_dial(void *context, unsigned number, unsigned lane)
{
    const struct fake_place *const place = context;
    struct wire *const w = calloc(1, sizeof *w);
    assert(w != NULL);
    *w = (struct wire){.next = place->cluster->wires,
                       .from = place->number,
                       .to = number,
                       .lane = lane,
                       .asked = true,
                       .fd_from = -1,
                       .fd_to = -1};
    place->cluster->wires = w;
}

static void join(struct fake_cluster *c, unsigned number)
{
    static const uint8_t build[] = "test";
    struct node *const node = c->nodes[number]->node;
    const struct peers_conf conf = {.node = node,
                                    .self = identity_of(c, number),
                                    .build = bytes_of(build, sizeof build - 1),
                                    .events = &remote_events,
                                    .dial = on_dial,
                                    .limits = c->limits,
                                    .dial_context = &c->places[number]};
    const bool made = remote_create(node, &conf.self) && ownership_create(node, &conf.self) &&
                      peers_create(&conf) != NULL;
    assert(made);
    (void)made;
    if (c->joined != NULL) {
        c->joined(c, number);
    }
}

static void make(struct fake_cluster *c, unsigned number, const char *const settings[])
{
    c->nodes[number] = c->disks == NULL
                           ? fake_node_create_again(c->shards[number], settings)
                           : fake_disk_again(&c->disks[number], c->shards[number], settings);
    join(c, number);
}

void fake_cluster_tell(struct fake_cluster *c, unsigned at, unsigned of, bool live, bool forgotten)
{
    const struct identity id = identity_of(c, of);
    const unsigned a = c->shards[at], b = c->shards[of];
    struct peer_facts facts = {.number = of,
                               .node = id.node,
                               .generation = id.generation,
                               .lanes = a < b ? a : b,
                               .live = live,
                               .forgotten = forgotten,
                               .name_len = id.name_len};
    memcpy(facts.name, id.name, id.name_len);
    peers_tell(c->nodes[at]->node->peers, &facts);
}

static void step_all(struct fake_cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        for (unsigned shard = 0; c->nodes[i] != NULL && shard < c->shards[i]; shard++) {
            fake_node_step(c->nodes[i], shard);
        }
    }
}

/* ---- the network */

static struct io_fake_net *net_of(const struct fake_cluster *c, unsigned number)
{
    return c->nodes[number]->net;
}

static void answer(struct fake_cluster *c, struct wire *w)
{
    w->asked = false;
    if (c->cut[w->from][w->to]) {
        w->broken = true;
        peers_dialed(c->nodes[w->from]->node->peers, w->to, w->lane, PEER_WIRE_NONE);
        return;
    }
    w->fd_from = io_fake_open(net_of(c, w->from));
    peers_dialed(c->nodes[w->from]->node->peers, w->to, w->lane,
                 (struct peer_wire){.fd = w->fd_from});
}

static void greet(struct fake_cluster *c, struct wire *w)
{
    const struct identity self = identity_of(c, w->to);
    struct greeting greeting;
    enum node_close why;
    if (greeting_read(&self, w->read, w->read_len, &greeting, &why) != GREETING_OK) {
        return;
    }
    assert(greeting.lane == w->lane);
    w->fd_to = io_fake_open(net_of(c, w->to));
    peers_arrived(c->nodes[w->to]->node->peers, w->from, w->lane,
                  (struct peer_wire){.fd = w->fd_to}, bytes_of(w->read, w->read_len));
}

/* true: something went from the one to the other. */
static bool carry(struct fake_cluster *c, unsigned from, int fd_from, unsigned to, int fd_to)
{
    static uint8_t bytes[65536];
    if (c->stuck[from][to] || io_fake_client_sees_close(net_of(c, to), fd_to)) {
        return false;
    }
    const size_t len = io_fake_client_read(net_of(c, from), fd_from, bytes, sizeof bytes);
    if (len > 0) {
        io_fake_client_write(net_of(c, to), fd_to, bytes, len);
    }
    return len > 0;
}

static void tear(struct fake_cluster *c, struct wire *w)
{
    if (w->broken) {
        return;
    }
    w->broken = true;
    if (w->fd_from >= 0) {
        io_fake_client_reset(net_of(c, w->from), w->fd_from);
    }
    if (w->fd_to >= 0) {
        io_fake_client_reset(net_of(c, w->to), w->fd_to);
    }
}

static bool is_ended(struct fake_cluster *c, unsigned at, int fd)
{
    return io_fake_client_sees_close(net_of(c, at), fd) ||
           io_fake_client_sees_end(net_of(c, at), fd);
}

static bool pump_wire(struct fake_cluster *c, struct wire *w)
{
    if (w->asked && c->lanes_wait && w->lane > 0) {
        return false;
    }
    if (w->asked) {
        answer(c, w);
        return true;
    }
    if (w->broken) {
        return false;
    }
    if (w->fd_to < 0) {
        if (c->stuck[w->from][w->to]) {
            return false;
        }
        const size_t len = io_fake_client_read(net_of(c, w->from), w->fd_from,
                                               w->read + w->read_len, sizeof w->read - w->read_len);
        w->read_len += len;
        if (len > 0) {
            greet(c, w);
        } else if (is_ended(c, w->from, w->fd_from)) {
            tear(c, w);
        }
        return len > 0;
    }
    const bool there = carry(c, w->from, w->fd_from, w->to, w->fd_to);
    const bool back = carry(c, w->to, w->fd_to, w->from, w->fd_from);
    if (!there && !back && (is_ended(c, w->from, w->fd_from) || is_ended(c, w->to, w->fd_to))) {
        tear(c, w);
        return true;
    }
    return there || back;
}

static bool pump(struct fake_cluster *c)
{
    bool any = false;
    for (struct wire *w = c->wires; w != NULL; w = w->next) {
        any = pump_wire(c, w) || any;
    }
    return any;
}

void fake_cluster_settle(struct fake_cluster *c)
{
    bool busy = true;
    for (unsigned rounds = 0; busy; rounds++) {
        assert(rounds < ROUNDS_MAX);
        step_all(c);
        busy = pump(c);
        for (unsigned i = 0; i < c->count; i++) {
            busy = busy || (c->nodes[i] != NULL && fake_node_is_busy(c->nodes[i]));
        }
    }
}

struct fake_client *fake_cluster_connect(struct fake_cluster *c, unsigned at, unsigned shard,
                                         const char *id, const struct terms *terms)
{
    struct fake_client *const client = client_connect(c->nodes[at], shard, id, terms);
    if (client->connack.type == MQTT_CONNACK) {
        return client;
    }
    fake_cluster_settle(c);
    const struct got *const connack = client_take(client, MQTT_CONNACK);
    if (connack != NULL) {
        client->connack = *connack;
    }
    return client;
}

void fake_cluster_advance(struct fake_cluster *c, uint64_t ms)
{
    const uint64_t end_ms = fake_node_now_ms() + ms;
    while (fake_node_now_ms() < end_ms) {
        uint64_t next_ms = end_ms;
        for (unsigned i = 0; i < c->count; i++) {
            const uint64_t due_ms =
                c->nodes[i] == NULL ? UINT64_MAX : fake_node_next_ms(c->nodes[i]);
            next_ms = due_ms < next_ms ? due_ms : next_ms;
        }
        const uint64_t least_ms = fake_node_now_ms() + 1;
        fake_node_set_now(next_ms < least_ms ? least_ms : next_ms);
        fake_cluster_settle(c);
    }
}

void fake_cluster_cut(struct fake_cluster *c, unsigned a, unsigned b, bool cut)
{
    c->cut[a][b] = c->cut[b][a] = cut;
    for (struct wire *w = c->wires; cut && w != NULL; w = w->next) {
        if ((w->from == a && w->to == b) || (w->from == b && w->to == a)) {
            if (w->asked) {
                answer(c, w);
            } else {
                tear(c, w);
            }
        }
    }
}

void fake_cluster_stick(struct fake_cluster *c, unsigned from, unsigned to, bool stuck)
{
    c->stuck[from][to] = stuck;
}

void fake_cluster_block(struct fake_cluster *c, unsigned from, unsigned to, bool block)
{
    for (const struct wire *w = c->wires; w != NULL; w = w->next) {
        const int fd = w->from == from && w->to == to   ? w->fd_from
                       : w->from == to && w->to == from ? w->fd_to
                                                        : -1;
        if (fd >= 0 && !w->broken) {
            io_fake_client_set_window(net_of(c, from), fd, block ? 0 : SIZE_MAX);
        }
    }
}

/* ---- life */

struct fake_cluster *fake_cluster_create(unsigned count, const unsigned shards[],
                                         const char *const settings[],
                                         const struct link_conf *limits)
{
    return fake_cluster_create_on(count, shards, settings, limits, NULL, NULL);
}

struct fake_cluster *fake_cluster_create_on(unsigned count, const unsigned shards[],
                                            const char *const settings[],
                                            const struct link_conf *limits, struct fake_disk *disks,
                                            fake_joined_fn *joined)
{
    struct fake_cluster *const c = calloc(1, sizeof *c);
    assert(c != NULL);
    assert(count <= FAKE_CLUSTER_NODES);
    c->count = count;
    c->limits = limits;
    c->disks = disks;
    c->joined = joined;
    fake_node_set_clock();
    for (unsigned i = 0; i < count; i++) {
        c->places[i] = (struct fake_place){.cluster = c, .number = i};
        c->shards[i] = shards[i];
        c->generations[i] = 1;
        make(c, i, settings);
    }
    for (unsigned at = 0; at < count; at++) {
        for (unsigned of = 0; of < count; of++) {
            if (at != of) {
                fake_cluster_tell(c, at, of, true, false);
            }
        }
    }
    fake_cluster_settle(c);
    fake_cluster_advance(c, 1000);
    return c;
}

static void end(struct fake_cluster *c, unsigned number)
{
    struct fake_node *const n = c->nodes[number];
    for (unsigned other = 0; other < c->count; other++) {
        fake_cluster_cut(c, number, other, true);
    }
    for (unsigned i = 0; n != NULL && i < c->shards[number]; i++) {
        struct shard *const s = fake_node_enter(n, i);
        peers_end(s);
        peers_cut_off(s);
    }
    shard_self = NULL;
    struct wire **at = &c->wires;
    while (*at != NULL) {
        struct wire *const w = *at;
        if (w->from == number || w->to == number) {
            tear(c, w);
            *at = w->next;
            free(w);
        } else {
            at = &w->next;
        }
    }
}

/* It, and those that are there, hear of each other. */
static void meet(struct fake_cluster *c, unsigned number)
{
    for (unsigned other = 0; other < c->count; other++) {
        if (other != number && c->nodes[other] != NULL) {
            c->cut[number][other] = c->cut[other][number] = false;
            fake_cluster_tell(c, number, other, true, false);
            fake_cluster_tell(c, other, number, true, false);
        }
    }
    fake_cluster_settle(c);
}

void fake_cluster_restart(struct fake_cluster *c, unsigned number, const char *const settings[])
{
    end(c, number);
    fake_node_end(c->nodes[number]); /* nobody hears of it */
    node_destroy(c->nodes[number]->node);
    fake_node_free(c->nodes[number]);
    c->generations[number]++;
    make(c, number, settings);
    meet(c, number);
}

static void say_dead(struct fake_cluster *c, unsigned number)
{
    c->nodes[number] = NULL;
    for (unsigned other = 0; other < c->count; other++) {
        if (other != number && c->nodes[other] != NULL) {
            fake_cluster_tell(c, other, number, false, false);
        }
    }
    fake_cluster_settle(c);
}

void fake_cluster_crash(struct fake_cluster *c, unsigned number,
                        bool (*kept)(void *context, uint64_t sector), void *context)
{
    end(c, number);
    fake_disk_crash(&c->disks[number], kept, context);
    say_dead(c, number);
}

void fake_cluster_close(struct fake_cluster *c, unsigned number)
{
    end(c, number);
    fake_disk_close(&c->disks[number]);
    say_dead(c, number);
}

void fake_cluster_start(struct fake_cluster *c, unsigned number, unsigned shards,
                        const char *const settings[])
{
    c->generations[number]++;
    c->shards[number] = shards;
    make(c, number, settings);
    meet(c, number);
}

void fake_cluster_destroy(struct fake_cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        end(c, i);
    }
    for (unsigned i = 0; c->disks == NULL && i < c->count; i++) {
        fake_node_end(c->nodes[i]);
    }
    for (unsigned i = 0; i < c->count; i++) {
        if (c->nodes[i] != NULL && c->disks != NULL) {
            fake_disk_close(&c->disks[i]);
        } else if (c->nodes[i] != NULL) {
            node_destroy(c->nodes[i]->node);
            fake_node_free(c->nodes[i]);
        }
    }
    assert(message_memory() == 0);
    free(c);
}

uint64_t fake_cluster_count(const struct fake_cluster *c, unsigned at, enum metric metric)
{
    return fake_node_count(c->nodes[at], metric);
}
