/* SPDX-License-Identifier: Apache-2.0 */
/* When clients may be told to go; and that shards tell so many, and let nobody in. */
#include "broker/drain.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "broker/admin/health.h"
#include "broker/config/config.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"

static struct drain begun(uint32_t wait_s, uint32_t clients_per_second, uint32_t longest_s)
{
    const struct config_drain config = {
        .wait_s = wait_s, .clients_per_second = clients_per_second, .longest_s = longest_s};
    struct drain d = {.phase = DRAIN_NONE};
    drain_begin(&d, &config, 0, 1000);
    return d;
}

/* Without other nodes. */
static uint64_t turn(struct drain *d, uint64_t clients, uint64_t now_ms)
{
    const struct drain_sight sight = {.clients = clients, .admits = DRAIN_ANY};
    return drain_turn(d, &sight, now_ms);
}

Test(drain, without_clients_it_is_over_at_once)
{
    struct drain d = begun(0, 1, 3600);
    cr_expect_eq(turn(&d, 0, 1000), 0);
    cr_expect_eq(d.phase, DRAIN_OVER);
}

/* Also without clients: a load balancer may send one yet. */
Test(drain, whoever_looks_has_its_time)
{
    struct drain d = begun(5, 1000, 20);
    for (uint64_t now_ms = 1000; now_ms < 6000; now_ms += DRAIN_TURN_MS) {
        cr_expect_eq(turn(&d, 0, now_ms), 0);
        cr_assert_eq(d.phase, DRAIN_WAITING, "%zu", (size_t)now_ms);
    }
    cr_expect_eq(turn(&d, 7, 6000), 50);
    cr_expect_eq(d.phase, DRAIN_LEAVING);
}

static const struct {
    uint32_t clients, per_second, longest_s;
    uint64_t takes_ms; /* until the last may be told */
} crowds[] = {
    {1, 1000, 20, 0},      {50, 1000, 20, 0},       {51, 1000, 20, 50},
    {1000, 1000, 20, 950}, {10000, 1000, 20, 9950}, {100000, 1000, 20, 19950},
    {10, 1, 20, 9000},     {100, 1, 20, 19800},     {1000000, 1000000, 1, 950},
    {3, 1, 1, 700},
};

/* Everybody is told, by and by, and in longest_s. In no second are there more than it has to be. */
Test(drain, clients_are_told_by_and_by)
{
    for (size_t i = 0; i < sizeof crowds / sizeof crowds[0]; i++) {
        struct drain d = begun(0, crowds[i].per_second, crowds[i].longest_s);
        uint64_t left = crowds[i].clients, now_ms = 1000, last_ms = 0;
        while (d.phase != DRAIN_OVER) {
            const uint64_t more = turn(&d, left, now_ms);
            const uint64_t told = more < left ? more : left;
            last_ms = told > 0 ? now_ms : last_ms;
            left -= told;
            now_ms += DRAIN_TURN_MS;
            cr_assert_leq(now_ms, 1000 + crowds[i].longest_s * 1000 + 2 * DRAIN_TURN_MS);
        }
        cr_expect_eq(left, 0, "%u", crowds[i].clients);
        cr_expect_eq(last_ms - 1000, crowds[i].takes_ms, "%u: %zu ms", crowds[i].clients,
                     (size_t)last_ms - 1000);
    }
}

/* Who stays although told, or is not to be got at: those are for the end. */
Test(drain, it_is_over_after_the_longest_time)
{
    struct drain d = begun(0, 1000, 2);
    (void)turn(&d, 5, 1000);
    (void)turn(&d, 5, 2999);
    cr_expect_eq(d.phase, DRAIN_LEAVING);
    cr_expect_eq(turn(&d, 5, 3000), 0);
    cr_expect_eq(d.phase, DRAIN_OVER);
}

/* No more in a second than others take, though that is more or less meanwhile; who is left when the
 * time is over is for the end. */
Test(drain, others_are_not_given_more_than_they_take)
{
    struct drain d = begun(0, 1000, 20);
    struct drain_sight sight = {.clients = 100000, .admits = 100};
    uint64_t told = 0;
    for (uint64_t now_ms = 1000; now_ms < 11000; now_ms += DRAIN_TURN_MS) {
        told += drain_turn(&d, &sight, now_ms);
    }
    cr_expect_eq(told, 1000);
    cr_expect_eq(d.in_force, 100);
    sight.admits = 0; /* one is tried all the same */
    for (uint64_t now_ms = 11000; now_ms < 16000; now_ms += DRAIN_TURN_MS) {
        told += drain_turn(&d, &sight, now_ms);
    }
    cr_expect_eq(told, 1005);
    sight.admits = DRAIN_ANY;
    for (uint64_t now_ms = 16000; now_ms < 21000; now_ms += DRAIN_TURN_MS) {
        told += drain_turn(&d, &sight, now_ms);
    }
    cr_expect_eq(told, 1005 + 25000, "%zu: 5000 a second, as longest_s needs", (size_t)told);
    cr_expect_eq(drain_turn(&d, &sight, 21000), 0);
    cr_expect_eq(d.phase, DRAIN_OVER);
}

Test(drain, a_rate_of_its_own)
{
    const struct config_drain config = {.wait_s = 0, .clients_per_second = 1000, .longest_s = 100};
    struct drain d = {.phase = DRAIN_NONE};
    drain_begin(&d, &config, 20, 1000);
    uint64_t told = 0;
    for (uint64_t now_ms = 1000; now_ms < 2000; now_ms += DRAIN_TURN_MS) {
        told += turn(&d, 1000, now_ms);
    }
    cr_expect_eq(told, 20);
}

/* What was taken for other nodes is theirs before it is over; for some time. */
Test(drain, links_are_flushed)
{
    for (unsigned i = 0; i < 2; i++) {
        struct drain d = begun(0, 1000, 20);
        struct drain_sight sight = {.admits = DRAIN_ANY, .unacked_bytes = 7};
        cr_expect_eq(drain_turn(&d, &sight, 1000), 0);
        cr_expect_eq(drain_turn(&d, &sight, 1000 + DRAIN_FLUSH_MS - 1), 0);
        cr_expect_eq(d.phase, DRAIN_FLUSHING);
        sight.unacked_bytes = i == 0 ? 0 : 7;
        cr_expect_eq(drain_turn(&d, &sight, 1000 + DRAIN_FLUSH_MS - 1 + i), 0);
        cr_expect_eq(d.phase, DRAIN_OVER, "%u", i);
    }
}

/* And begins anew, as if there had been none. */
Test(drain, can_be_stopped)
{
    const struct config_drain config = {.wait_s = 1, .clients_per_second = 20, .longest_s = 20};
    struct drain d = begun(0, 1000, 20);
    cr_expect_eq(turn(&d, 100, 1000), 50);
    drain_stop(&d);
    cr_expect_eq(d.phase, DRAIN_NONE);
    cr_expect_eq(turn(&d, 50, 1050), 0);
    drain_begin(&d, &config, 0, 5000);
    cr_expect_eq(turn(&d, 50, 5999), 0);
    cr_expect_eq(turn(&d, 50, 6000), 1);
}

/* ---- shards */

/* They wake main when the last client has gone, by a signal that main waits for. */
static void block_wake_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, NODE_WAKE_SIGNAL);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

TestSuite(drain, .init = block_wake_signal);

static void allow(struct fake_node *n, int64_t clients)
{
    atomic_store(&n->node->drain, DRAIN_LEAVING);
    atomic_fetch_add(&n->node->farewells, clients);
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        fake_node_step(n, i);
    }
    fake_node_settle(n);
}

static unsigned goodbyes(struct fake_client *const clients[], unsigned count, uint8_t reason)
{
    unsigned told = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct got *const got = client_take(clients[i], MQTT_DISCONNECT);
        if (got != NULL) {
            cr_expect_eq(got->reason, reason);
            told++;
        }
    }
    return told;
}

Test(drain, all_shards_together_tell_as_many_as_are_allowed)
{
    struct fake_node *n = fake_node_create(3, SETTINGS());
    struct fake_client *clients[30];
    for (unsigned i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        clients[i] = client_connect(n, i % 3, id, TERMS());
    }
    allow(n, 0);
    cr_expect_eq(goodbyes(clients, 30, MQTT_REASON_SERVER_SHUTTING_DOWN), 0);
    cr_expect_eq(atomic_load(&n->node->deaf), 3);
    allow(n, 7);
    cr_expect_eq(goodbyes(clients, 30, MQTT_REASON_SERVER_SHUTTING_DOWN), 7);
    allow(n, 1);
    cr_expect_eq(goodbyes(clients, 30, MQTT_REASON_SERVER_SHUTTING_DOWN), 1);
    cr_expect_eq(atomic_load(&n->node->clients), 22);
    allow(n, 100);
    cr_expect_eq(goodbyes(clients, 30, MQTT_REASON_SERVER_SHUTTING_DOWN), 22);
    cr_expect_eq(fake_node_count(n, METRIC_clients_drained), 30);
    cr_expect_eq(atomic_load(&n->node->deaf), 3, "each counts itself once");
    fake_node_destroy(n);
}

/* They let clients in again, and who has not gone stays. */
Test(drain, shards_come_back)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *clients[4];
    for (unsigned i = 0; i < 4; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        clients[i] = client_connect(n, i % 2, id, TERMS());
    }
    atomic_store(&n->node->elsewhere, true);
    allow(n, 3);
    cr_expect_eq(goodbyes(clients, 4, MQTT_REASON_USE_ANOTHER_SERVER), 3);
    atomic_store(&n->node->farewells, 0);
    atomic_store(&n->node->drain, DRAIN_NONE);
    for (unsigned i = 0; i < 2; i++) {
        fake_node_step(n, i);
    }
    fake_node_settle(n);
    cr_expect_eq(atomic_load(&n->node->deaf), 0);
    cr_expect_eq(atomic_load(&n->node->clients), 1);
    (void)client_connect(n, 0, "late", TERMS());
    cr_expect_eq(atomic_load(&n->node->clients), 2);
    fake_node_destroy(n);
}

/* Of those who are too many only who loses nothing by it. */
Test(drain, who_is_shed)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *lasting = client_connect(n, 0, "lasting", TERMS(.session_expiry_s = 100));
    struct fake_client *busy = client_connect(n, 0, "busy", TERMS(.silent = true));
    struct fake_client *idle = client_connect(n, 0, "idle", TERMS());
    client_subscribe(busy, "a", 1);
    (void)client_say(idle, "a", "x", 1); /* which busy does not acknowledge */
    atomic_store(&n->node->sheds, 10);
    fake_node_step(n, 0);
    fake_node_settle(n);
    cr_expect_null(client_take(lasting, MQTT_DISCONNECT));
    cr_expect_null(client_take(busy, MQTT_DISCONNECT));
    const struct got *const got = client_take(idle, MQTT_DISCONNECT);
    cr_assert_not_null(got);
    cr_expect_eq(got->reason, MQTT_REASON_USE_ANOTHER_SERVER);
    cr_expect_eq(atomic_load(&n->node->sheds), 9);
    cr_expect_eq(fake_node_count(n, METRIC_clients_shed), 1);
    fake_node_destroy(n);
}

/* Those who stay see the wills of those who go, and so does a session that is away. */
Test(drain, wills_are_published)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *first = client_connect(
        n, 0, "first", TERMS(.will_topic = "w", .will_payload = "first", .will_qos = 1));
    struct fake_client *stays = client_connect(n, 0, "stays", TERMS());
    client_subscribe(stays, "w", 1);
    allow(n, 1);
    cr_expect_not_null(client_take(first, MQTT_DISCONNECT));
    cr_expect_str_eq(client_heard(stays), "w=first/1");
    fake_node_destroy(n);
}

Test(drain, who_is_on_the_way_in_is_refused)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct fake_client *late = client_open(n, 0);
    fake_node_settle(n);
    allow(n, 10);
    client_send_connect(late, "late", TERMS());
    const struct got *const got = client_take(late, MQTT_CONNACK);
    cr_assert_not_null(got);
    cr_expect_eq(got->reason, MQTT_REASON_SERVER_UNAVAILABLE);
    fake_node_destroy(n);
}

Test(drain, why_no_clients_are_to_come)
{
    char text[HEALTH_TEXT_BYTES];
    struct fake_node *n = fake_node_create(1, SETTINGS());
    atomic_store(&n->node->serving, true);
    cr_expect(health_is_ready(n->node, text));
    atomic_store(&n->node->drain, DRAIN_WAITING);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "draining: clients are to go elsewhere, and soon nobody is let in\n");
    atomic_store(&n->node->drain, DRAIN_LEAVING);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "draining: nobody is let in, and clients are sent away\n");
    atomic_store(&n->node->drain, DRAIN_FLUSHING);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "draining: other nodes are given what is still for them\n");
    atomic_store(&n->node->drain, DRAIN_OVER);
    cr_expect_not(health_is_ready(n->node, text));
    cr_expect_str_eq(text, "the broker is ending\n");
    fake_node_destroy(n);
}
