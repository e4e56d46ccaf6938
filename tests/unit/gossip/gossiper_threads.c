/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gossip threads in one process, on loopback sockets, with links that note what they are told. What
 * has to come about is waited for.
 */
#include "broker/gossip/gossiper.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/gossip/address.h"
#include "proto/node_control.h"
#include "proto/node_hello.h"

#define PATIENCE_MS 20000

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- A node */

struct side {
    struct gossiper *gossiper;
    struct identity identity;
    int udp, tcp;
    struct node_address at;
    _Atomic bool joining;
    struct gossiper_links links;

    pthread_mutex_t lock; /* of the rest */
    struct peer_facts peers[PEERS_MAX];
    unsigned dialed, failed, arrived, lane, number;
    int fd; /* of the last */
    struct node_uuid hello_of;
};

static void on_tell(void *context, const struct peer_facts *peer)
{
    struct side *const s = context;
    pthread_mutex_lock(&s->lock);
    s->peers[peer->number] = *peer;
    pthread_mutex_unlock(&s->lock);
}

static void on_arrived(void *context, unsigned number, unsigned lane, struct peer_wire wire,
                       struct bytes read)
{
    struct side *const s = context;
    struct node_frame frame;
    struct node_hello hello;
    size_t used;
    EXPECT(node_frame_decode(&frame, read.at, read.len, NODE_HELLO_BYTES_MAX, &used) == NODE_OK);
    EXPECT(node_hello_decode(&hello, frame.body) == NODE_OK);
    pthread_mutex_lock(&s->lock);
    s->arrived++;
    s->number = number;
    s->lane = lane;
    s->fd = wire.fd;
    s->hello_of = hello.node;
    pthread_mutex_unlock(&s->lock);
}

static void on_dialed(void *context, unsigned number, unsigned lane, struct peer_wire wire)
{
    struct side *const s = context;
    pthread_mutex_lock(&s->lock);
    wire.fd < 0 ? s->failed++ : s->dialed++;
    s->number = number;
    s->lane = lane;
    s->fd = wire.fd;
    pthread_mutex_unlock(&s->lock);
}

static int bound(int type, struct sockaddr_in *at)
{
    const int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof *at;
    EXPECT(fd >= 0);
    if (bind(fd, (struct sockaddr *)at, sizeof *at) != 0) {
        close(fd);
        return -1;
    }
    EXPECT(getsockname(fd, (struct sockaddr *)at, &len) == 0);
    EXPECT(type != SOCK_STREAM || listen(fd, 64) == 0);
    return fd;
}

static void bind_both(struct side *s)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET};
    struct sockaddr_in *const at = (struct sockaddr_in *)&storage;
    do {
        at->sin_port = 0;
        at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        s->tcp = bound(SOCK_STREAM, at);
        EXPECT(s->tcp >= 0);
        s->udp = bound(SOCK_DGRAM, at);
        if (s->udp < 0) {
            close(s->tcp);
        }
    } while (s->udp < 0);
    s->at = address_of(&storage);
}

static struct seal_key key_of(uint8_t first)
{
    return (struct seal_key){{first}};
}

struct how {
    uint8_t number, cluster, key;
    unsigned shards;
    const struct side *seed; /* NULL: none */
};

static struct side *start(struct how how)
{
    struct side *const s = calloc(1, sizeof *s);
    EXPECT(s != NULL);
    pthread_mutex_init(&s->lock, NULL);
    bind_both(s);
    s->fd = -1;
    s->links = (struct gossiper_links){s, on_tell, on_arrived, on_dialed};
    s->identity = (struct identity){.cluster = {{how.cluster}},
                                    .node = {{how.number}},
                                    .generation = 1,
                                    .name_len = 1,
                                    .name = {(uint8_t)('a' + how.number)}};
    struct gossiper_conf conf = {.identity = s->identity,
                                 .dir = -1,
                                 .udp = s->udp,
                                 .tcp = s->tcp,
                                 .family = AF_INET,
                                 .listen = s->at,
                                 .ring = {.count = 1, .at = {key_of(how.key)}},
                                 .shards = how.shards,
                                 .clock_ms = clock_ms,
                                 .joining = &s->joining,
                                 .links = &s->links};
    if (how.seed != NULL) {
        conf.seeds.count = 1;
        conf.seeds.at[0] = (struct seed){.port = how.seed->at.port, .host = "127.0.0.1"};
    }
    s->gossiper = gossiper_start(&conf);
    EXPECT(s->gossiper != NULL);
    return s;
}

static void stop(struct side *s)
{
    gossiper_stop(s->gossiper, false);
    gossiper_destroy(s->gossiper);
    close(s->udp);
    close(s->tcp);
    if (s->fd >= 0) {
        close(s->fd);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- Waiting */

typedef bool condition_fn(struct side *s, unsigned argument);

static void await(condition_fn *condition, struct side *s, unsigned argument, const char *what)
{
    static const struct timespec pause = {.tv_nsec = 2000000};
    const uint64_t end_ms = clock_ms() + PATIENCE_MS;
    while (!condition(s, argument)) {
        if (clock_ms() > end_ms) {
            fprintf(stderr, "it did not come about: %s\n", what);
            exit(1);
        }
        nanosleep(&pause, NULL);
    }
}

/* What was told of that node last; its number is PEER_NUMBERS_NONE: nothing was. */
static struct peer_facts facts_of(struct side *s, unsigned node)
{
    struct peer_facts facts = {.number = PEER_NUMBERS_NONE};
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        facts = s->peers[i].node.bytes[0] == node ? s->peers[i] : facts;
    }
    pthread_mutex_unlock(&s->lock);
    return facts;
}

static unsigned number_of(struct side *s, unsigned node)
{
    return facts_of(s, node).number;
}

static bool lives(struct side *s, unsigned node)
{
    return facts_of(s, node).live;
}

static bool is_gone(struct side *s, unsigned node)
{
    return !lives(s, node);
}

static bool has_dialed(struct side *s, unsigned count)
{
    pthread_mutex_lock(&s->lock);
    const bool has = s->dialed + s->failed == count;
    pthread_mutex_unlock(&s->lock);
    return has;
}

static bool has_arrived(struct side *s, unsigned count)
{
    pthread_mutex_lock(&s->lock);
    const bool has = s->arrived == count;
    pthread_mutex_unlock(&s->lock);
    return has;
}

#define AWAIT(condition, s, argument)                                                              \
    await(condition, s, argument, #condition " of " #s ", " #argument)

/* ---- The tests */

static void say_hello(const struct side *s, struct node_uuid to, unsigned lane)
{
    uint8_t out[NODE_FRAME_HEAD_BYTES + NODE_HELLO_BYTES_MAX];
    const struct node_hello hello = {.protocol_min = NODE_PROTOCOL,
                                     .protocol_max = NODE_PROTOCOL,
                                     .cluster = s->identity.cluster,
                                     .node = s->identity.node,
                                     .to = to,
                                     .generation = 1,
                                     .name = identity_name(&s->identity),
                                     .frame_max = 1000,
                                     .stream = 1,
                                     .credit = UINT64_MAX};
    struct node_frame frame = {.type = NODE_FRAME_HELLO, .lane = (uint16_t)lane};
    frame.body.len = node_hello_encode(out + NODE_FRAME_HEAD_BYTES, &hello);
    node_frame_head_encode(out, &frame);
    const size_t len = NODE_FRAME_HEAD_BYTES + frame.body.len;
    EXPECT(send(s->fd, out, len, MSG_NOSIGNAL) == (ssize_t)len);
}

static void two_find_each_other_and_one_leaves(void)
{
    struct side *a = start((struct how){.number = 1, .cluster = 9, .key = 5, .shards = 4});
    struct side *b =
        start((struct how){.number = 2, .cluster = 9, .key = 5, .shards = 2, .seed = a});
    AWAIT(lives, a, 2);
    AWAIT(lives, b, 1);
    EXPECT(facts_of(a, 2).lanes == 2 && facts_of(b, 1).lanes == 2);
    stop(b);
    AWAIT(is_gone, a, 2);
    struct gossiper_figures f;
    gossiper_figures(a->gossiper, &f);
    EXPECT(f.alive == 1 && f.left == 1 && f.dead == 0);
    stop(a);
}

static void a_connection_is_made_for_a_lane(void)
{
    struct side *a = start((struct how){.number = 1, .cluster = 9, .key = 5, .shards = 4});
    struct side *b =
        start((struct how){.number = 2, .cluster = 9, .key = 5, .shards = 4, .seed = a});
    AWAIT(lives, a, 2);
    AWAIT(lives, b, 1);
    gossiper_dial(a->gossiper, number_of(a, 2), 3);
    AWAIT(has_dialed, a, 1);
    EXPECT(a->failed == 0 && a->fd >= 0 && a->lane == 3);
    say_hello(a, b->identity.node, 3);
    AWAIT(has_arrived, b, 1);
    EXPECT(b->lane == 3 && b->number == number_of(b, 1));
    EXPECT(node_uuid_equal(b->hello_of, a->identity.node));
    char byte = 0;
    EXPECT(send(b->fd, "x", 1, 0) == 1);
    while (recv(a->fd, &byte, 1, 0) != 1) { /* it is not blocking */
    }
    EXPECT(byte == 'x');
    struct gossiper_figures f;
    gossiper_figures(b->gossiper, &f);
    EXPECT(f.links_accepted == 1 && f.links_refused == 0);
    stop(a);
    stop(b);
}

static bool is_closed(int fd)
{
    static const struct timespec pause = {.tv_nsec = 2000000};
    uint8_t in[512];
    const uint64_t end_ms = clock_ms() + PATIENCE_MS;
    ssize_t n;
    while ((n = recv(fd, in, sizeof in, 0)) != 0) {
        if (clock_ms() > end_ms) {
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

static void a_lane_that_is_none_is_refused(void)
{
    struct side *a = start((struct how){.number = 1, .cluster = 9, .key = 5, .shards = 4});
    struct side *b =
        start((struct how){.number = 2, .cluster = 9, .key = 5, .shards = 2, .seed = a});
    AWAIT(lives, a, 2);
    AWAIT(lives, b, 1);
    gossiper_dial(a->gossiper, number_of(a, 2), 2);
    AWAIT(has_dialed, a, 1);
    say_hello(a, b->identity.node, 2);
    EXPECT(is_closed(a->fd));
    struct gossiper_figures f;
    gossiper_figures(b->gossiper, &f);
    EXPECT(f.links_accepted == 0 && f.links_refused == 1 && b->arrived == 0);
    stop(a);
    stop(b);
}

static void who_is_dead_cannot_be_called(void)
{
    struct side *a = start((struct how){.number = 1, .cluster = 9, .key = 5, .shards = 4});
    struct side *b =
        start((struct how){.number = 2, .cluster = 9, .key = 5, .shards = 4, .seed = a});
    AWAIT(lives, a, 2);
    const unsigned number = number_of(a, 2);
    stop(b);
    AWAIT(is_gone, a, 2);
    gossiper_dial(a->gossiper, number, 0);
    AWAIT(has_dialed, a, 1);
    EXPECT(a->failed == 1);
    stop(a);
}

static bool has_refused(struct side *s, unsigned at_least)
{
    struct gossiper_figures f;
    gossiper_figures(s->gossiper, &f);
    return f.refused[SEAL_FORGED] >= at_least;
}

static void strangers_are_not_heard(void)
{
    struct side *a = start((struct how){.number = 1, .cluster = 9, .key = 5, .shards = 1});
    struct side *key =
        start((struct how){.number = 2, .cluster = 9, .key = 6, .shards = 1, .seed = a});
    AWAIT(has_refused, a, 1);
    struct side *cluster =
        start((struct how){.number = 3, .cluster = 8, .key = 5, .shards = 1, .seed = a});
    AWAIT(has_refused, a, 2);
    EXPECT(is_gone(a, 2) && is_gone(a, 3) && is_gone(key, 1) && is_gone(cluster, 1));
    /* With the new key beside the old one it is heard. */
    const struct key_ring both = {.count = 2, .at = {key_of(5), key_of(6)}};
    gossiper_set_keys(a->gossiper, &both);
    gossiper_set_keys(key->gossiper, &both);
    AWAIT(lives, a, 2);
    AWAIT(lives, key, 1);
    stop(a);
    stop(key);
    stop(cluster);
}

/* A second process of one node is told so, starts over with a higher generation, and the third
 * knows one of them. */
static void a_twin_is_told(void)
{
    struct side *a = start((struct how){.number = 1, .cluster = 9, .key = 5, .shards = 1});
    struct side *b =
        start((struct how){.number = 2, .cluster = 9, .key = 5, .shards = 1, .seed = a});
    AWAIT(lives, a, 2);
    struct side *twin =
        start((struct how){.number = 2, .cluster = 9, .key = 5, .shards = 1, .seed = a});
    const uint64_t end_ms = clock_ms() + PATIENCE_MS;
    struct gossiper_figures f = {.conflicts = 0};
    while (f.conflicts == 0 && clock_ms() < end_ms) {
        gossiper_figures(twin->gossiper, &f);
    }
    EXPECT(f.conflicts > 0);
    uint64_t generation = 1;
    while (generation == 1 && clock_ms() < end_ms) {
        struct member members[4];
        const size_t count = gossiper_members(a->gossiper, members, 4);
        for (size_t i = 0; i < count; i++) {
            generation =
                members[i].node.bytes[0] == 2 ? members[i].incarnation.generation : generation;
        }
    }
    EXPECT(generation > 1);
    stop(a);
    stop(b);
    stop(twin);
}

int main(void)
{
    two_find_each_other_and_one_leaves();
    a_connection_is_made_for_a_lane();
    a_lane_that_is_none_is_refused();
    who_is_dead_cannot_be_called();
    strangers_are_not_heard();
    a_twin_is_told();
    return 0;
}
