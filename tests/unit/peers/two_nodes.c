/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two nodes in one process, their shards on threads of their own, linked by TCP over loopback. The
 * main thread is the gossip thread of both: it connects, accepts, tells who is there, and cuts
 * connections whenever it likes. Each lane sends numbered frames, and some without a number, in
 * both directions; now and then a frame is not taken at once, and for a while none is.
 *
 * On io_uring, or, with IO_BACKEND=epoll in the environment, on epoll. A program of its own, for
 * ThreadSanitizer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/config/options.h"
#include "broker/counters.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/peers/peers_parts.h"
#include "broker/shard/errand.h"
#include "broker/shard/loop.h"
#include "broker/shard/shard.h"
#include "cluster/link/greeting.h"
#include "proto/little_endian.h"
#include "tests/unit/route/random.h"

#define SIDES           2u
#define LANES_MAX       2u
#define FRAMES          60000u /* of each lane and direction */
#define CUTS            60u
#define PER_TURN        64u
#define BODY_MAX        600u
#define KEPT_MAX        131072u
#define BUFFERS         64u
#define BUFFER_BYTES    16384u
#define HELD_MIN        15u /* times that a frame is given in vain before it is taken */
#define TIME_MAX_S      100u
#define QUEUED_MAX      16u
#define FAREWELL_MAX_MS 4000u /* less than what cuts links off in the end */

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #condition), abort()))

struct side;

/* Of one side: what it sends, and what has come. The shard's. */
struct traffic {
    struct errand errand; /* first */
    struct side *side;
    unsigned lane;
    uint64_t put, passing_put;
    uint64_t taken, passing_last, passing_taken;
    struct random random;
    bool slow;
    _Atomic bool is_done;
    _Atomic bool holds; /* nothing is taken; main's to write */
    _Atomic uint64_t held;
    pthread_t thread;
};

struct side {
    unsigned shards;
    struct node *node;
    struct peers *peers;
    struct config *config;
    struct identity self;
    pthread_t threads[LANES_MAX];
    struct traffic traffic[LANES_MAX];
    _Atomic unsigned ups, downs, losses, gaps;
};

static struct side sides[SIDES];
static unsigned lanes;

static uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t clock_ms(void)
{
    return clock_us() / 1000;
}

/* ---- what the links tell */

static struct side *side_of(const struct shard *s)
{
    return s->node == sides[0].node ? &sides[0] : &sides[1];
}

static const struct lane *lane_of(const struct shard *s)
{
    return s->node->peers->of[s->id]->peer[0].lane;
}

static enum link_taken on_deliver(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct traffic *const t = &side_of(s)->traffic[s->id];
    CHECK(shard_self == s && peer == 0 && frame->type == NODE_FRAME_PUBLISH);
    CHECK(frame->body.len >= sizeof(uint64_t));
    const uint64_t number = get_u64(frame->body.at);
    for (size_t i = sizeof number; i < frame->body.len; i++) {
        CHECK(frame->body.at[i] == (uint8_t)(number + i));
    }
    const bool holds = atomic_load(&t->holds);
    if (holds || random_below(&t->random, 300) == 0) {
        atomic_fetch_add(&t->held, 1);
        /* What has come behind it is a few receive buffers at most. */
        CHECK(lane_of(s)->rest_end - lane_of(s)->rest_begin <= (size_t)BUFFERS * BUFFER_BYTES);
        if (!holds && random_below(&t->random, 2) == 0) {
            peers_resume(s, 0);
        }
        return LINK_NOT_NOW;
    }
    if (frame->seq > 0) {
        CHECK(number == t->taken + 1);
        t->taken = number;
        if (t->taken == FRAMES) {
            atomic_store(&t->is_done, true);
        }
    } else {
        CHECK(number > t->passing_last);
        t->passing_last = number;
        t->passing_taken++;
    }
    return LINK_TAKEN;
}

static void on_up(struct shard *s, unsigned peer)
{
    CHECK(peers_has_lane(s, peer));
    atomic_fetch_add(&side_of(s)->ups, 1);
}

static void on_down(struct shard *s, unsigned peer)
{
    CHECK(peers_has_lane(s, peer));
    atomic_fetch_add(&side_of(s)->downs, 1);
}

static void on_slow(struct shard *s, unsigned peer, bool slow)
{
    struct traffic *const t = &side_of(s)->traffic[s->id];
    (void)peer;
    CHECK(t->slow != slow);
    t->slow = slow;
}

static void on_gap(struct shard *s, unsigned peer)
{
    (void)peer;
    atomic_fetch_add(&side_of(s)->gaps, 1);
}

static void on_lost(struct shard *s, unsigned peer, uint64_t first, uint64_t last,
                    enum link_loss why)
{
    (void)peer;
    (void)first;
    (void)last;
    (void)why;
    atomic_fetch_add(&side_of(s)->losses, 1);
}

static void on_restarted(struct shard *s, unsigned peer)
{
    (void)s;
    (void)peer;
    CHECK(false);
}

static void on_facts(struct shard *s, const struct peer_facts *facts)
{
    CHECK(shard_self == s);
    CHECK(peers_has_lane(s, 0) == (s->id < facts->lanes));
    CHECK(peers_lanes(s, 0) == facts->lanes);
}

static const struct peers_events events = {.deliver = on_deliver,
                                           .up = on_up,
                                           .down = on_down,
                                           .slow = on_slow,
                                           .gap = on_gap,
                                           .restarted = on_restarted,
                                           .lost = on_lost,
                                           .facts = on_facts};

/* ---- who sends: an errand of a thread of its own, a step in each turn */

static bool put(struct shard *s, bool numbered, uint64_t number, size_t more)
{
    uint8_t *body;
    uint64_t seq;
    if (peers_put(s, 0, NODE_FRAME_PUBLISH, numbered, sizeof number + more, &body, &seq) !=
        LINK_OK) {
        return false;
    }
    CHECK(!numbered || seq == number);
    put_u64(body, number);
    for (size_t i = sizeof number; i < sizeof number + more; i++) {
        body[i] = (uint8_t)(number + i);
    }
    return true;
}

static enum errand_step on_step(struct shard *s, struct errand *e)
{
    struct traffic *const t = (struct traffic *)(void *)e;
    if (!peers_has_lane(s, 0)) {
        return ERRAND_MORE;
    }
    for (unsigned i = 0; i < PER_TURN && t->put < FRAMES; i++) {
        if (t->slow || !put(s, true, t->put + 1, random_below(&t->random, BODY_MAX))) {
            return ERRAND_LATER;
        }
        t->put++;
        if (random_below(&t->random, 10) == 0 &&
            put(s, false, t->passing_put + 1, random_below(&t->random, 100))) {
            t->passing_put++;
        }
    }
    return t->put < FRAMES ? ERRAND_MORE : ERRAND_DONE;
}

static bool is_ready(const struct shard *s, const struct errand *e)
{
    (void)s;
    return !((const struct traffic *)(const void *)e)->slow;
}

static void not_freed(struct errand *e)
{
    (void)e;
}

static void *send_all(void *arg)
{
    struct traffic *const t = arg;
    t->errand.run = on_step;
    t->errand.is_ready = is_ready;
    t->errand.destroy = not_freed;
    CHECK(errand_do(t->side->node->shards[t->lane], &t->errand, TIME_MAX_S * 1000) ==
          ERRAND_ANSWERED);
    errand_put(&t->errand);
    return NULL;
}

/* ---- the gossip thread: this program's main thread */

static struct dials {
    pthread_mutex_t lock;
    unsigned lane[QUEUED_MAX];
    unsigned count;
} dials = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int listener;
static int cuttable[LANES_MAX] = {-1, -1};

static void on_dial(void *context, unsigned number, unsigned lane)
{
    CHECK(context == &sides[0] && number == 0); /* the lower UUID dials */
    pthread_mutex_lock(&dials.lock);
    CHECK(dials.count < QUEUED_MAX);
    dials.lane[dials.count++] = lane;
    pthread_mutex_unlock(&dials.lock);
}

static void listen_on_loopback(void)
{
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK(bind(listener, (const struct sockaddr *)&any, sizeof any) == 0);
    CHECK(listen(listener, 16) == 0);
}

static int connect_to_it(void)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    CHECK(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)&at, len) == 0);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

/* HELLO, of one who has called. */
static void greet(int fd)
{
    uint8_t read[4096];
    size_t len = 0;
    struct greeting greeting;
    enum node_close why;
    enum greeting_state state = GREETING_NEED_MORE;
    while (state == GREETING_NEED_MORE) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        CHECK(poll(&p, 1, 10000) == 1);
        const ssize_t n = recv(fd, read + len, sizeof read - len, MSG_DONTWAIT);
        if (n <= 0) { /* cut, before it was said */
            close(fd);
            return;
        }
        len += (size_t)n;
        state = greeting_read(&sides[1].self, read, len, &greeting, &why);
    }
    CHECK(state == GREETING_OK);
    peers_arrived(sides[1].peers, 0, greeting.lane, (struct peer_wire){.fd = fd},
                  bytes_of(read, len));
}

static void dial(unsigned lane, struct random *random)
{
    if (random_below(random, 8) == 0) { /* the other node cannot be reached */
        peers_dialed(sides[0].peers, 0, lane, PEER_WIRE_NONE);
        return;
    }
    const int fd = connect_to_it();
    const int other = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(other >= 0);
    if (cuttable[lane] >= 0) {
        close(cuttable[lane]);
    }
    cuttable[lane] = dup(fd);
    CHECK(cuttable[lane] >= 0);
    peers_dialed(sides[0].peers, 0, lane, (struct peer_wire){.fd = fd});
    greet(other);
}

static void dial_all(struct random *random)
{
    unsigned lane[QUEUED_MAX];
    pthread_mutex_lock(&dials.lock);
    const unsigned count = dials.count;
    memcpy(lane, dials.lane, sizeof lane);
    dials.count = 0;
    pthread_mutex_unlock(&dials.lock);
    for (unsigned i = 0; i < count; i++) {
        dial(lane[i], random);
    }
}

static void cut(unsigned lane)
{
    if (cuttable[lane] >= 0) {
        shutdown(cuttable[lane], SHUT_RDWR);
        close(cuttable[lane]);
        cuttable[lane] = -1;
    }
}

static void tell(struct side *to, const struct side *of, bool live)
{
    struct peer_facts facts = {.node = of->self.node,
                               .generation = of->self.generation,
                               .lanes = lanes,
                               .live = live,
                               .name_len = of->self.name_len};
    memcpy(facts.name, of->self.name, sizeof facts.name);
    peers_tell(to->peers, &facts);
}

/* ---- the nodes */

static enum io_err create_io(struct io **out, const struct io_handlers *handlers, void *context,
                             int *sys_errno)
{
    static const struct io_conf conf = {
        .receive_buffers = BUFFERS, .receive_buffer_bytes = BUFFER_BYTES, .entries = 256};
    const char *const backend = getenv("IO_BACKEND");
    return backend != NULL && strcmp(backend, "epoll") == 0
               ? io_epoll_create(out, &conf, handlers, context, sys_errno)
               : io_uring_create(out, &conf, handlers, context, sys_errno);
}

static struct config *load(void)
{
    struct options_setting set[1] = {
        {.flag = "--set", .path = "limits.message_memory_max", .path_len = 25, .value = "1GiB"}};
    const struct options options = {.settings = set, .settings_count = 1};
    const struct config_sources sources = {.options = &options};
    struct config_error error = {0};
    struct config *config;
    if (config_load(&config, &sources, &error) != CONFIG_OK) {
        fputs(error.text, stderr);
        abort();
    }
    return config;
}

static struct link_conf limits(void)
{
    struct link_conf conf = link_conf_defaults();
    conf.kept_bytes_max = KEPT_MAX;
    conf.backoff_ms = 2;
    conf.backoff_max_ms = 20;
    conf.settled_ms = 20;
    conf.max_stall_ms = TIME_MAX_S * 1000;
    return conf;
}

static void *run(void *shard)
{
    loop_run(shard);
    return NULL;
}

static void side_begin(struct side *side, unsigned index, unsigned shards)
{
    *side = (struct side){.shards = shards, .config = load()};
    const struct node_conf conf = {.shard_count = shards,
                                   .clock_ms = clock_ms,
                                   .clock_us = clock_us,
                                   .config = side->config,
                                   .create_io = create_io};
    int sys_errno = 0;
    CHECK(node_create(&side->node, &conf, &sys_errno) == IO_OK);
    side->self = (struct identity){.cluster = {{7}},
                                   .node = {{(uint8_t)(index + 1)}},
                                   .generation = 1,
                                   .name_len = 1,
                                   .name = {(uint8_t)('a' + index)}};
    const struct link_conf bounds = limits();
    const struct peers_conf peers_conf = {.node = side->node,
                                          .self = side->self,
                                          .build = bytes_text("test"),
                                          .events = &events,
                                          .dial = on_dial,
                                          .dial_context = side,
                                          .limits = &bounds};
    side->peers = peers_create(&peers_conf);
    CHECK(side->peers != NULL && side->node->peers == side->peers);
    for (unsigned i = 0; i < lanes; i++) {
        side->traffic[i].side = side;
        side->traffic[i].lane = i;
        side->traffic[i].random = random_init();
    }
    atomic_store(&side->node->serving, true);
    for (unsigned i = 0; i < shards; i++) {
        CHECK(pthread_create(&side->threads[i], NULL, run, side->node->shards[i]) == 0);
    }
}

/* What is said last is heard: it does not take as long as until connections are cut off. */
static void side_end(struct side *side)
{
    const uint64_t began_ms = clock_ms();
    atomic_store_explicit(&side->node->ending, true, memory_order_release);
    node_wake_shards(side->node);
    for (unsigned i = 0; i < side->shards; i++) {
        CHECK(pthread_join(side->threads[i], NULL) == 0);
    }
    CHECK(clock_ms() - began_ms < FAREWELL_MAX_MS);
    CHECK(peers_gauge(side->peers, PEERS_LINKS_UP) == 0);
    node_destroy(side->node);
    config_destroy(side->config);
}

static void rest(unsigned ms)
{
    const struct timespec t = {.tv_nsec = (long)ms * 1000000};
    nanosleep(&t, NULL);
}

static bool all_is_done(void)
{
    for (unsigned i = 0; i < SIDES * lanes; i++) {
        if (!atomic_load(&sides[i % SIDES].traffic[i / SIDES].is_done)) {
            return false;
        }
    }
    return true;
}

/* Until all has come, or so long. */
static void go_on(struct random *random, uint64_t until_ms)
{
    while (clock_ms() < until_ms && !all_is_done()) {
        dial_all(random);
        rest(1);
        for (unsigned i = 0; i < SIDES; i++) {
            CHECK(peers_gauge(sides[i].peers, PEERS_KEPT_BYTES) <=
                  (uint64_t)lanes * (KEPT_MAX + NODE_FRAME_HEAD_BYTES + BODY_MAX));
        }
    }
}

static uint64_t sum(enum metric metric)
{
    return counters_sum(sides[0].node, metric) + counters_sum(sides[1].node, metric);
}

static void between(unsigned shards_0, unsigned shards_1)
{
    struct random random = random_init();
    printf("seed %llu\n", (unsigned long long)random.seed);
    lanes = shards_0 < shards_1 ? shards_0 : shards_1;
    side_begin(&sides[0], 0, shards_0);
    side_begin(&sides[1], 1, shards_1);
    tell(&sides[1], &sides[0], true);
    tell(&sides[0], &sides[1], true);
    /* One does not take anything for a while: what is kept for it, and here, has its bound. */
    atomic_store(&sides[1].traffic[0].holds, true);
    for (unsigned i = 0; i < SIDES * lanes; i++) {
        struct traffic *const t = &sides[i % SIDES].traffic[i / SIDES];
        CHECK(pthread_create(&t->thread, NULL, send_all, t) == 0);
    }
    const uint64_t end_ms = clock_ms() + TIME_MAX_S * 1000;
    while (atomic_load(&sides[1].traffic[0].held) < HELD_MIN ||
           peers_gauge(sides[0].peers, PEERS_LINKS_SLOW) == 0) {
        CHECK(clock_ms() < end_ms);
        go_on(&random, clock_ms() + 1);
    }
    atomic_store(&sides[1].traffic[0].holds, false);
    for (unsigned i = 0; i < CUTS && !all_is_done(); i++) {
        go_on(&random, clock_ms() + 5 + random_below(&random, 30));
        cut(random_below(&random, lanes));
    }
    go_on(&random, end_ms);
    CHECK(all_is_done());
    for (unsigned i = 0; i < SIDES * lanes; i++) {
        const struct traffic *const t = &sides[i % SIDES].traffic[i / SIDES];
        CHECK(pthread_join(t->thread, NULL) == 0);
    }
    /* Without a single cut it would say nothing. */
    CHECK(sum(METRIC_link_frames_resent) > 0);
    CHECK(sum(METRIC_link_connections) > 4);
    CHECK(atomic_load(&sides[0].losses) + atomic_load(&sides[1].losses) == 0);
    CHECK(atomic_load(&sides[0].gaps) + atomic_load(&sides[1].gaps) == 0);
    CHECK(sum(METRIC_link_frames_put) == (uint64_t)2 * lanes * FRAMES);
    printf("%u and %u shards: %u connections, %llu resent, %llu duplicates, %llu held\n", shards_0,
           shards_1, atomic_load(&sides[0].ups), (unsigned long long)sum(METRIC_link_frames_resent),
           (unsigned long long)sum(METRIC_link_duplicates),
           (unsigned long long)sum(METRIC_link_held));
    side_end(&sides[0]);
    tell(&sides[1], &sides[0], false);
    side_end(&sides[1]);
    for (unsigned i = 0; i < lanes; i++) {
        const struct traffic *const a = &sides[0].traffic[i], *const b = &sides[1].traffic[i];
        CHECK(a->taken == FRAMES && b->taken == FRAMES);
        CHECK(a->passing_taken > 0 && a->passing_taken <= b->passing_put);
        CHECK(b->passing_taken > 0 && b->passing_taken <= a->passing_put);
        if (cuttable[i] >= 0) {
            close(cuttable[i]);
            cuttable[i] = -1;
        }
    }
    CHECK(atomic_load(&sides[0].ups) == atomic_load(&sides[0].downs));
    CHECK(atomic_load(&sides[1].ups) == atomic_load(&sides[1].downs));
}

int main(void)
{
    log_set_level(LOG_ERROR);
    listen_on_loopback();
    between(1, 1);
    between(2, 1);
    between(2, 2);
    close(listener);
    return 0;
}
