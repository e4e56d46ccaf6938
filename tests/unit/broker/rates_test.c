/* SPDX-License-Identifier: Apache-2.0 */
/* limits.connections_per_second and limits.publish_…_per_second, of whole nodes. */
#include <criterion/criterion.h>

#include "broker/conn/conn.h"
#include "broker/guard/rate.h"
#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_node.h"

/* ---- connections of the node */

static void open_many(struct fake_node *n, unsigned shard, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        client_open(n, shard);
    }
}

static uint64_t accepted(const struct fake_node *n)
{
    return fake_node_count(n, METRIC_connections_accepted);
}

Test(rates, those_who_are_too_many_wait_in_the_kernel)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.connections_per_second=5"));
    open_many(n, 0, 12);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 5);
    cr_expect_eq(fake_node_count(n, METRIC_connections_paced), 1);
    fake_node_advance(n, 199);
    cr_expect_eq(accepted(n), 5);
    fake_node_advance(n, 2);
    cr_expect_eq(accepted(n), 6);
    fake_node_advance(n, 600);
    cr_expect_eq(accepted(n), 9);
    fake_node_advance(n, 800);
    cr_expect_eq(accepted(n), 12);
    cr_expect_eq(fake_node_count(n, METRIC_connections_closed), 0);
    fake_node_destroy(n);
}

/* One number for all: a shard on its own gets all of it, and together they get no more, but for one
 * connection each that was under way. */
Test(rates, shards_take_from_one_number)
{
    struct fake_node *n = fake_node_create(3, SETTINGS("limits.connections_per_second=20"));
    open_many(n, 1, 20);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 20);
    fake_node_advance(n, 5000);
    for (unsigned i = 0; i < 3; i++) {
        open_many(n, i, 60);
    }
    fake_node_settle(n);
    cr_expect(accepted(n) >= 40 && accepted(n) <= 42, "%lu", (unsigned long)accepted(n));
    fake_node_advance(n, 1000);
    cr_expect(accepted(n) >= 60 && accepted(n) <= 62, "%lu", (unsigned long)accepted(n));
    fake_node_advance(n, 5000);
    cr_expect(accepted(n) >= 160 && accepted(n) <= 162, "%lu", (unsigned long)accepted(n));
    fake_node_advance(n, 3000);
    cr_expect_eq(accepted(n), 200);
    fake_node_destroy(n);
}

Test(rates, limit_comes_and_goes_while_connections_wait)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    open_many(n, 0, 30);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 30);
    fake_node_reload(n, SETTINGS("limits.connections_per_second=2"));
    open_many(n, 0, 30);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 32);
    fake_node_reload(n, SETTINGS());
    cr_expect_eq(accepted(n), 60);
    open_many(n, 0, 1);
    open_many(n, 1, 1);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 62);
    fake_node_destroy(n);
}

/* What waits for TLS hellos and what waits for the rate are apart. */
Test(rates, listener_that_waits_for_something_else_still_waits)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.connections_per_second=2"));
    open_many(n, 0, 5);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 2);
    shard_pause(fake_node_enter(n, 0), 0, PAUSED_HELLOS, true);
    fake_node_advance(n, 5000);
    cr_expect_eq(accepted(n), 2);
    shard_pause(fake_node_enter(n, 0), 0, PAUSED_HELLOS, false);
    fake_node_settle(n);
    cr_expect_eq(accepted(n), 4);
    fake_node_destroy(n);
}

/* ---- what a client publishes */

static struct fake_client *listener(struct fake_node *n)
{
    struct fake_client *c = client_connect(n, 0, "listener", TERMS());
    client_subscribe(c, "#", 2);
    return c;
}

static void say_many(struct fake_client *c, unsigned count, uint8_t qos)
{
    for (unsigned i = 0; i < count; i++) {
        client_say(c, "t", "x", qos);
    }
}

Test(rates, publisher_over_its_rate_is_read_from_later)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.publish_messages_per_second=10"));
    struct fake_client *sub = listener(n);
    struct fake_client *pub = client_connect(n, 1, "pub", TERMS());
    for (uint8_t qos = 0; qos <= 2; qos++) {
        fake_node_advance(n, 10000);
        say_many(pub, 25, qos);
        fake_node_settle(n);
        cr_expect_eq(client_heard_count(sub), 10);
        fake_node_advance(n, 99);
        cr_expect_eq(client_heard_count(sub), 0, "not for each message anew");
        fake_node_advance(n, 901);
        const unsigned more = client_heard_count(sub);
        cr_expect(more >= 9 && more <= 11, "%u", more);
        fake_node_advance(n, 1000);
        cr_expect_eq(client_heard_count(sub), 15 - more);
    }
    cr_expect(fake_node_count(n, METRIC_publish_paced) > 0);
    cr_expect_eq(fake_node_drops(n), 0);
    cr_expect_not(client_is_ended(pub));
    fake_node_destroy(n);
}

Test(rates, each_client_has_its_own)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_messages_per_second=10"));
    struct fake_client *sub = listener(n);
    struct fake_client *a = client_connect(n, 0, "a", TERMS());
    struct fake_client *b = client_connect(n, 0, "b", TERMS());
    say_many(a, 50, 0);
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(sub), 10);
    say_many(b, 10, 0);
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(sub), 10);
    fake_node_destroy(n); /* with one that waits */
}

Test(rates, slow_publishers_do_not_notice)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_messages_per_second=10",
                                                       "limits.publish_bytes_per_second=1000"));
    struct fake_client *sub = listener(n);
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    for (unsigned i = 0; i < 100; i++) {
        client_say(pub, "t", "x", 0);
        fake_node_settle(n);
        cr_expect_eq(client_heard_count(sub), 1);
        fake_node_advance(n, 100);
    }
    cr_expect_eq(fake_node_count(n, METRIC_publish_paced), 0);
    fake_node_destroy(n);
}

/* Larger than a second's worth: taken, and waited for afterwards. */
Test(rates, bytes_count)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_bytes_per_second=1000"));
    struct fake_client *sub = listener(n);
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    client_send_publish(pub, SAY(.topic = "t", .payload = "x", .payload_len = 4999));
    client_say(pub, "t", "behind", 0);
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(sub), 1);
    fake_node_advance(n, 4000);
    cr_expect_eq(client_heard_count(sub), 0);
    fake_node_advance(n, 200);
    cr_expect_eq(client_heard_count(sub), 1);
    fake_node_destroy(n);
}

/* It is we who do not read: the client's time begins when we do again. */
Test(rates, keep_alive_does_not_run_out_meanwhile)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_bytes_per_second=1000"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS(.keep_alive_s = 2));
    client_send_publish(pub, SAY(.topic = "t", .payload = "x", .payload_len = 20000));
    client_say(pub, "t", "behind", 0);
    fake_node_settle(n);
    fake_node_advance(n, 19000);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 1);
    cr_expect_not(client_is_ended(pub));
    fake_node_advance(n, 200);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 2);
    fake_node_advance(n, 2800);
    cr_expect_not(client_is_ended(pub));
    fake_node_advance(n, 400);
    cr_expect(client_is_ended(pub));
    cr_expect_eq(fake_node_count(n, METRIC_keep_alive_timed_out), 1);
    fake_node_destroy(n);
}

/* What it has sent stays with the kernel, but for what one receive brought. */
Test(rates, socket_is_left_unread)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_messages_per_second=1"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    io_fake_set_chunk(n->net, 4096);
    for (unsigned i = 0; i < 50; i++) {
        client_send_publish(pub, SAY(.topic = "t", .payload = "x", .payload_len = 3000));
        fake_node_settle(n);
    }
    cr_expect(fake_node_enter(n, 0)->unread_bytes <= 3 * 4096, "%lu",
              (unsigned long)fake_node_enter(n, 0)->unread_bytes);
    fake_node_advance(n, 49 * 1000);
    cr_expect(fake_node_count(n, METRIC_publish_received) >= 49);
    fake_node_advance(n, 2000);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 50);
    fake_node_destroy(n);
}

Test(rates, what_a_client_sent_before_it_left_still_comes)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_messages_per_second=10"));
    struct fake_client *sub = listener(n);
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    say_many(pub, 25, 1);
    client_send_disconnect(pub, 0);
    client_finish(pub);
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(sub), 10);
    fake_node_advance(n, 2500);
    cr_expect_eq(client_heard_count(sub), 15);
    cr_expect(client_is_ended(pub));
    fake_node_destroy(n);
}

Test(rates, taken_over_while_it_waits)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_messages_per_second=10"));
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    say_many(pub, 25, 0);
    fake_node_settle(n);
    struct fake_client *again = client_connect(n, 0, "pub", TERMS());
    cr_expect_eq(again->connack.reason, MQTT_REASON_SUCCESS);
    cr_expect(client_is_ended(pub));
    fake_node_advance(n, 3000);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 10);
    fake_node_destroy(n);
}

Test(rates, limit_that_is_lifted_lets_everybody_go_on)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.publish_bytes_per_second=10"));
    struct fake_client *sub = listener(n);
    struct fake_client *pub = client_connect(n, 0, "pub", TERMS());
    client_send_publish(pub, SAY(.topic = "t", .payload = "x", .payload_len = 4999));
    say_many(pub, 30, 0);
    fake_node_settle(n);
    cr_expect_eq(client_heard_count(sub), 1);
    fake_node_reload(n, SETTINGS("limits.publish_bytes_per_second=1000"));
    fake_node_advance(n, 1000);
    cr_expect_eq(client_heard_count(sub), 30);
    fake_node_destroy(n);
}
