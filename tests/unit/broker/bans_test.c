/* SPDX-License-Identifier: Apache-2.0 */
/* Who is banned, by the list or for a while, at whole nodes. */
#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "broker/conn/conn.h"
#include "broker/guard/ban_list.h"
#include "broker/shard/quiescence.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_node.h"

#define FLAPPING "auth.flapping_connects_per_minute=3", "auth.flapping_ban_s=60"

static void release(void *list)
{
    ban_list_destroy(list);
}

/* As main does, when the file has changed. */
static void ban(struct fake_node *n, const char *text)
{
    struct ban_list *fresh = NULL;
    struct config_error error = {0};
    const struct ban_clock clock = {.wall_s = 0, .now_ms = fake_node_now_ms()};
    cr_assert_eq(ban_list_parse(&fresh, "bans", bytes_text(text), 1, clock, &error), BAN_LIST_OK,
                 "%s", error.text);
    struct ban_list *const former = atomic_exchange(&n->node->bans, fresh);
    atomic_fetch_add(&n->node->bans_generation, 1);
    if (former != NULL) {
        after_quiescent(n->node->quiescence, n->node->shard_count, release, former);
    }
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        fake_node_step(n, i);
    }
    fake_node_settle(n);
}

static void destroy(struct fake_node *n)
{
    struct ban_list *const last = atomic_exchange(&n->node->bans, NULL);
    fake_node_destroy(n);
    ban_list_destroy(last);
}

static uint8_t answer(struct fake_node *n, const char *id, enum mqtt_version version)
{
    return client_connect(n, 0, id, TERMS(.version = version))->connack.reason;
}

Test(bans, client_that_is_banned_does_not_come_in)
{
    struct fake_node *n = fake_node_create(3, SETTINGS());
    ban(n, "client a\nclient b until 1970-01-01T00:00:10Z\nuser c\n");
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_BANNED);
    cr_expect_eq(answer(n, "a", MQTT_V311), 5);
    cr_expect_eq(answer(n, "a", MQTT_V31), 5);
    cr_expect_eq(answer(n, "b", MQTT_V5), MQTT_REASON_BANNED);
    cr_expect_eq(answer(n, "c", MQTT_V5), MQTT_REASON_SUCCESS, "a user is no client id");
    cr_expect_eq(answer(n, "", MQTT_V5), MQTT_REASON_SUCCESS);
    cr_expect_eq(fake_node_count(n, METRIC_connect_banned), 4);
    cr_expect_eq(fake_node_count(n, METRIC_connect_refused), 4);
    fake_node_advance(n, 10000);
    cr_expect_eq(answer(n, "b", MQTT_V5), MQTT_REASON_SUCCESS, "until it is over");
    ban(n, "");
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_SUCCESS);
    destroy(n);
}

Test(bans, client_that_is_connected_goes_at_once)
{
    struct fake_node *n = fake_node_create(3, SETTINGS());
    struct fake_client *a = client_connect(n, 0, "a", TERMS());
    struct fake_client *old = client_connect(n, 1, "old", TERMS(.version = MQTT_V311));
    struct fake_client *b = client_connect(n, 2, "b", TERMS(.will_topic = "w"));
    client_subscribe(b, "w", 0);
    ban(n, "client a\nclient old\n");
    const struct got *g = client_take(a, MQTT_DISCONNECT);
    cr_assert_not_null(g);
    cr_expect_eq(g->reason, MQTT_REASON_ADMINISTRATIVE_ACTION);
    cr_expect(client_is_ended(a));
    cr_expect(client_is_ended(old));
    cr_expect_not(client_is_ended(b));
    cr_expect_eq(fake_node_count(n, METRIC_bans_enforced), 2);
    ban(n, "client a\nclient old\n");
    cr_expect_eq(fake_node_count(n, METRIC_bans_enforced), 2);
    destroy(n);
}

Test(bans, who_connects_too_often_is_banned_for_a_while)
{
    struct fake_node *n = fake_node_create(2, SETTINGS(FLAPPING));
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_SUCCESS);
    }
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_BANNED);
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_BANNED);
    cr_expect_eq(fake_node_count(n, METRIC_clients_flapping), 1);
    cr_expect_eq(fake_node_count(n, METRIC_connect_banned), 2);
    cr_expect_eq(fake_node_count(n, METRIC_sessions_taken_over), 2, "the last one goes on");
    for (unsigned i = 0; i < 10; i++) {
        cr_expect_eq(answer(n, "", MQTT_V5), MQTT_REASON_SUCCESS, "an id for each");
    }
    cr_expect_eq(answer(n, "b", MQTT_V5), MQTT_REASON_SUCCESS);
    fake_node_advance(n, 59900);
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_BANNED);
    fake_node_advance(n, 100);
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_SUCCESS);
    destroy(n);
}

/* Who is refused for another reason is not counted: a stranger cannot have a client banned. */
Test(bans, refused_ones_do_not_count)
{
    struct fake_node *n = fake_node_create(1, SETTINGS(FLAPPING, "limits.connections_max=1"));
    struct fake_client *first = client_connect(n, 0, "first", TERMS());
    for (unsigned i = 0; i < 10; i++) {
        cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_QUOTA_EXCEEDED);
    }
    client_send_disconnect(first, 0);
    fake_node_settle(n);
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_SUCCESS);
    cr_expect_eq(fake_node_count(n, METRIC_clients_flapping), 0);
    destroy(n);
}

Test(bans, limit_that_is_lifted_bans_nobody)
{
    struct fake_node *n = fake_node_create(1, SETTINGS(FLAPPING));
    for (unsigned i = 0; i < 4; i++) {
        answer(n, "a", MQTT_V5);
    }
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_BANNED);
    fake_node_reload(n, SETTINGS());
    cr_expect_eq(answer(n, "a", MQTT_V5), MQTT_REASON_SUCCESS);
    destroy(n);
}
