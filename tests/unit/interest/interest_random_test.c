/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interest_random_test: four nodes in a bad world. Connections break, at one end first; nodes are
 * started anew, are taken for dead, have no memory; indices take their time; what some had is kept
 * for a while. After a barrier no peer that was not named lacks the filter; when the faults end,
 * all views are equal to what there is, and nothing that was let go of is there.
 */
#include "cluster/interest/interest.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/interest/net.h"

#define WORLDS 120u
#define STEPS  1200u
#define WAITS  (1u << 20)

static uint64_t seed;

#define MUST(condition)                                                                            \
    cr_assert(condition, "%s; TEST_SEED=%llu", #condition, (unsigned long long)seed)

/* Of a wait: which node's, for which text. A text that was let go of since then may be gone. */
static struct {
    unsigned node, text, start; /* the how-manyth start of the node */
    uint64_t taken;             /* lets_go[node][text] when it began */
} waits[WAITS];
static uint64_t waits_count, reached_whole, reached_without;
static uint64_t lets_go[NET_NODES][NET_TEXTS];

/* Has been started anew, and the other's interest has not been whole since: it may lack anything,
 * and is not to be counted on by anybody. */
static bool is_new[NET_NODES][NET_NODES];

static void on_reached(struct net *n, unsigned node, uint64_t token, uint32_t without)
{
    MUST(token < waits_count && waits[token].node == node);
    if (waits[token].start != n->nodes[node].generation) {
        return;
    }
    reached_whole += without == 0;
    reached_without += without != 0;
    for (unsigned peer = 0; peer < n->count; peer++) {
        const struct interest_peer_figures f = interest_peer_figures(n->nodes[node].interest, peer);
        const bool named = (without >> peer & 1) != 0;
        MUST(!named || f.live);
        if (peer != node && f.live && !named && !is_new[peer][node] &&
            waits[token].taken == lets_go[node][waits[token].text]) {
            MUST(n->nodes[peer].index[node][waits[token].text] > 0);
        }
    }
}

static void take(struct net *n, unsigned node)
{
    const unsigned text = random_below(&n->random, NET_TEXTS);
    const uint64_t version = net_take(n, node, text);
    struct interest *const i = n->nodes[node].interest;
    if (!interest_is_reached(i, version) && waits_count < WAITS) {
        waits[waits_count].node = node;
        waits[waits_count].text = text;
        waits[waits_count].start = (unsigned)n->nodes[node].generation;
        waits[waits_count].taken = lets_go[node][text];
        const enum interest_err err = interest_wait(i, version, waits_count, n->now_ms);
        MUST(err == INTEREST_OK || err == INTEREST_FULL);
        waits_count += err == INTEREST_OK;
    }
}

static void put(struct net *n, unsigned node)
{
    const unsigned text = random_below(&n->random, NET_TEXTS);
    if (n->nodes[node].own[text] > 0) {
        net_put(n, node, text);
        lets_go[node][text]++;
    }
}

/* One end hears of it; the other one, by and by. */
static void break_one(struct net *n, unsigned a, unsigned b)
{
    if (n->nodes[a].up[b]) {
        /* What is under way to b may still come; what is under way to a never will. */
        n->nodes[a].up[b] = false;
        interest_peer_down(n->nodes[a].interest, b, n->now_ms);
        while (n->streams[b][a].count > 0) {
            struct net_stream *const s = &n->streams[b][a];
            free(s->frames[s->first].body);
            s->first = (s->first + 1) % NET_FRAMES;
            s->count--;
        }
    }
}

static void connect(struct net *n, unsigned a, unsigned b)
{
    net_down(n, a, b);
    net_up(n, a, b);
}

static void fault(struct net *n)
{
    struct random *const r = &n->random;
    const unsigned a = random_below(r, n->count);
    const unsigned b = (a + 1 + random_below(r, n->count - 1)) % n->count;
    switch (random_below(r, 11)) {
    case 0:
    case 1:
        break_one(n, a, b);
        break;
    case 2:
    case 3:
    case 4:
        connect(n, a, b);
        break;
    case 5:
        if (random_below(r, 4) == 0) {
            net_restart(n, a);
            for (unsigned peer = 0; peer < n->count; peer++) {
                is_new[a][peer] = true;
                lets_go[a][0]++;
            }
        }
        break;
    case 6:
        net_live(n, a, b, random_below(r, 3) > 0);
        break;
    case 7:
        n->nodes[a].no_memory = random_below(r, 4) == 0;
        break;
    case 8:
        n->mute[a] = random_below(r, 3) == 0;
        break;
    case 9:
        interest_peer_keep(n->nodes[a].interest, b, random_below(r, 2) == 0);
        break;
    default:
        n->room = random_below(r, 3) > 0 ? 1u << 20 : random_below(r, 400);
        break;
    }
}

/* Some of what there is to do, in any order. */
static void step(struct net *n)
{
    struct random *const r = &n->random;
    for (unsigned k = random_below(r, 8); k > 0; k--) {
        const unsigned node = random_below(r, n->count);
        if (random_below(r, 2) == 0) {
            take(n, node);
        } else {
            put(n, node);
        }
    }
    for (unsigned k = 0; k < 20; k++) {
        const unsigned a = random_below(r, n->count), b = random_below(r, n->count);
        switch (random_below(r, 4)) {
        case 0:
            net_pump(n, a, b);
            break;
        case 1:
            if (!n->mute[a]) {
                net_deliver(n, a, b);
            }
            break;
        case 2:
            net_index(n, a, random_below(r, 10));
            break;
        default:
            interest_turn(n->nodes[a].interest, n->now_ms);
        }
    }
    for (unsigned a = 0; a < n->count; a++) {
        for (unsigned b = 0; b < n->count; b++) {
            const struct interest_peer_figures f = interest_peer_figures(n->nodes[a].interest, b);
            if (f.state == VIEW_WHOLE && f.settled == f.version) {
                is_new[a][b] = false;
            }
        }
    }
}

static void heal(struct net *n)
{
    n->room = 1u << 20;
    n->late = false;
    for (unsigned a = 0; a < n->count; a++) {
        n->mute[a] = false;
        n->nodes[a].no_memory = false;
        for (unsigned b = 0; b < n->count; b++) {
            if (a != b) {
                net_live(n, a, b, true);
                interest_peer_keep(n->nodes[a].interest, b, false);
            }
            if (a < b) {
                connect(n, a, b);
            }
        }
    }
}

static void expect_equal(struct net *n)
{
    for (unsigned a = 0; a < n->count; a++) {
        const struct interest_figures own = interest_figures(n->nodes[a].interest);
        for (unsigned b = 0; b < n->count; b++) {
            if (a != b) {
                const struct interest_peer_figures f =
                    interest_peer_figures(n->nodes[b].interest, a);
                MUST(net_is_equal(n, b, a));
                MUST(f.state == VIEW_WHOLE);
                MUST(f.digest.sum == own.own_digest.sum);
                MUST(f.version == own.own_version && f.settled == f.version);
                MUST(f.items == own.own_items);
                MUST(interest_peer_figures(n->nodes[a].interest, b).acked == own.own_version);
            }
        }
        MUST(own.divergences == 0); /* no fault of this world is one of ours */
        MUST(own.waiting == 0);
    }
}

/* After some seconds both ends know that a connection is over. */
static void both_ends(struct net *n)
{
    for (unsigned a = 0; a < n->count; a++) {
        for (unsigned b = 0; b < n->count; b++) {
            if (n->nodes[a].up[b] != n->nodes[b].up[a]) {
                net_down(n, a, b);
            }
        }
    }
}

static void live(struct net *n)
{
    struct random *const r = &n->random;
    for (unsigned i = 0; i < STEPS; i++) {
        step(n);
        if (random_below(r, 20) == 0) {
            fault(n);
        }
        if (random_below(r, 500) == 0) {
            both_ends(n);
            n->now_ms += random_below(r, 70000);
        } else if (random_below(r, 5) == 0) {
            n->now_ms += random_below(r, 200);
        }
    }
}

Test(interest_random, is_equal_in_the_end, .timeout = 300)
{
    struct interest_conf conf = interest_conf_defaults();
    for (unsigned i = 0; i < WORLDS; i++) {
        conf.tail_ops_max = i % 2 == 0 ? 65536 : 16;
        conf.turn_steps = i % 3 == 0 ? 5 : 1000;
        conf.waits_max = 100;
        struct net *const n = net_create(NET_NODES, &conf);
        n->random.state += i;
        seed = n->random.seed;
        n->late = true;
        n->on_reached = on_reached;
        memset(is_new, 0, sizeof is_new);
        memset(lets_go, 0, sizeof lets_go);
        waits_count = 0;
        live(n);
        heal(n);
        net_run(n, 10000);
        expect_equal(n);
        net_destroy(n);
    }
    cr_expect_gt(reached_whole, 10u * WORLDS, "%lu", reached_whole);
    cr_expect_gt(reached_without, WORLDS, "%lu", reached_without);
}
