/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults: which of them a seed draws, and when they happen.
 *
 * A swarm: half of the kinds, at random, for each seed, since what is always there hides what only
 * happens without it (Groce et al., Swarm Testing). Each is tuned once for the run, so that there
 * are runs with little of it, and with much.
 */
#include <assert.h>

#include "tests/sim/world.h"

#define EVERY_LEAST_MS 200u
#define EVERY_MOST_MS  6000u
#define PAUSE_MS_MAX   60000u
#define DOWN_MS_MAX    40000u

static bool has(const struct sim *sim, enum sim_fault fault)
{
    return (sim->faults & fault) != 0;
}

void faults_draw(struct sim *sim)
{
    sim->faults = (uint32_t)random_next(&sim->random) & sim->suite->faults;
    if (has(sim, SIM_LOSS)) {
        sim->loss_per_10000 = 1 + random_below(&sim->random, 3333);
    }
    if (has(sim, SIM_DUPLICATION)) {
        sim->duplicated_per_10000 = 1 + random_below(&sim->random, 3000);
    }
    if (has(sim, SIM_REORDERING)) {
        sim->reordered_per_10000 = 1 + random_below(&sim->random, 2000);
    }
    if (has(sim, SIM_CORRUPTION)) {
        sim->corrupted_per_10000 = 1 + random_below(&sim->random, 500);
    }
    if (has(sim, SIM_SLOW_PATHS)) {
        sim->latency_most_us = 1000 + random_below(&sim->random, 150000);
    }
}

static void next_fault(struct sim *sim)
{
    queue_add(&sim->queue,
              (struct event){.kind = EVENT_FAULT,
                             .at_us = sim->now_us +
                                      sim_between(sim, EVERY_LEAST_MS, EVERY_MOST_MS) * US_PER_MS});
}

void faults_begin(struct sim *sim)
{
    if (has(sim, SIM_CLOCKS)) {
        for (unsigned i = 0; i < sim->count; i++) {
            sim->nodes[i]->clock_ppm = (int64_t)random_below(&sim->random, 20001) - 10000;
            sim->nodes[i]->wall_off_ms = (int64_t)random_below(&sim->random, 20001) - 10000;
        }
    }
    next_fault(sim);
}

/* ---- Cuts */

static void heal(struct sim *sim)
{
    for (size_t i = 0; i < (size_t)sim->count * sim->count; i++) {
        sim->cut[i] = 0;
    }
}

static void partition(struct sim *sim)
{
    uint64_t side = random_next(&sim->random); /* of node i: bit i % 64 */
    if (random_below(&sim->random, 3) == 0) {
        side = (uint64_t)1 << random_below(&sim->random, sim->count < 64 ? sim->count : 64);
    }
    sim_say(sim, "a partition: %llx", (unsigned long long)side);
    for (unsigned from = 0; from < sim->count; from++) {
        for (unsigned to = 0; to < sim->count; to++) {
            sim_cut(sim, from, to, ((side >> from % 64 ^ side >> to % 64) & 1) != 0);
        }
    }
}

static void one_way(struct sim *sim)
{
    const unsigned a = random_below(&sim->random, sim->count);
    const unsigned b = random_below(&sim->random, sim->count);
    const unsigned shape = random_below(&sim->random, 3);
    sim_say(sim, "one way is cut: %s %u, %u",
            shape == 0   ? "all from"
            : shape == 1 ? "all to"
                         : "from, to",
            a, b);
    for (unsigned i = 0; i < sim->count; i++) {
        if (i != a && shape == 0) {
            sim_cut(sim, a, i, true);
        } else if (i != a && shape == 1) {
            sim_cut(sim, i, a, true);
        }
    }
    if (shape == 2 && a != b) {
        sim_cut(sim, a, b, true);
    }
}

/* ---- Nodes */

/* One that runs; sim->count: by chance, none. */
static unsigned any_running(struct sim *sim)
{
    const unsigned i = random_below(&sim->random, sim->count);
    return sim->nodes[i]->running != NULL ? i : sim->count;
}

static void start_later(struct sim *sim, unsigned index, uint64_t ms)
{
    queue_add(&sim->queue, (struct event){.kind = EVENT_START,
                                          .node = index,
                                          .life = sim->nodes[index]->life,
                                          .at_us = sim->now_us + ms * US_PER_MS});
}

/* It has lost its volume: whoever comes back in its place is another one. */
static void wipe(struct sim *sim, unsigned index)
{
    struct sim_node *const node = sim->nodes[index];
    const uint64_t random[2] = {random_next(&sim->random), random_next(&sim->random)};
    sim_say(sim, "%u has lost its volume", index);
    disk_wipe(node);
    node->identity.node = node_uuid_of_random((const uint8_t *)random);
    node->identity.generation = 0;
}

static void change(struct sim *sim, unsigned index)
{
    if (has(sim, SIM_DISK_WIPE) && random_below(&sim->random, 3) == 0) {
        wipe(sim, index);
    }
    if (has(sim, SIM_NEW_ADDRESS) && random_below(&sim->random, 2) == 0) {
        sim_move(sim, index, random_below(&sim->random, 2) == 0);
    }
}

/* Another one comes to be where that one was a moment ago, before anybody knows. */
static void take_place(struct sim *sim, unsigned index)
{
    const unsigned other = any_running(sim);
    if (other < sim->count) {
        sim_say(sim, "%u takes the place of %u", other, index);
        sim_crash(sim, other);
        sim_swap(sim, index, other);
        sim_start(sim, other);
    }
}

static void crash(struct sim *sim)
{
    const unsigned i = any_running(sim);
    if (i == sim->count) {
        return;
    }
    sim_crash(sim, i);
    change(sim, i);
    if (has(sim, SIM_NEW_ADDRESS) && random_below(&sim->random, 4) == 0) {
        take_place(sim, i);
    }
    if (random_below(&sim->random, 5) > 0) {
        start_later(sim, i, sim_between(sim, 0, DOWN_MS_MAX));
    }
}

static void pause_one(struct sim *sim)
{
    const unsigned i = any_running(sim);
    if (i < sim->count) {
        sim_pause(sim, i, sim_between(sim, 100, sim_chance(sim, 3000) ? PAUSE_MS_MAX : 5000));
    }
}

/* Nodes of the other cluster come and go, where ours were, or would be. */
static void move_other(struct sim *sim)
{
    const unsigned i = sim->ours + random_below(&sim->random, sim->count - sim->ours);
    if (sim->nodes[i]->running != NULL) {
        sim_crash(sim, i);
    }
    sim_move(sim, i, true);
    sim_start(sim, i);
}

/* ---- What happens next */

static void one_fault(struct sim *sim, enum sim_fault fault)
{
    switch (fault) {
    case SIM_PARTITION:
        partition(sim);
        break;
    case SIM_ONE_WAY:
        one_way(sim);
        break;
    case SIM_CRASH:
        crash(sim);
        break;
    case SIM_PAUSE:
        pause_one(sim);
        break;
    case SIM_CLOCKS:
        sim->nodes[random_below(&sim->random, sim->count)]->wall_off_ms +=
            (int64_t)random_below(&sim->random, 120001) - 60000;
        break;
    case SIM_STREAM_CUT:
        streams_cut_one(sim);
        break;
    case SIM_STREAM_STALL:
        streams_stall_one(sim);
        break;
    case SIM_OTHER_CLUSTER:
        move_other(sim);
        break;
    default: /* happens by itself, or with a crash */
        break;
    }
}

void faults_happen(struct sim *sim)
{
    if (sim->calm) {
        return;
    }
    static const enum sim_fault happening[] = {SIM_PARTITION,    SIM_ONE_WAY,      SIM_CRASH,
                                               SIM_PAUSE,        SIM_CLOCKS,       SIM_STREAM_CUT,
                                               SIM_STREAM_STALL, SIM_OTHER_CLUSTER};
    const enum sim_fault fault =
        happening[random_below(&sim->random, sizeof happening / sizeof happening[0])];
    if (has(sim, SIM_PARTITION | SIM_ONE_WAY) && random_below(&sim->random, 3) == 0) {
        heal(sim);
    }
    if (has(sim, fault)) {
        one_fault(sim, fault);
    }
    next_fault(sim);
}

/* The network is good, clocks are slow or fast as they are, and who was to come back does. */
void faults_end(struct sim *sim)
{
    sim_say(sim, "the faults end");
    sim->calm = true;
    sim->loss_per_10000 = 0;
    sim->duplicated_per_10000 = 0;
    sim->reordered_per_10000 = 0;
    sim->corrupted_per_10000 = 0;
    sim->latency_most_us = 1000;
    heal(sim);
    unsigned living = 0;
    for (unsigned i = 0; i < sim->count; i++) {
        struct sim_node *const node = sim->nodes[i];
        if (node->paused) {
            queue_add(&sim->queue, (struct event){.kind = EVENT_RESUME,
                                                  .node = i,
                                                  .life = node->life,
                                                  .a = node->pause,
                                                  .at_us = sim->now_us});
        }
        living += i < sim->ours && node->running != NULL;
    }
    for (unsigned i = 0; i < sim->ours; i++) { /* at least one is there to converge */
        if (sim->nodes[i]->running == NULL && (living == 0 || random_below(&sim->random, 2) == 0)) {
            start_later(sim, i, 0);
            living++;
        }
    }
}
