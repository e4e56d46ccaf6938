/* SPDX-License-Identifier: Apache-2.0 */
/* When a node has more than its share; and that nodes which all do so come to rest. */
#include "broker/rebalance.h"

#include <criterion/criterion.h>

static const struct rebalance_conf conf = {.after_ms = 600000, .per_second = 50};

static struct rebalance_sight seen(uint64_t clients, unsigned others, uint64_t others_clients)
{
    return (struct rebalance_sight){.clients = clients,
                                    .others = others,
                                    .others_clients = others_clients,
                                    .admits = UINT64_MAX,
                                    .stable_ms = 600000};
}

/* How many are told in so many seconds, if nobody goes or comes. */
static uint64_t told(struct rebalance *r, const struct rebalance_conf *c,
                     const struct rebalance_sight *sight, unsigned seconds)
{
    static uint64_t now_ms = 1000;
    uint64_t sum = 0;
    for (unsigned i = 0; i < seconds; i++, now_ms += 1000) {
        sum += rebalance_turn(r, c, sight, now_ms);
    }
    return sum;
}

static const struct {
    const char *name;
    uint64_t clients;
    unsigned others;
    uint64_t others_clients, sheds; /* in the first round */
} rows[] = {
    {"alone", 1000, 0, 0, 0},
    {"at the mean", 100, 2, 200, 0},
    {"below", 50, 2, 250, 0},
    {"a little above", 115, 2, 185, 0},
    {"above", 117, 2, 183, 17},
    {"all of them", 300, 2, 0, 200},
    {"few, and too few are too many", 14, 2, 1, 0},
    {"few", 20, 1, 0, 10},
    {"clients that do not divide", 301, 2, 0, 200},
};

Test(rebalance, who_is_above_sheds_to_the_mean)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rebalance r = {.shedding = false};
        struct rebalance_sight sight =
            seen(rows[i].clients, rows[i].others, rows[i].others_clients);
        uint64_t sum = 0;
        for (uint64_t now_ms = 1000; now_ms < 30000; now_ms += 1000) {
            const uint64_t now = rebalance_turn(&r, &conf, &sight, now_ms);
            cr_assert_leq(now, 50);
            cr_assert(now == 0 || now_ms >= 11000, "it looks twice");
            sum += now;
            sight.clients -= now;
        }
        cr_expect_eq(sum, rows[i].sheds, "%s: %zu", rows[i].name, (size_t)sum);
    }
}

Test(rebalance, not_when_it_cannot_be_known)
{
    struct rebalance_sight sight = seen(1000, 2, 0);
    struct rebalance r = {.shedding = false};
    struct rebalance_conf off = conf;
    off.per_second = 0;
    cr_expect_eq(told(&r, &off, &sight, 60), 0, "it is off");
    sight.stable_ms = 599999;
    cr_expect_eq(told(&r, &conf, &sight, 60), 0, "somebody has just come or gone");
    sight.stable_ms = 600000;
    sight.silent = 1;
    cr_expect_eq(told(&r, &conf, &sight, 60), 0, "one has not said how many it has");
    sight.silent = 0;
    sight.leaving = true;
    cr_expect_eq(told(&r, &conf, &sight, 60), 0, "a drain is under way");
    sight.leaving = false;
    sight.admits = 0;
    cr_expect_eq(told(&r, &conf, &sight, 60), 0, "the others take none");
    sight.admits = 3;
    cr_expect_eq(told(&r, &conf, &sight, 10), 30, "or few");
}

/* A round ends when one comes or goes, and is not taken up where it was. */
Test(rebalance, a_node_that_comes_ends_a_round)
{
    struct rebalance r = {.shedding = false};
    struct rebalance_sight sight = seen(3000, 2, 0);
    cr_expect_eq(told(&r, &conf, &sight, 12), 100);
    sight.stable_ms = 0;
    cr_expect_eq(told(&r, &conf, &sight, 100), 0);
    sight.stable_ms = 600000;
    cr_expect_eq(told(&r, &conf, &sight, 10), 0);
    cr_expect_eq(told(&r, &conf, &sight, 1), 50);
}

/* Who goes, and comes straight back to this node, is not sent away for ever: the pauses grow. */
Test(rebalance, in_vain)
{
    struct rebalance r = {.shedding = false};
    const struct rebalance_sight sight = seen(150, 1, 50);
    const uint64_t in_an_hour = told(&r, &conf, &sight, 3600);
    cr_expect_leq(in_an_hour, 7 * 50, "%zu", (size_t)in_an_hour);
    cr_expect_geq(in_an_hour, 4 * 50, "%zu", (size_t)in_an_hour);
    const uint64_t in_a_day = told(&r, &conf, &sight, 86400);
    cr_expect_leq(in_a_day, 25 * 50, "%zu", (size_t)in_a_day);
}

/* ---- Nodes that all do so at once, with figures of each other that are 10 s old. */

#define NODES 5u
#define OLD_S 10u

struct world {
    unsigned nodes;
    bool round_robin; /* where who was sent away comes back: in turn, or where the fewest are */
    uint64_t clients[NODES], said[NODES];
    uint64_t away[3]; /* comes back in so many seconds */
    uint64_t sent_away;
    unsigned next;
};

static unsigned chosen(struct world *w)
{
    unsigned best = 0;
    if (w->round_robin) {
        return w->next++ % w->nodes;
    }
    for (unsigned i = 1; i < w->nodes; i++) {
        best = w->clients[i] < w->clients[best] ? i : best;
    }
    return best;
}

static void come_back(struct world *w)
{
    for (; w->away[0] > 0; w->away[0]--) {
        w->clients[chosen(w)]++;
    }
    w->away[0] = w->away[1];
    w->away[1] = w->away[2];
    w->away[2] = 0;
}

static void second(struct world *w, struct rebalance *of, unsigned s)
{
    for (unsigned i = 0; i < w->nodes; i++) {
        struct rebalance_sight sight = seen(w->clients[i], w->nodes - 1, 0);
        for (unsigned other = 0; other < w->nodes; other++) {
            sight.others_clients += other == i ? 0 : w->said[other];
        }
        const uint64_t now = rebalance_turn(&of[i], &conf, &sight, s * 1000ull);
        w->clients[i] -= now;
        w->away[2] += now;
        w->sent_away += now;
    }
    come_back(w);
    for (unsigned i = 0; i < w->nodes; i++) {
        w->said[i] = (s + i) % OLD_S == 0 ? w->clients[i] : w->said[i];
    }
}

static const struct {
    const char *name;
    unsigned nodes;
    bool round_robin;
    uint64_t clients[NODES];
} worlds[] = {
    {"all on one", 3, false, {900, 0, 0}},
    {"all on one, in turn", 3, true, {900, 0, 0}},
    {"after a rolling restart", 3, false, {500, 400, 0}},
    {"after a rolling restart, in turn", 3, true, {500, 400, 0}},
    {"two of five", 5, false, {5000, 4000, 100, 50, 0}},
    {"three of five, in turn", 5, true, {3000, 3000, 3000, 0, 0}},
    {"two", 2, true, {10000, 0}},
};

/* Within ten minutes of trouble being over all have the mean, more or less; from then on nobody is
 * sent away; and no more were than needed. */
Test(rebalance, nodes_come_to_rest)
{
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        struct world w = {.nodes = worlds[i].nodes, .round_robin = worlds[i].round_robin};
        struct rebalance of[NODES] = {{.shedding = false}};
        uint64_t sum = 0, needed = 0;
        for (unsigned n = 0; n < w.nodes; n++) {
            w.clients[n] = w.said[n] = worlds[i].clients[n];
            sum += w.clients[n];
        }
        const uint64_t mean = sum / w.nodes;
        for (unsigned n = 0; n < w.nodes; n++) {
            needed += w.clients[n] > mean ? w.clients[n] - mean : 0;
        }
        unsigned last_s = 0;
        for (unsigned s = 1; s < 7200; s++) {
            const uint64_t before = w.sent_away;
            second(&w, of, s);
            last_s = w.sent_away > before ? s : last_s;
        }
        for (unsigned n = 0; n < w.nodes; n++) {
            cr_expect_leq(w.clients[n] * 100, mean * 116 + 100, "%s: node %u has %zu",
                          worlds[i].name, n, (size_t)w.clients[n]);
            cr_expect_geq(w.clients[n] * 100 + 100, mean * 60, "%s: node %u has %zu",
                          worlds[i].name, n, (size_t)w.clients[n]);
        }
        /* In turn, of those who go some come back to a node that has too many. */
        cr_expect_leq(w.sent_away, needed * (w.round_robin ? 3 : 1) + 10, "%s: %zu of %zu",
                      worlds[i].name, (size_t)w.sent_away, (size_t)needed);
        cr_expect_leq(last_s, 900, "%s: %u s", worlds[i].name, last_s);
    }
}
