/* SPDX-License-Identifier: Apache-2.0 */
/* Mail for a shard that sleeps: when the one who brings it delivers it, and when it wakes. */
#include "broker/shard/visit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/peers/peers.h"
#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"

struct pair {
    struct fake_node *n;
    struct fake_client *sub, *pub;
    unsigned far, near; /* the shards of their sessions */
    uint64_t wakes;     /* by the near one, before it all begins */
};

static uint64_t wakes(const struct pair *p)
{
    return io_counter_read(p->n->node->shards[p->near]->io, IO_WAKE_UPS) - p->wakes;
}

/* A client identifier of that shard, from the `nth` on. */
static const char *id_of(struct fake_node *n, unsigned shard, unsigned *nth)
{
    static char id[16];
    do {
        snprintf(id, sizeof id, "c%u", (*nth)++);
    } while (fake_node_home(n, id) != shard);
    return id;
}

/* A filter whose part of the index that shard writes. */
static const char *filter_of(const struct fake_node *n, unsigned shard)
{
    static char filter[16] = "f";
    for (unsigned i = 0; index_owner(n->node->index, bytes_text(filter)) != shard; i++) {
        snprintf(filter, sizeof filter, "f%u", i);
    }
    return filter;
}

/* A subscriber of t on the far shard, which sleeps, and a publisher on the near one. */
static struct pair pair_create(const char *const settings[], uint8_t qos)
{
    struct pair p = {.n = fake_node_create(2, settings), .far = 1};
    unsigned nth = 0;
    p.sub = client_connect(p.n, p.far, id_of(p.n, p.far, &nth), TERMS());
    p.pub = client_connect(p.n, p.near, id_of(p.n, p.near, &nth), TERMS());
    client_subscribe(p.sub, "t", qos);
    fake_node_settle(p.n);
    for (unsigned i = 0; i < 2; i++) { /* all lie down */
        fake_node_step(p.n, i);
    }
    cr_assert(claim_is_free(&p.n->node->shards[p.far]->claim));
    p.wakes = wakes(&p);
    return p;
}

static bool is_woken(const struct pair *p)
{
    return io_fake_is_woken(p->n->node->shards[p->far]->io);
}

/* What the subscriber has got, without a turn of any shard. */
static size_t got_now(struct fake_client *c)
{
    client_read(c);
    return c->got_count - c->got_first;
}

Test(visit, a_sleeper_sleeps_on_while_its_mail_is_delivered)
{
    for (uint8_t qos = 0; qos <= 2; qos++) {
        struct pair p = pair_create(SETTINGS(), qos);
        p.sub->acks = false;
        for (unsigned i = 0; i < 3; i++) {
            client_say(p.pub, "t", "1", qos);
            fake_node_step(p.n, p.near);
            cr_expect_eq(got_now(p.sub), i + 1, "QoS %u", qos);
            cr_expect_not(is_woken(&p));
            cr_expect(claim_is_free(&p.n->node->shards[p.far]->claim));
        }
        cr_expect_eq(fake_node_count(p.n, METRIC_mail_visited), 3);
        cr_expect_eq(wakes(&p), 0);
        fake_node_destroy(p.n);
    }
}

/* A second processor is worth a wake-up then. */
Test(visit, who_brings_much_wakes)
{
    struct pair p = pair_create(SETTINGS(), 0);
    for (unsigned i = 0; i < 100; i++) {
        client_say(p.pub, "t", "1", 0);
    }
    fake_node_step(p.n, p.near);
    cr_expect_eq(got_now(p.sub), 0);
    cr_expect(is_woken(&p));
    cr_expect_eq(wakes(&p), 1);
    client_say(p.pub, "t", "1", 0);
    fake_node_step(p.n, p.near);
    cr_expect_eq(wakes(&p), 1, "once");
    cr_expect_eq(client_heard_count(p.sub), 101);
    fake_node_destroy(p.n);
}

Test(visit, one_message_for_many_is_much)
{
    struct pair p = pair_create(SETTINGS(), 0);
    unsigned nth = 100;
    for (unsigned i = 0; i < 20; i++) {
        client_subscribe(client_connect(p.n, p.far, id_of(p.n, p.far, &nth), TERMS()), "t", 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        fake_node_step(p.n, i);
    }
    client_say(p.pub, "t", "1", 0);
    fake_node_step(p.n, p.near);
    cr_expect_eq(got_now(p.sub), 0);
    cr_expect(is_woken(&p));
    cr_expect_str_eq(client_heard(p.sub), "t=1/0");
    fake_node_destroy(p.n);
}

/* What the socket does not take waits for the ring, in order. */
Test(visit, what_does_not_fit_is_the_owners)
{
    struct pair p = pair_create(SETTINGS(), 1);
    client_set_window(p.sub, 10);
    client_say(p.pub, "t", "first", 1);
    fake_node_step(p.n, p.near);
    cr_expect(is_woken(&p));
    client_say(p.pub, "t", "second", 1);
    fake_node_settle(p.n);
    client_set_window(p.sub, SIZE_MAX);
    cr_expect_str_eq(client_heard(p.sub), "t=first/1 t=second/1");
    fake_node_destroy(p.n);
}

Test(visit, who_has_gone_is_the_owners)
{
    struct pair p = pair_create(SETTINGS(), 0);
    client_reset(p.sub);
    client_say(p.pub, "t", "1", 0);
    fake_node_step(p.n, p.near);
    cr_expect(is_woken(&p));
    fake_node_settle(p.n);
    cr_expect(client_is_ended(p.sub));
    fake_node_destroy(p.n);
}

/* Anything but a delivery, and what lies behind it. */
Test(visit, other_mail_wakes)
{
    struct pair p = pair_create(SETTINGS(), 0);
    client_send_subscribe(p.pub, ASK(.filter = filter_of(p.n, p.far)));
    client_say(p.pub, "t", "1", 0);
    fake_node_step(p.n, p.near);
    cr_expect(is_woken(&p));
    fake_node_settle(p.n);
    cr_expect_not_null(client_take(p.pub, MQTT_SUBACK));
    cr_expect_str_eq(client_heard(p.sub), "t=1/0");
    fake_node_destroy(p.n);
}

/* The visitor's configuration and clock: what has expired by now is not delivered. */
Test(visit, is_of_this_moment)
{
    struct pair p = pair_create(SETTINGS(), 1);
    struct shard *far = p.n->node->shards[p.far];
    const uint64_t before_ms = far->now_ms;
    p.sub->acks = false;
    fake_node_configure(p.n, SETTINGS("limits.inflight_max=1")); /* the far one sleeps on */
    client_say(p.pub, "t", "1", 1);
    client_say(p.pub, "t", "2", 1);
    fake_node_step(p.n, p.near);
    cr_expect_eq(got_now(p.sub), 1, "one in flight, as configured now");
    cr_expect_geq(far->now_ms, before_ms);
    fake_node_destroy(p.n);
}

/* Its message is for another member; whose shard that is, the owner looks up. */
Test(visit, who_has_left_its_group_is_the_owners)
{
    struct pair p = pair_create(SETTINGS(), 0);
    const char *const topic = filter_of(p.n, p.near);
    char filter[32];
    snprintf(filter, sizeof filter, "$share/group/%s", topic);
    client_subscribe(p.sub, filter, 1);
    fake_node_settle(p.n);
    client_send_unsubscribe(p.sub, filter);
    fake_node_step(p.n, p.far); /* the near one has yet to read of it */
    fake_node_step(p.n, p.far);
    cr_assert(claim_is_free(&p.n->node->shards[p.far]->claim));
    client_say(p.pub, topic, "1", 1);
    fake_node_step(p.n, p.near);
    cr_expect_eq(fake_node_count(p.n, METRIC_shared_redispatched), 1);
    cr_expect(is_woken(&p));
    fake_node_settle(p.n);
    cr_expect_eq(fake_node_count(p.n, METRIC_drop_shared_no_member), 1);
    fake_node_destroy(p.n);
}

Test(visit, who_is_to_be_sent_away_is_the_owners)
{
    struct pair p =
        pair_create(SETTINGS("limits.inflight_max=1", "limits.session_queue_messages_max=1",
                             "limits.session_queue_full=disconnect"),
                    1);
    p.sub->acks = false;
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_not(is_woken(&p));
        client_say(p.pub, "t", "1", 1);
        fake_node_step(p.n, p.near);
    }
    cr_expect(is_woken(&p));
    fake_node_settle(p.n);
    cr_expect(client_is_ended(p.sub));
    fake_node_destroy(p.n);
}

/* Else a message of after its DISCONNECT would be sent to it, and not wait in its session. */
Test(visit, a_client_that_has_said_something_is_heard_first)
{
    struct pair p = pair_create(SETTINGS(), 0);
    client_send_disconnect(p.sub, MQTT_REASON_SUCCESS);
    client_say(p.pub, "t", "1", 0);
    fake_node_step(p.n, p.near);
    cr_expect_eq(fake_node_count(p.n, METRIC_mail_visited), 0);
    cr_expect(is_woken(&p));
    fake_node_settle(p.n);
    cr_expect_eq(fake_node_count(p.n, METRIC_drop_qos0_offline) +
                     fake_node_count(p.n, METRIC_publish_sent),
                 0, "the session has ended, and its subscription");
    fake_node_destroy(p.n);
}

/* ---- other nodes */

static void on_facts(struct shard *s, const struct peer_facts *facts)
{
    (void)s;
    (void)facts;
}

/* What a delivery has put for another node cannot be sent by who visits: rings belong to threads.
 */
Test(visit, what_is_for_another_node_is_the_owners)
{
    static const struct peers_events events = {.facts = on_facts};
    struct pair p = pair_create(SETTINGS(), 0);
    const struct peers_conf conf = {
        .node = p.n->node, .self = {.node = {{1}}, .generation = 1}, .events = &events};
    struct peers *const peers = peers_create(&conf);
    cr_assert_not_null(peers);
    const struct peer_facts facts = {.number = 3, .node = {{2}}, .lanes = 2};
    peers_tell(peers, &facts);
    for (unsigned turn = 0; turn < 4; turn++) { /* all hear of it, and lie down */
        fake_node_step(p.n, turn % 2);
    }
    client_say(p.pub, "t", "1", 0);
    fake_node_step(p.n, p.near);
    cr_expect_not(is_woken(&p));
    shard_self = p.n->node->shards[p.far]; /* as a visitor's delivery would, in its visit */
    uint8_t *body;
    uint64_t seq;
    cr_assert_eq(peers_put(shard_self, 3, NODE_FRAME_RESULT, true, 1, &body, &seq), LINK_OK);
    *body = 0;
    shard_self = NULL;
    client_say(p.pub, "t", "2", 0);
    fake_node_step(p.n, p.near);
    cr_expect_eq(got_now(p.sub), 2);
    cr_expect(is_woken(&p));
    fake_node_destroy(p.n);
}
