/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/fake_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/config/config.h"
#include "broker/config/options.h"
#include "broker/conn/owed.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/groups/groups.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/meta/meta_run.h"
#include "broker/ownership/ownership.h"
#include "broker/partitions/partitions.h"
#include "broker/peers/peers.h"
#include "broker/relay/relay.h"
#include "broker/remote/remote.h"
#include "broker/session/will.h"
#include "broker/shard/loop.h"
#include "broker/shard/mailbox.h"
#include "broker/shard/quiescence.h"
#include "broker/shard/shard.h"
#include "broker/shard/wheel.h"
#include "broker/store/capture.h"
#include "broker/store/store.h"
#include "broker/sys_topics.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"

#define TURNS_MAX      1000000u /* more than that is a shard that never rests */
#define CLOCK_FIRST_MS 1000000u
#define MEMORY_MAX     (1ull << 30) /* where none is set: main asks the machine */

static uint64_t clock_now_ms;
static unsigned nodes_there;        /* of a cluster: they have messages in common memory */
static struct io_fake_net *net_now; /* of the node being made */

static uint64_t fake_clock(void)
{
    return clock_now_ms;
}

static uint64_t fake_clock_us(void)
{
    return clock_now_ms * 1000;
}

uint64_t fake_node_now_ms(void)
{
    return clock_now_ms;
}

/* ---- configuration */

static struct config *load(const char *const settings[])
{
    /* The broker's own messages only where they are asked for; and a recorder that is quickly made,
     * as each test makes nodes. */
    struct options_setting set[64] = {
        {.flag = "--set", .path = "mqtt.sys_interval_s", .path_len = 19, .value = "0"},
        {.flag = "--set", .path = "recorder.bytes_per_shard", .path_len = 24, .value = "65536"}};
    const size_t ours = 2;
    struct options options = {.settings = set, .settings_count = ours};
    for (; settings[options.settings_count - ours] != NULL; options.settings_count++) {
        const char *text = settings[options.settings_count - ours];
        const char *equals = strchr(text, '=');
        assert(equals != NULL && options.settings_count < sizeof set / sizeof set[0]);
        set[options.settings_count] = (struct options_setting){.flag = "--set",
                                                               .path = text,
                                                               .path_len = (size_t)(equals - text),
                                                               .value = equals + 1};
    }
    struct config_error error = {0};
    struct config *config;
    const struct config_sources sources = {.options = &options};
    if (config_load(&config, &sources, &error) != CONFIG_OK) {
        fputs(error.text, stderr);
        abort();
    }
    if (config->limits.message_memory_max == 0) {
        config->limits.message_memory_max = MEMORY_MAX;
    }
    return config;
}

static void free_config(void *config)
{
    config_destroy(config);
}

void fake_node_configure(struct fake_node *n, const char *const settings[])
{
    struct config *former = n->config;
    n->config = load(settings);
    atomic_store_explicit(&n->node->config, n->config, memory_order_release);
    after_quiescent(n->node->quiescence, n->node->shard_count, free_config, former);
}

void fake_node_reload(struct fake_node *n, const char *const settings[])
{
    struct quiescence *q = n->node->quiescence;
    const unsigned main_thread = n->node->shard_count;
    fake_node_configure(n, settings);
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        fake_node_step(n, i);
    }
    quiescence_online(q, main_thread);
    quiescence_pass(q, main_thread);
    quiescence_offline(q, main_thread);
    fake_node_settle(n);
}

/* ---- the node */

static enum io_err create_io(struct io **out, const struct io_handlers *handlers, void *context,
                             int *sys_errno) /* NOLINT(readability-non-const-parameter) */
{
    (void)sys_errno;
    *out = io_fake_create(net_now, handlers, context);
    return IO_OK;
}

/* The same choices in every run. */
static void seed(struct shard *s)
{
    for (unsigned i = 0; i < 4; i++) {
        s->random_state[i] = 0x9e3779b97f4a7c15u * (4u * s->id + i + 1);
    }
}

void fake_node_set_clock(void)
{
    clock_now_ms = CLOCK_FIRST_MS;
}

struct fake_node *fake_node_create(unsigned shards, const char *const settings[])
{
    fake_node_set_clock();
    return fake_node_create_again(shards, settings);
}

struct fake_node *fake_node_create_again(unsigned shards, const char *const settings[])
{
    struct fake_node *n = calloc(1, sizeof *n);
    assert(n != NULL);
    nodes_there++;
    log_set_level(LOG_ERROR);
    n->net = net_now = io_fake_net_create();
    n->config = load(settings);
    const struct node_conf conf = {.shard_count = shards,
                                   .clock_ms = fake_clock,
                                   .clock_us = fake_clock_us,
                                   .config = n->config,
                                   .create_io = create_io};
    int sys_errno = 0;
    const enum io_err err = node_create(&n->node, &conf, &sys_errno);
    assert(err == IO_OK);
    for (unsigned i = 0; i < shards; i++) {
        struct shard *s = n->node->shards[i];
        seed(s);
        shard_listen(s, 0, -1);
    }
    return n;
}

void fake_node_shrink_mail(struct fake_node *n, size_t bytes)
{
    struct node *node = n->node;
    for (unsigned to = 0; to < node->shard_count; to++) {
        for (unsigned from = 0; from < node->shard_count; from++) {
            if (from != to) {
                struct shard *receiver = node->shards[to];
                assert(mailbox_is_empty(receiver->post.in[from]));
                mailbox_destroy(receiver->post.in[from]);
                receiver->post.in[from] = mailbox_create(bytes);
                assert(receiver->post.in[from] != NULL);
                post_connect(node->shards[from], receiver);
            }
        }
    }
}

static bool all_gone(const struct fake_node *n)
{
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        if (!loop_is_finished(n->node->shards[i])) {
            return false;
        }
    }
    return true;
}

static void clients_free(struct fake_node *n)
{
    while (n->clients != NULL) {
        struct fake_client *c = n->clients;
        n->clients = c->next;
        free(c->in);
        free(c->got);
        free(c);
    }
}

void fake_node_end(struct fake_node *n)
{
    atomic_store_explicit(&n->node->ending, true, memory_order_release);
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        fake_node_step(n, i);
    }
    fake_node_settle(n);
    if (!all_gone(n)) {
        fake_node_advance(n, 3100); /* who does not go is left behind */
    }
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        owed_abandon(fake_node_enter(n, i)); /* as the loop does then */
        will_abandon(n->node->shards[i]);
        peers_cut_off(n->node->shards[i]);
    }
    fake_node_settle(n);
    assert(all_gone(n));
}

void fake_node_destroy(struct fake_node *n)
{
    fake_node_end(n);
    node_destroy(n->node);
    fake_node_free(n);
    assert(nodes_there > 0 || message_memory() == 0);
}

void fake_node_free(struct fake_node *n)
{
    io_fake_net_destroy(n->net);
    config_destroy(n->config);
    clients_free(n);
    free(n);
    nodes_there--;
}

/* ---- turns and time */

void fake_node_step(struct fake_node *n, unsigned shard)
{
    struct shard *s = n->node->shards[shard];
    shard_self = s;
    io_turn(s->io, 0);
    loop_work(s);
    shard_self = NULL;
    partitions_work(n->node);
    if (n->disk != NULL) {
        fake_disk_wait(n->disk);
    }
}

/* Its journal or its checkpoint goes on with the next turn. */
static bool is_at_disk(const struct shard *s)
{
    return s->store != NULL &&
           (store_sleep_ms(s) == 0 || capture_sleep_ms(s) == 0 || fake_disk_has_news(s));
}

/* It has something to do as soon as there is room elsewhere; a disk that is held makes none. */
static bool is_congested(const struct fake_node *n, const struct shard *s)
{
    const bool held = n->disk != NULL && n->disk->held;
    return s->post.overflowed > 0 || (s->disk_congested && !held);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool fake_node_is_busy(const struct fake_node *n)
{
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        const struct shard *s = n->node->shards[i];
        if (io_fake_has_pending(s->io) || !post_is_empty(s) || s->due_first != NULL ||
            s->ready.first != NULL || s->dirty.first != NULL || is_congested(n, s) ||
            is_at_disk(s) || sys_topics_are_waiting(s) || peers_are_waiting(s) ||
            (n->node->peers != NULL &&
             least(ownership_next_ms(s), relay_next_ms(s)) <= clock_now_ms) ||
            least(groups_next_ms(s), partitions_next_ms(s)) == 0 ||
            meta_run_next_ms(s) <= clock_now_ms || dispatch_run_next_ms(s) == 0) {
            return true;
        }
    }
    return partitions_work_ms(n->node) <= clock_now_ms;
}

void fake_node_settle(struct fake_node *n)
{
    for (unsigned turns = 0; fake_node_is_busy(n); turns++) {
        assert(turns < TURNS_MAX);
        for (unsigned i = 0; i < n->node->shard_count; i++) {
            fake_node_step(n, i);
        }
    }
}

static uint64_t later_ms(uint64_t ms)
{
    return ms == UINT64_MAX ? UINT64_MAX : clock_now_ms + ms;
}

void fake_node_set_now(uint64_t now_ms)
{
    assert(now_ms >= clock_now_ms);
    clock_now_ms = now_ms;
}

uint64_t fake_node_next_ms(const struct fake_node *n)
{
    uint64_t next_ms = partitions_work_ms(n->node);
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        const struct shard *s = n->node->shards[i];
        next_ms = least(next_ms, wheel_next_ms(s->wheel));
        next_ms = least(next_ms, peers_next_ms(s));
        next_ms = least(next_ms, remote_next_ms(s));
        next_ms = least(next_ms, ownership_next_ms(s));
        next_ms = least(next_ms, relay_next_ms(s));
        next_ms = least(next_ms, groups_next_ms(s));
        next_ms = least(next_ms, meta_run_next_ms(s));
        next_ms = least(next_ms, dispatch_run_next_ms(s));
        next_ms = least(next_ms, later_ms(store_sleep_ms(s)));
        next_ms = least(next_ms, later_ms(capture_sleep_ms(s)));
    }
    return next_ms;
}

void fake_node_advance(struct fake_node *n, uint64_t ms)
{
    const uint64_t end_ms = clock_now_ms + ms;
    while (clock_now_ms < end_ms) {
        const uint64_t next_ms = fake_node_next_ms(n);
        const uint64_t least_ms = clock_now_ms + 1; /* a timer of now fires in the next turn */
        clock_now_ms = next_ms > end_ms ? end_ms : next_ms > least_ms ? next_ms : least_ms;
        for (unsigned i = 0; i < n->node->shard_count; i++) {
            fake_node_step(n, i);
        }
        fake_node_settle(n);
    }
}

/* ---- looking */

uint64_t fake_node_count(const struct fake_node *n, enum metric metric)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        sum += metrics_read(&n->node->shards[i]->metrics, metric);
    }
    return sum;
}

uint64_t fake_node_drops(const struct fake_node *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < METRICS; i++) {
        if (strncmp(metrics_name((enum metric)i), "drop_", 5) == 0) {
            sum += fake_node_count(n, (enum metric)i);
        }
    }
    return sum;
}

unsigned fake_node_home(const struct fake_node *n, const char *client_id)
{
    return node_shard_of(n->node, XXH3_64bits(client_id, strlen(client_id)));
}

struct shard *fake_node_enter(struct fake_node *n, unsigned shard)
{
    shard_self = n->node->shards[shard];
    shard_enter(shard_self);
    return shard_self;
}
