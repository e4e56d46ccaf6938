/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes; what partitions do with messages, the test says. */
#include "broker/dispatch/dispatch_run.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/dispatch/dispatch_uses.h"
#include "broker/dispatch/leaders.h"
#include "broker/message.h"
#include "broker/relay/relay.h"
#include "broker/route/local.h"
#include "broker/shard/shard.h"
#include "tests/unit/remote/fake_cluster.h"

#define WANTS      5u /* the partition with subscribers */
#define ENTRIES    64u
#define NO_MATCHES 0x10u
#define NONE       255u

static struct fake_cluster *cluster;

/* ---- the partitions */

struct proposal {
    uint64_t origin, op;
    unsigned node;
    char payload[16];
};

static struct proposal entries[ENTRIES]; /* proposed, of WANTS */
static unsigned entries_count;
static uint64_t applied[ENTRIES][2]; /* origin, op */
static unsigned applied_count;
static bool wanted;     /* by WANTS; else by none */
static bool is_busy;    /* the group takes nothing */
static uint64_t nobody; /* how often nobody wanted one */
static bool is_certain;
static bool is_member = true;

static unsigned number_of(const struct shard *s)
{
    for (unsigned i = 0; i < cluster->count; i++) {
        if (cluster->nodes[i] != NULL && cluster->nodes[i]->node == s->node) {
            return i;
        }
    }
    return NONE;
}

static enum publish_partition on_publish(struct shard *s, unsigned p, struct message *m,
                                         uint64_t stream, uint64_t operation)
{
    cr_assert_eq(s->node->partition_shard[p], s->id);
    if (is_busy) {
        return PUBLISH_PARTITION_NOT_NOW;
    }
    if (p != WANTS || !wanted) {
        nobody++;
        return PUBLISH_PARTITION_NOBODY;
    }
    struct proposal *const e = &entries[entries_count++];
    const struct bytes payload = message_payload(m);
    *e = (struct proposal){.origin = stream, .op = operation, .node = number_of(s)};
    memcpy(e->payload, payload.at, payload.len);
    return PUBLISH_PARTITION_QUEUED;
}

static uint64_t on_highest(const struct shard *s, unsigned p, uint64_t origin)
{
    uint64_t highest = 0;
    (void)s;
    for (unsigned i = 0; p == WANTS && i < applied_count; i++) {
        highest = applied[i][0] == origin && applied[i][1] > highest ? applied[i][1] : highest;
    }
    return highest;
}

static uint64_t on_certain(const struct shard *s, unsigned p)
{
    (void)p;
    return is_certain ? s->now_ms + 1000 : 0;
}

static const struct dispatch_uses uses = {
    .publish = on_publish, .highest = on_highest, .certain_ms = on_certain};

static void apply(unsigned at, unsigned entry)
{
    const struct proposal *const e = &entries[entry];
    struct fake_node *const n = cluster->nodes[at];
    applied[applied_count][0] = e->origin;
    applied[applied_count++][1] = e->op;
    struct shard *const s = fake_node_enter(n, n->node->partition_shard[WANTS]);
    dispatch_run_applied(s, WANTS, e->origin, e->op);
    fake_cluster_advance(cluster, 20);
}

/* ---- the nodes */

static void on_joined(struct fake_cluster *c, unsigned number)
{
    struct identity self = {.generation = c->generations[number]};
    self.node.bytes[0] = (uint8_t)(number + 1);
    struct node *const node = c->nodes[number]->node;
    node->replicas = 3;
    atomic_store(&node->member, is_member ? number + 1 : 0);
    cr_assert(dispatch_run_create(node, &self, &uses));
}

static void begin(unsigned count, const unsigned shards[])
{
    entries_count = applied_count = 0;
    nobody = 0;
    wanted = is_certain = true;
    is_busy = false;
    cluster = fake_cluster_create_on(count, shards, SETTINGS(), NULL, NULL, on_joined);
}

static void end(void)
{
    fake_cluster_destroy(cluster);
}

static void lead(unsigned at, unsigned p, uint64_t term)
{
    struct fake_node *const n = cluster->nodes[at];
    dispatch_run_lead(fake_node_enter(n, n->node->partition_shard[p]), p, term);
}

static void cease(unsigned at, unsigned p)
{
    struct fake_node *const n = cluster->nodes[at];
    dispatch_run_cease(fake_node_enter(n, n->node->partition_shard[p]), p);
}

static void lead_all(unsigned at, uint64_t term)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        lead(at, p, term);
    }
    fake_cluster_advance(cluster, 100);
}

static void cease_all(unsigned at)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        cease(at, p);
    }
    fake_cluster_advance(cluster, 100);
}

static struct fake_client *come(unsigned at, unsigned shard, const char *id)
{
    return fake_cluster_connect(cluster, at, shard, id,
                                TERMS(.version = MQTT_V5, .clean_start = true));
}

static void subscribe(struct fake_client *c, const char *filter, uint8_t qos)
{
    client_send_subscribe(c, ASK(.filter = filter, .qos = qos));
    fake_cluster_advance(cluster, 20);
    cr_assert_not_null(client_take(c, MQTT_SUBACK));
}

static void say(struct fake_client *c, const char *topic, const char *payload, uint8_t qos)
{
    client_say(c, topic, payload, qos);
    fake_cluster_advance(cluster, 20);
}

/* The reason of its next PUBACK; NONE: none has come. */
static uint8_t acknowledged(struct fake_client *c)
{
    const struct got *const ack = client_take(c, MQTT_PUBACK);
    return ack == NULL ? NONE : ack->reason;
}

static void expect_leader(unsigned at, unsigned p, unsigned peer, uint64_t term)
{
    const struct leader l = leaders_of(cluster->nodes[at]->node, p);
    cr_expect_eq(l.peer, peer, "%u at %u: peer %u", p, at, l.peer);
    cr_expect_eq(l.term, term, "%u at %u: term %u", p, at, (unsigned)l.term);
}

static const unsigned two[] = {2, 2}, mixed[] = {3, 1, 2};

/* ---- who leads */

Test(leaders, all_hear_of_a_leader_at_once)
{
    begin(3, mixed);
    expect_leader(0, WANTS, LEADERS_NOBODY, 0);
    cr_expect_eq(relay_home(cluster->nodes[0]->node, WANTS), RELAY_NOWHERE);
    lead(1, WANTS, 3);
    fake_cluster_settle(cluster);
    expect_leader(1, WANTS, LEADERS_HERE, 3);
    expect_leader(0, WANTS, 1, 3);
    expect_leader(2, WANTS, 1, 3);
    cr_expect_eq(relay_home(cluster->nodes[0]->node, WANTS), RELAY_PEER + 1);
    cr_expect_eq(relay_home(cluster->nodes[1]->node, WANTS), RELAY_HERE);
    cr_expect_eq(leaders_missing(cluster->nodes[0]->node), PARTITIONS - 1);
    end();
}

Test(leaders, the_highest_term_counts)
{
    begin(3, mixed);
    lead(1, WANTS, 3);
    fake_cluster_settle(cluster);
    lead(2, WANTS, 4); /* the other has not heard of it */
    fake_cluster_settle(cluster);
    expect_leader(0, WANTS, 2, 4);
    expect_leader(1, WANTS, 2, 4);
    lead(1, 7, 1); /* by which all that it leads is told once more */
    fake_cluster_settle(cluster);
    expect_leader(0, WANTS, 2, 4);
    expect_leader(0, 7, 1, 1);
    cease(1, WANTS);
    fake_cluster_settle(cluster);
    expect_leader(0, WANTS, 2, 4);
    end();
}

Test(leaders, who_ceases_is_none_and_who_dies_stays)
{
    begin(2, two);
    lead(1, WANTS, 3);
    lead(1, 6, 2);
    fake_cluster_settle(cluster);
    cease(1, WANTS);
    fake_cluster_settle(cluster);
    expect_leader(0, WANTS, LEADERS_NOBODY, 3);
    cr_expect_eq(relay_home(cluster->nodes[0]->node, WANTS), RELAY_NOWHERE);
    fake_cluster_cut(cluster, 0, 1, true);
    fake_cluster_tell(cluster, 0, 1, false, false);
    fake_cluster_advance(cluster, 90000);
    expect_leader(0, 6, 1, 2);
    fake_cluster_tell(cluster, 0, 1, false, true); /* its number is free */
    fake_cluster_settle(cluster);
    expect_leader(0, 6, LEADERS_NOBODY, 2);
    end();
}

/* ---- messages */

/* To the leader, whatever shards the two have, and back: acknowledged when it is applied. */
Test(dispatch_run, a_message_is_acknowledged_when_its_partition_has_applied_it)
{
    begin(3, mixed);
    lead_all(1, 1);
    struct fake_client *const hears = come(1, 0, "hears");
    subscribe(hears, "a", 1);
    for (unsigned shard = 0; shard < 3; shard++) {
        struct fake_client *const says = come(0, shard, shard == 0 ? "x" : shard == 1 ? "y" : "z");
        say(says, "a", "1", 1);
        cr_expect_str_eq(client_heard(hears), "a=1/1", "a transient one, as ever");
        cr_expect_eq(acknowledged(says), NONE);
        cr_assert_eq(entries_count, shard + 1);
        cr_expect_eq(entries[shard].node, 1);
        cr_expect_str_eq(entries[shard].payload, "1");
        apply(1, shard);
        cr_expect_eq(acknowledged(says), 0);
        cr_expect_eq(dispatch_run_gauge(cluster->nodes[0]->node, DISPATCH_OPS), 0);
    }
    end();
}

Test(dispatch_run, what_nobody_wants_is_acknowledged_by_leases_alone)
{
    begin(2, two);
    lead_all(1, 1);
    struct fake_client *const says = come(0, 0, "says");
    say(says, "b", "1", 1);
    cr_expect_eq(acknowledged(says), NO_MATCHES);
    cr_expect_eq(nobody, 0, "nobody was asked");
    is_certain = false; /* no lease is given any more */
    fake_cluster_advance(cluster, 5000);
    wanted = false;
    say(says, "b", "2", 1);
    cr_expect_eq(nobody, PARTITIONS, "each was");
    cr_expect_eq(acknowledged(says), 0);
    end();
}

Test(dispatch_run, of_its_own_partitions_a_node_knows_by_a_lease_too)
{
    begin(2, two);
    lead_all(0, 1);
    struct fake_client *const says = come(0, 1, "says");
    say(says, "b", "1", 1);
    cr_expect_eq(acknowledged(says), NO_MATCHES);
    is_certain = false;
    fake_cluster_advance(cluster, 5000);
    say(says, "b", "2", 1);
    cr_assert_eq(entries_count, 1);
    cr_expect_eq(entries[0].node, 0);
    cr_expect_eq(acknowledged(says), NONE);
    apply(0, 0);
    cr_expect_eq(acknowledged(says), 0);
    end();
}

/* Its sessions are being dropped, and shard 0 does not know yet that it is led here no more. */
Test(dispatch_run, what_has_just_ceased_is_asked)
{
    begin(2, two);
    lead_all(0, 1);
    fake_cluster_advance(cluster, 2000);
    struct fake_client *const says = come(0, 1, "says");
    say(says, "b", "1", 1);
    cr_expect_eq(acknowledged(says), NO_MATCHES);
    client_say(says, "b", "2", 1);
    cease(0, WANTS);
    fake_node_step(cluster->nodes[0], 1);
    fake_cluster_advance(cluster, 20);
    cr_expect_eq(acknowledged(says), NONE);
    lead(0, WANTS, 2);
    fake_cluster_advance(cluster, 20);
    cr_assert_eq(entries_count, 1);
    apply(0, 0);
    cr_expect_eq(acknowledged(says), 0);
    end();
}

/* "Done" is of all up to it: what nobody wants behind what is not applied yet is not done. */
Test(dispatch_run, what_nobody_wants_is_done_behind_what_is_before_it)
{
    begin(2, two);
    lead_all(1, 1);
    is_certain = false;
    fake_cluster_advance(cluster, 5000);
    struct fake_client *const says = come(0, 0, "says");
    say(says, "a", "1", 1);
    wanted = false;
    say(says, "a", "2", 1);
    cr_assert_eq(entries_count, 1);
    cr_expect_eq(acknowledged(says), NONE);
    apply(1, 0);
    cr_expect_eq(acknowledged(says), 0);
    cr_expect_eq(acknowledged(says), 0);
    end();
}

Test(dispatch_run, a_group_that_is_busy_gets_it_again)
{
    begin(2, two);
    lead_all(1, 1);
    subscribe(come(1, 0, "hears"), "a", 1);
    struct fake_client *const says = come(0, 0, "says");
    is_busy = true;
    say(says, "a", "1", 1);
    say(says, "a", "2", 1);
    cr_expect_eq(entries_count, 0);
    is_busy = false;
    fake_cluster_advance(cluster, 200);
    cr_assert_eq(entries_count, 2);
    cr_expect_str_eq(entries[0].payload, "1");
    cr_expect_str_eq(entries[1].payload, "2");
    apply(1, 0);
    apply(1, 1);
    cr_expect_eq(acknowledged(says), 0);
    cr_expect_eq(acknowledged(says), 0);
    cr_expect_gt(fake_cluster_count(cluster, 0, METRIC_dispatch_repeated), 0);
    end();
}

Test(dispatch_run, the_next_leader_gets_what_the_last_has_not_applied)
{
    begin(3, mixed);
    lead_all(1, 1);
    subscribe(come(1, 0, "hears"), "a", 1);
    struct fake_client *const says = come(0, 2, "says");
    say(says, "a", "1", 1);
    say(says, "a", "2", 1);
    cr_assert_eq(entries_count, 2);
    applied[applied_count][0] = entries[0].origin; /* committed, and nobody was told */
    applied[applied_count++][1] = entries[0].op;
    cease_all(1);
    cr_expect_eq(acknowledged(says), NONE);
    lead_all(2, 2);
    cr_expect_eq(acknowledged(says), 0, "the one that was committed");
    cr_assert_eq(entries_count, 3);
    cr_expect_eq(entries[2].node, 2);
    cr_expect_str_eq(entries[2].payload, "2");
    apply(2, 2);
    cr_expect_eq(acknowledged(says), 0);
    end();
}

Test(dispatch_run, a_leader_that_dies_is_followed_by_another)
{
    begin(3, mixed);
    lead_all(1, 1);
    subscribe(come(1, 0, "hears"), "a", 1);
    struct fake_client *const says = come(0, 0, "says");
    say(says, "a", "1", 1);
    for (unsigned at = 0; at < 3; at += 2) {
        fake_cluster_cut(cluster, at, 1, true);
        fake_cluster_tell(cluster, at, 1, false, false);
    }
    fake_cluster_advance(cluster, 1000);
    say(says, "c", "2", 1); /* whose leases still hold */
    cr_expect_eq(acknowledged(says), NONE);
    lead_all(2, 2);
    cr_assert_eq(entries_count, 2);
    cr_expect_eq(entries[1].node, 2);
    apply(2, 1);
    cr_expect_eq(acknowledged(says), 0);
    cr_expect_eq(acknowledged(says), NO_MATCHES);
    end();
}

/* Before anybody says that it is dead: for whose transient subscribers a publisher would wait. */
Test(dispatch_run, who_is_deposed_and_away_is_not_waited_for)
{
    begin(3, mixed);
    lead_all(1, 1);
    struct fake_client *const hears = come(1, 0, "hears");
    subscribe(hears, "a", 1);
    struct fake_client *const says = come(0, 0, "says");
    for (unsigned at = 0; at < 3; at += 2) {
        fake_cluster_cut(cluster, at, 1, true);
    }
    fake_cluster_advance(cluster, 1000);
    say(says, "a", "1", 1);
    cr_expect_eq(acknowledged(says), NONE, "it may be back");
    lead_all(2, 2);
    cr_assert_eq(entries_count, 1);
    apply(2, 0);
    cr_expect_eq(acknowledged(says), 0);
    for (unsigned at = 0; at < 3; at += 2) {
        fake_cluster_cut(cluster, at, 1, false);
    }
    fake_cluster_advance(cluster, 5000);
    cr_expect(client_is_ended(hears), "it may have missed something, and knows");
    end();
}

Test(dispatch_run, a_connection_that_breaks_loses_nothing)
{
    begin(2, two);
    lead_all(1, 1);
    struct fake_client *const hears = come(1, 0, "hears");
    subscribe(hears, "a", 1);
    struct fake_client *const says = come(0, 1, "says");
    fake_cluster_stick(cluster, 0, 1, true);
    say(says, "a", "1", 1);
    fake_cluster_cut(cluster, 0, 1, true);
    say(says, "a", "2", 1);
    cr_expect_eq(entries_count, 0);
    fake_cluster_stick(cluster, 0, 1, false);
    fake_cluster_cut(cluster, 0, 1, false);
    fake_cluster_advance(cluster, 5000);
    cr_assert_eq(entries_count, 2);
    cr_expect_str_eq(client_heard(hears), "a=1/1 a=2/1");
    apply(1, 0);
    apply(1, 1);
    cr_expect_eq(acknowledged(says), 0);
    cr_expect_eq(acknowledged(says), 0);
    end();
}

Test(dispatch_run, what_nobody_answers_is_refused_and_the_others_are_not_held_up)
{
    begin(2, two);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (p != WANTS) {
            lead(1, p, 1);
        }
    }
    fake_cluster_advance(cluster, 100);
    struct fake_client *const says = come(0, 0, "says");
    say(says, "a", "1", 1); /* nobody leads one, so nobody knows whether it is wanted there */
    fake_cluster_advance(cluster, 29000);
    cr_expect_eq(acknowledged(says), NONE);
    fake_cluster_advance(cluster, 2000);
    cr_expect_eq(acknowledged(says), 0x80);
    cr_expect_eq(fake_cluster_count(cluster, 0, METRIC_dispatch_unknown), 1);
    lead(1, WANTS, 1);
    fake_cluster_advance(cluster, 100);
    say(says, "b", "2", 1);
    cr_expect_eq(acknowledged(says), NO_MATCHES);
    end();
}

Test(dispatch_run, a_node_that_is_no_member_takes_none)
{
    is_member = false;
    begin(1, two);
    struct fake_client *const says = come(0, 0, "says");
    say(says, "a", "1", 1);
    cr_expect_eq(acknowledged(says), 0x97);
    cr_expect_eq(fake_cluster_count(cluster, 0, METRIC_dispatch_refused), 1);
    say(says, "a", "1", 0); /* which is nobody's but who is here */
    atomic_store(&cluster->nodes[0]->node->member, 1);
    lead_all(0, 1);
    say(says, "b", "2", 1);
    cr_expect_eq(acknowledged(says), NO_MATCHES);
    end();
}

/* What is retained is stored everywhere first, and each subscriber gets it once, in order. */
Test(dispatch_run, what_is_retained_goes_both_ways_and_comes_once)
{
    begin(2, two);
    lead_all(1, 1);
    struct fake_client *const hears = come(1, 0, "hears");
    subscribe(hears, "a", 1);
    struct fake_client *const says = come(0, 0, "says");
    client_send_publish(says, SAY(.topic = "a", .payload = "1", .qos = 1));
    client_send_publish(says, SAY(.topic = "a", .payload = "2", .qos = 1, .retain = true));
    client_send_publish(says, SAY(.topic = "a", .payload = "3", .qos = 1));
    fake_cluster_advance(cluster, 20);
    cr_expect_str_eq(client_heard(hears), "a=1/1 a=2/1 a=3/1");
    cr_assert_eq(entries_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(acknowledged(says), NONE);
        apply(1, i);
        cr_expect_eq(acknowledged(says), 0);
    }
    struct fake_client *const later = come(1, 1, "later");
    subscribe(later, "a", 1);
    cr_expect_str_eq(client_heard(later), "a=2/1r");
    end();
}

/* ---- subscriptions */

static unsigned vouched;

static void on_vouched(struct shard *s, struct subscribe_job *job)
{
    (void)s;
    (void)job;
    vouched++;
}

static struct subscribe_job job = {.done = on_vouched};

static void ask(unsigned at)
{
    struct fake_node *const n = cluster->nodes[at];
    struct shard *const s = fake_node_enter(n, n->node->partition_shard[WANTS]);
    vouched = 0;
    cr_assert(dispatch_run_subscribed(s, WANTS, &job));
}

Test(dispatch_run, a_subscription_waits_for_all_who_may_say_that_there_is_none)
{
    begin(3, mixed);
    lead_all(1, 1);
    ask(1);
    fake_cluster_advance(cluster, 2800);
    cr_expect_eq(vouched, 0, "nobody knows who has a lease of the last leader");
    fake_cluster_advance(cluster, 300);
    cr_expect_eq(vouched, 1);
    ask(1);
    fake_cluster_advance(cluster, 20);
    cr_expect_eq(vouched, 1, "all know all");
    fake_cluster_cut(cluster, 1, 2, true);
    client_send_subscribe(come(1, 0, "hears"), ASK(.filter = "q", .qos = 1));
    fake_cluster_advance(cluster, 20);
    ask(1);
    fake_cluster_advance(cluster, 1500);
    cr_expect_eq(vouched, 0, "one has a lease, and has not heard");
    fake_cluster_advance(cluster, 1700);
    cr_expect_eq(vouched, 1, "it has none any more");
    end();
}
