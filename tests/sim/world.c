/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_BEGIN_MS_MAX 1000000000u
#define EPOCH_MS           1800000000000u
#define PORT               7947u
#define START_SPREAD_MS    3000u
#define SEND_RESUMED_US    100u /* between two datagrams of an inbox */

/* ---- Small things */

void sim_mix(struct sim *sim, uint64_t value)
{
    sim->hash = (sim->hash ^ value) * 0x9e3779b97f4a7c15u;
    sim->hash ^= sim->hash >> 29;
}

static void mix_bytes(struct sim *sim, struct bytes bytes)
{
    uint64_t sum = bytes.len;
    for (size_t i = 0; i < bytes.len; i++) {
        sum = (sum ^ bytes.at[i]) * 0x100000001b3u;
    }
    sim_mix(sim, sum);
}

bool sim_chance(struct sim *sim, unsigned per_10000)
{
    return per_10000 > 0 && random_below(&sim->random, 10000) < per_10000;
}

uint64_t sim_between(struct sim *sim, uint64_t least, uint64_t most)
{
    assert(least <= most);

    return least + random_below(&sim->random, (uint32_t)(most - least + 1));
}

static void say(struct sim *sim, const char *format, va_list arguments)
{
    char line[400];
    vsnprintf(line, sizeof line, format, arguments);
    mix_bytes(sim, bytes_text(line));
    if (sim->tracing) {
        fprintf(stderr, "%10.3f  %s\n", (double)sim->now_us / 1e6, line);
    }
}

void sim_say(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(sim, format, arguments);
    va_end(arguments);
}

void sim_note(struct sim_node *node, const char *format, ...)
{
    char line[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sim_say(node->sim, "%u: %s", node->index, line);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    if (sim->failed) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sim->what, sizeof sim->what, format, arguments);
    va_end(arguments);
    sim->failed = true;
    sim_say(sim, "FAILED: %s", sim->what);
}

/* ---- Addresses: 10.x.y.z, one port */

static struct node_address address_of(uint32_t number)
{
    return (struct node_address){.ip = {[10] = 0xff,
                                        [11] = 0xff,
                                        [12] = 10,
                                        [13] = (uint8_t)(number >> 16),
                                        [14] = (uint8_t)(number >> 8),
                                        [15] = (uint8_t)number},
                                 .port = PORT};
}

static uint32_t number_of(const struct node_address *a)
{
    return (uint32_t)a->ip[13] << 16 | (uint32_t)a->ip[14] << 8 | a->ip[15];
}

int32_t sim_occupant(const struct sim *sim, const struct node_address *address)
{
    const uint32_t number = number_of(address);
    const struct node_address same = address_of(number);
    if (number >= sim->addresses || !node_address_equal(&same, address)) {
        return -1;
    }
    return sim->occupants[number];
}

static uint32_t new_address(struct sim *sim)
{
    sim->occupants = reallocarray(sim->occupants, sim->addresses + 1, sizeof *sim->occupants);
    assert(sim->occupants != NULL);
    sim->occupants[sim->addresses] = -1;
    return sim->addresses++;
}

/* One that somebody had, and nobody has; if there is none, a new one. */
static uint32_t used_address(struct sim *sim)
{
    uint32_t free_ones = 0, chosen = 0;
    for (uint32_t i = 0; i < sim->addresses; i++) {
        if (sim->occupants[i] < 0 && random_below(&sim->random, ++free_ones) == 0) {
            chosen = i;
        }
    }
    return free_ones > 0 ? chosen : new_address(sim);
}

static void settle(struct sim *sim, unsigned index, uint32_t address)
{
    sim->occupants[address] = (int32_t)index;
    sim->nodes[index]->address = address_of(address);
}

void sim_move(struct sim *sim, unsigned index, bool reuse)
{
    assert(sim->nodes[index]->running == NULL);

    sim->occupants[number_of(&sim->nodes[index]->address)] = -1;
    settle(sim, index, reuse ? used_address(sim) : new_address(sim));
}

void sim_swap(struct sim *sim, unsigned a, unsigned b)
{
    assert(sim->nodes[a]->running == NULL && sim->nodes[b]->running == NULL);

    const uint32_t at_a = number_of(&sim->nodes[a]->address);
    const uint32_t at_b = number_of(&sim->nodes[b]->address);
    settle(sim, a, at_b);
    settle(sim, b, at_a);
}

/* ---- Clocks */

uint64_t sim_time_ms(const struct sim *sim)
{
    return sim->now_us / US_PER_MS;
}

uint64_t sim_now_ms(const struct sim_node *node)
{
    const int64_t real = (int64_t)(node->sim->now_us - node->started_us);
    const int64_t drift = real * node->clock_ppm / 1000000; /* by each us, or it goes back */
    return node->clock_begin_ms + (uint64_t)(real + drift) / US_PER_MS;
}

uint64_t sim_wall_ms(const struct sim_node *node)
{
    return (uint64_t)((int64_t)(EPOCH_MS + sim_time_ms(node->sim)) + node->wall_off_ms);
}

/* When that node's clock will show at_ms, not before now. */
static uint64_t world_time(const struct sim_node *node, uint64_t at_ms)
{
    const uint64_t now = sim_now_ms(node);
    if (at_ms <= now) {
        return node->sim->now_us;
    }
    const uint64_t left_us = (at_ms - now) * US_PER_MS;
    const int64_t drift = (int64_t)(left_us / 1000) * node->clock_ppm / 1000;
    return node->sim->now_us + (uint64_t)((int64_t)left_us - drift) + 2 * US_PER_MS / 10;
}

void sim_set_timer(struct sim_node *node, uint64_t at_ms)
{
    node->timer++;
    node->timer_due = false;
    if (at_ms != UINT64_MAX) {
        queue_add(&node->sim->queue, (struct event){.kind = EVENT_TIMER,
                                                    .node = node->index,
                                                    .life = node->life,
                                                    .a = node->timer,
                                                    .at_us = world_time(node, at_ms)});
    }
}

/* ---- Datagrams */

static uint64_t latency(struct sim *sim)
{
    return sim_between(sim, sim->latency_least_us, sim->latency_most_us);
}

static void launch(struct sim_node *node, const struct node_address *to, struct bytes bytes)
{
    struct sim *const sim = node->sim;
    struct event e = {.kind = EVENT_DATAGRAM,
                      .node = node->index,
                      .from = node->address,
                      .to = *to,
                      .len = bytes.len,
                      .at_us = sim->now_us + latency(sim)};
    if (sim_chance(sim, sim->reordered_per_10000)) {
        e.at_us += sim_between(sim, 0, 3000 * US_PER_MS);
    }
    e.bytes = malloc(bytes.len > 0 ? bytes.len : 1);
    assert(e.bytes != NULL);
    memcpy(e.bytes, bytes.at, bytes.len);
    if (bytes.len > 0 && sim_chance(sim, sim->corrupted_per_10000)) {
        e.bytes[random_below(&sim->random, (uint32_t)bytes.len)] ^=
            (uint8_t)(1u << random_below(&sim->random, 8));
    }
    queue_add(&sim->queue, e);
}

void sim_send(struct sim_node *node, const struct node_address *to, struct bytes bytes)
{
    struct sim *const sim = node->sim;
    node->bytes_sent += bytes.len;
    node->messages_sent++;
    mix_bytes(sim, bytes);
    if (bytes.len > sim->suite->datagram_bytes_max) {
        sim_fail(sim, "node %u sends a datagram of %zu bytes", node->index, bytes.len);
    }
    if (sim_chance(sim, sim->loss_per_10000)) {
        return;
    }
    launch(node, to, bytes);
    if (sim_chance(sim, sim->duplicated_per_10000)) {
        launch(node, to, bytes);
    }
}

static void hand_over(struct sim_node *node, struct event *e)
{
    const struct sim_module *const module = node->sim->suite->module;
    if (module->datagram != NULL) {
        module->datagram(node->running, &e->from, bytes_of(e->bytes, e->len));
    }
}

/* true: the event's bytes have been taken. */
static bool datagram(struct sim *sim, struct event *e)
{
    const int32_t there = sim_occupant(sim, &e->to);
    if (there < 0 || sim->cut[e->node * sim->count + (unsigned)there] != 0) {
        return false;
    }
    struct sim_node *const node = sim->nodes[there];
    if (node->running == NULL) {
        return false;
    }
    if (!node->paused) {
        hand_over(node, e);
        return false;
    }
    if (node->inbox_count == INBOX_MAX) {
        return false;
    }
    node->inbox[node->inbox_count++] = *e;
    return true;
}

/* ---- Nodes live and die */

bool sim_is_alive(const struct sim *sim, unsigned node, unsigned life)
{
    return sim->nodes[node]->life == life && sim->nodes[node]->running != NULL;
}

static void inbox_clear(struct sim_node *node)
{
    for (size_t i = 0; i < node->inbox_count; i++) {
        free(node->inbox[i].bytes);
    }
    node->inbox_count = 0;
}

void sim_start(struct sim *sim, unsigned index)
{
    struct sim_node *const node = sim->nodes[index];
    assert(node->running == NULL);

    node->identity.generation++;
    node->life++;
    node->started_us = sim->now_us;
    node->clock_begin_ms = random_below(&sim->random, CLOCK_BEGIN_MS_MAX);
    node->paused = false;
    sim_say(sim, "%u starts, generation %llu", index,
            (unsigned long long)node->identity.generation);
    node->running = sim->suite->module->create(node);
    assert(node->running != NULL);
}

void sim_crash(struct sim *sim, unsigned index)
{
    struct sim_node *const node = sim->nodes[index];
    assert(node->running != NULL);

    sim_say(sim, "%u dies", index);
    void *const running = node->running;
    node->running = NULL;
    node->life++; /* what destroy() asks for is for nobody */
    node->timer++;
    node->stopped_us = sim->now_us;
    node->paused = false;
    inbox_clear(node);
    streams_node_died(sim, index);
    disk_crash(node);
    sim->suite->module->destroy(running);
}

void sim_pause(struct sim *sim, unsigned index, uint64_t ms)
{
    struct sim_node *const node = sim->nodes[index];
    assert(node->running != NULL);

    if (node->paused) {
        return;
    }
    sim_say(sim, "%u stands still for %llu ms", index, (unsigned long long)ms);
    node->paused = true;
    queue_add(&sim->queue, (struct event){.kind = EVENT_RESUME,
                                          .node = index,
                                          .life = node->life,
                                          .a = ++node->pause,
                                          .at_us = sim->now_us + ms * US_PER_MS});
}

static void resume(struct sim *sim, struct sim_node *node)
{
    sim_say(sim, "%u goes on", node->index);
    node->paused = false;
    node->resumed_us = sim->now_us;
    for (size_t i = 0; i < node->inbox_count; i++) {
        /* Once more through the queue: the module may ask for something in between. */
        node->inbox[i].at_us = sim->now_us + (i + 1) * SEND_RESUMED_US;
        queue_add(&sim->queue, node->inbox[i]);
    }
    node->inbox_count = 0;
    if (node->timer_due) {
        node->timer_due = false;
        sim->suite->module->timer(node->running);
    }
}

static void timer(struct sim *sim, const struct event *e)
{
    struct sim_node *const node = sim->nodes[e->node];
    if (!sim_is_alive(sim, e->node, e->life) || node->timer != e->a) {
        return;
    }
    if (node->paused) {
        node->timer_due = true;
    } else {
        sim->suite->module->timer(node->running);
    }
}

/* ---- A world */

static void make_node(struct sim *sim, unsigned index, bool ours, struct cluster_uuid cluster)
{
    struct sim_node *const node = calloc(1, sizeof *node);
    assert(node != NULL);
    uint64_t random[2] = {random_next(&sim->random), random_next(&sim->random)};
    *node = (struct sim_node){.sim = sim, .index = index, .ours = ours};
    node->identity.cluster = cluster;
    node->identity.node = node_uuid_of_random((const uint8_t *)random);
    char name[NODE_NAME_MAX];
    const int len = snprintf(name, sizeof name, "%s-%u", ours ? "node" : "other", index);
    node->identity.name_len = (uint8_t)len;
    memcpy(node->identity.name, name, (size_t)len);
    sim->nodes[index] = node;
    settle(sim, index, new_address(sim));
}

static void make_nodes(struct sim *sim, unsigned ours, unsigned others)
{
    sim->ours = ours;
    sim->count = ours + others;
    sim->nodes = calloc(sim->count, sizeof sim->nodes[0]);
    sim->cut = calloc(sim->count, sim->count);
    assert(sim->nodes != NULL);
    assert(sim->cut != NULL);
    uint64_t random[4];
    for (size_t i = 0; i < 4; i++) {
        random[i] = random_next(&sim->random);
    }
    const struct cluster_uuid us = cluster_uuid_of_random((const uint8_t *)random);
    const struct cluster_uuid them = cluster_uuid_of_random((const uint8_t *)(random + 2));
    for (unsigned i = 0; i < sim->count; i++) {
        make_node(sim, i, i < ours, i < ours ? us : them);
    }
}

struct sim *sim_create(const struct sim_suite *suite, const struct sim_conf *conf)
{
    struct sim *sim = calloc(1, sizeof *sim);
    assert(sim != NULL);
    sim->suite = suite;
    sim->random = (struct random){.seed = conf->seed, .state = conf->seed};
    sim->tracing = conf->trace;
    sim->latency_least_us = 100;
    sim->latency_most_us = 1000;
    if (!conf->no_faults) {
        faults_draw(sim);
    }
    const unsigned nodes = conf->nodes > 0
                               ? conf->nodes
                               : (unsigned)sim_between(sim, suite->nodes_min, suite->nodes_max);
    assert(nodes > 0 && nodes <= SIM_NODES_MAX);
    make_nodes(sim, nodes,
               (sim->faults & SIM_OTHER_CLUSTER) != 0 ? 1 + random_below(&sim->random, 3) : 0);
    const uint64_t spread = conf->start_spread_ms > 0 ? conf->start_spread_ms : START_SPREAD_MS;
    for (unsigned i = 0; i < sim->count; i++) {
        queue_add(&sim->queue,
                  (struct event){.kind = EVENT_START,
                                 .node = i,
                                 .at_us = i == 0 ? 0 : sim_between(sim, 0, spread) * US_PER_MS});
    }
    if (suite->begin != NULL) {
        sim->state = suite->begin(sim);
    }
    if (suite->check_every_ms > 0) {
        queue_add(&sim->queue,
                  (struct event){.kind = EVENT_CHECK, .at_us = suite->check_every_ms * US_PER_MS});
    }
    if (!conf->no_faults) {
        faults_begin(sim);
    }
    return sim;
}

void sim_destroy(struct sim *sim)
{
    for (unsigned i = 0; i < sim->count; i++) {
        if (sim->nodes[i]->running != NULL) {
            sim_crash(sim, i);
        }
    }
    if (sim->suite->end != NULL) {
        sim->suite->end(sim);
    }
    for (unsigned i = 0; i < sim->count; i++) {
        disk_wipe(sim->nodes[i]);
        free(sim->nodes[i]);
    }
    streams_fini(sim);
    queue_fini(&sim->queue);
    free(sim->nodes);
    free(sim->cut);
    free(sim->occupants);
    free(sim);
}

static void check(struct sim *sim)
{
    const struct sim_suite *const suite = sim->suite;
    if (suite->act != NULL) {
        suite->act(sim);
    }
    if (suite->check != NULL) {
        suite->check(sim);
    }
    queue_add(&sim->queue,
              (struct event){.kind = EVENT_CHECK,
                             .at_us = sim->now_us + suite->check_every_ms * US_PER_MS});
}

static void happen(struct sim *sim, struct event *e)
{
    sim->now_us = e->at_us;
    sim->events++;
    sim_mix(sim, e->at_us * 16 + e->kind);
    sim_mix(sim, (uint64_t)e->node << 32 ^ e->a);
    bool taken = false;
    switch (e->kind) {
    case EVENT_START:
        if (sim->nodes[e->node]->running == NULL && sim->nodes[e->node]->life == e->life) {
            sim_start(sim, e->node);
        }
        break;
    case EVENT_TIMER:
        timer(sim, e);
        break;
    case EVENT_DATAGRAM:
        taken = datagram(sim, e);
        break;
    case EVENT_RESUME:
        if (sim_is_alive(sim, e->node, e->life) && sim->nodes[e->node]->pause == e->a &&
            sim->nodes[e->node]->paused) {
            resume(sim, sim->nodes[e->node]);
        }
        break;
    case EVENT_CONNECT:
    case EVENT_CONNECTED:
    case EVENT_STREAM:
    case EVENT_RESET:
        stream_event(sim, e);
        break;
    case EVENT_SYNCED:
        disk_synced(sim->nodes[e->node], e);
        break;
    case EVENT_FAULT:
        faults_happen(sim);
        break;
    case EVENT_CHECK:
        check(sim);
        break;
    }
    if (!taken) {
        free(e->bytes);
    }
}

bool sim_run_to(struct sim *sim, uint64_t ms)
{
    struct event e;
    while (!sim->failed && sim->queue.count > 0 && sim->queue.heap[0].at_us <= ms * US_PER_MS &&
           queue_take(&sim->queue, &e)) {
        happen(sim, &e);
    }
    if (!sim->failed) {
        sim->now_us = ms * US_PER_MS;
    }
    return !sim->failed;
}

struct sim_result sim_run(const struct sim_suite *suite, uint64_t seed, bool trace)
{
    const struct sim_conf conf = {.seed = seed, .trace = trace};
    struct sim *sim = sim_create(suite, &conf);
    struct sim_result result = {.faults = sim->faults, .nodes = sim->ours};
    uint64_t at = suite->safety_ms;
    if (sim_run_to(sim, at)) {
        faults_end(sim);
        const uint64_t end = at + suite->liveness_ms;
        while (sim_run_to(sim, at) && !suite->is_converged(sim) && at < end) {
            at += suite->check_every_ms;
        }
        if (!sim->failed && at >= end) {
            sim_fail(sim, "it has not converged %llu ms after the end of the faults",
                     (unsigned long long)suite->liveness_ms);
        }
        result.converged_ms = at - suite->safety_ms;
    }
    result.failed = sim->failed;
    memcpy(result.what, sim->what, sizeof result.what);
    result.at_ms = sim_time_ms(sim);
    result.hash = sim->hash;
    result.events = sim->events;
    sim_destroy(sim);
    return result;
}

/* ---- What modules and suites ask */

const struct identity *sim_identity(const struct sim_node *node)
{
    return &node->identity;
}

struct node_address sim_address(const struct sim_node *node)
{
    return node->address;
}

uint64_t sim_random(struct sim_node *node)
{
    return random_next(&node->sim->random);
}

struct sim *sim_of(const struct sim_node *node)
{
    return node->sim;
}

void *sim_suite_state(const struct sim *sim)
{
    return sim->state;
}

unsigned sim_nodes(const struct sim *sim)
{
    return sim->count;
}

struct sim_node *sim_node(struct sim *sim, unsigned index)
{
    assert(index < sim->count);

    return sim->nodes[index];
}

unsigned sim_index(const struct sim_node *node)
{
    return node->index;
}

void *sim_running(const struct sim_node *node)
{
    return node->running;
}

bool sim_is_paused(const struct sim_node *node)
{
    return node->paused;
}

bool sim_is_ours(const struct sim_node *node)
{
    return node->ours;
}

uint64_t sim_started_ms(const struct sim_node *node)
{
    return node->started_us / US_PER_MS;
}

uint64_t sim_stopped_ms(const struct sim_node *node)
{
    return node->stopped_us / US_PER_MS;
}

uint64_t sim_paused_ms(const struct sim_node *node)
{
    return node->resumed_us / US_PER_MS;
}

uint32_t sim_faults(const struct sim *sim)
{
    return sim->faults;
}

bool sim_is_calm(const struct sim *sim)
{
    return sim->calm;
}

struct random *sim_world_random(struct sim *sim)
{
    return &sim->random;
}

void sim_set_loss(struct sim *sim, unsigned per_10000)
{
    sim->loss_per_10000 = per_10000;
}

void sim_set_latency(struct sim *sim, unsigned least_us, unsigned most_us)
{
    assert(least_us <= most_us);

    sim->latency_least_us = least_us;
    sim->latency_most_us = most_us;
}

void sim_cut(struct sim *sim, unsigned from, unsigned to, bool cut)
{
    assert(from < sim->count && to < sim->count);

    sim->cut[from * sim->count + to] = cut;
}

uint64_t sim_bytes_sent(const struct sim_node *node)
{
    return node->bytes_sent;
}

uint64_t sim_messages_sent(const struct sim_node *node)
{
    return node->messages_sent;
}
