/* SPDX-License-Identifier: Apache-2.0 */
/* interest_test: some nodes that tell each other what they want (net.h), one claim each. */
#include "cluster/interest/interest.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/interest/net.h"

static struct net *n;

static void begin(void)
{
    n = net_create(3, NULL);
    net_run(n, 10);
}

static void end(void)
{
    net_destroy(n);
}

TestSuite(interest, .init = begin, .fini = end);

static struct interest_peer_figures at(unsigned node, unsigned peer)
{
    return interest_peer_figures(n->nodes[node].interest, peer);
}

static struct interest_figures of(unsigned node)
{
    return interest_figures(n->nodes[node].interest);
}

static void expect_equal(void)
{
    for (unsigned a = 0; a < n->count; a++) {
        for (unsigned b = 0; b < n->count; b++) {
            if (a != b) {
                cr_expect(net_is_equal(n, a, b), "%u of %u", a, b);
                cr_expect(at(a, b).digest.sum == of(b).own_digest.sum, "%u of %u", a, b);
            }
        }
    }
}

/* ---- In peace */

Test(interest, is_told_to_all)
{
    net_take(n, 0, 0);
    net_take(n, 0, 1);
    net_take(n, 1, 1);
    net_take(n, 1, 3);
    net_take(n, 1, 3);
    net_settle(n);
    cr_expect_eq(n->nodes[1].index[0][0], 1);
    cr_expect_eq(n->nodes[2].index[0][1], 1);
    cr_expect_eq(n->nodes[2].index[1][1], 1);
    cr_expect_eq(n->nodes[0].index[1][3], 1, "how many they are is told later");
    net_run(n, 2000);
    cr_expect_eq(n->nodes[0].index[1][3], 2);
    expect_equal();
    net_put(n, 0, 0);
    net_run(n, 1999);
    cr_expect_eq(n->nodes[1].index[0][0], 1);
    net_run(n, 1);
    cr_expect_eq(n->nodes[1].index[0][0], 0);
    expect_equal();
    cr_expect_eq(of(0).divergences, 0);
}

Test(interest, costs_a_digest_a_second_where_nothing_changes)
{
    net_take(n, 0, 0);
    net_run(n, 5000);
    const uint64_t frames = n->frames;
    net_run(n, 10000);
    cr_expect_eq(n->frames - frames, 10 * 6);
}

/* ---- Who waits */

Test(interest, is_reached_when_all_have_acknowledged)
{
    const uint64_t version = net_take(n, 0, 0);
    cr_expect_not(interest_is_reached(n->nodes[0].interest, version));
    cr_assert_eq(interest_wait(n->nodes[0].interest, version, 77, n->now_ms), INTEREST_OK);
    net_pump(n, 0, 1);
    cr_assert(net_deliver(n, 0, 1));
    net_index(n, 1, SIZE_MAX);
    net_pump(n, 1, 0);
    cr_assert(net_deliver(n, 1, 0));
    cr_expect_eq(n->nodes[0].reached_count, 0, "one of two");
    net_pump(n, 0, 2);
    cr_assert(net_deliver(n, 0, 2));
    net_pump(n, 2, 0);
    cr_expect_not(net_deliver(n, 2, 0), "its index does not have it yet");
    net_index(n, 2, SIZE_MAX);
    net_pump(n, 2, 0);
    cr_assert(net_deliver(n, 2, 0));
    cr_expect_eq(n->nodes[0].reached_count, 1);
    cr_expect_eq(n->nodes[0].reached_token, 77);
    cr_expect_eq(n->nodes[0].reached_without, 0);
    cr_expect(interest_is_reached(n->nodes[0].interest, version));
    cr_expect_eq(of(0).reached_whole, 1);
}

Test(interest, is_not_waited_for_longer_than_that)
{
    n->mute[2] = true;
    const uint64_t version = net_take(n, 0, 0);
    cr_assert_eq(interest_wait(n->nodes[0].interest, version, 1, n->now_ms), INTEREST_OK);
    net_run(n, 499);
    cr_expect_eq(n->nodes[0].reached_count, 0);
    net_run(n, 1);
    cr_expect_eq(n->nodes[0].reached_count, 1);
    cr_expect_eq(n->nodes[0].reached_without, 1u << 2, "that one is named");
    cr_expect_eq(of(0).reached_without, 1);
    cr_expect_eq(of(0).waiting, 0);
}

Test(interest, does_not_wait_for_who_is_not_live)
{
    n->mute[2] = true;
    const uint64_t version = net_take(n, 0, 0);
    cr_assert_eq(interest_wait(n->nodes[0].interest, version, 1, n->now_ms), INTEREST_OK);
    net_run(n, 100);
    cr_expect_eq(n->nodes[0].reached_count, 0);
    net_live(n, 0, 2, false);
    cr_expect_eq(n->nodes[0].reached_count, 1);
    cr_expect_eq(n->nodes[0].reached_without, 0);
}

Test(interest, of_a_node_alone_is_reached_at_once)
{
    net_live(n, 0, 1, false);
    net_live(n, 0, 2, false);
    cr_expect(interest_is_reached(n->nodes[0].interest, net_take(n, 0, 0)));
}

/* A filter that is there already, but has not arrived everywhere. */
Test(interest, of_the_second_waits_for_the_first)
{
    const uint64_t version = net_take(n, 0, 0);
    cr_expect_eq(net_take(n, 0, 0), version);
    cr_expect_not(interest_is_reached(n->nodes[0].interest, version));
    net_settle(n);
    cr_expect(interest_is_reached(n->nodes[0].interest, net_take(n, 0, 0)));
}

Test(interest, waits_have_a_bound)
{
    struct interest_conf conf = interest_conf_defaults();
    conf.waits_max = 3;
    net_destroy(n);
    n = net_create(2, &conf);
    net_run(n, 10);
    const uint64_t version = net_take(n, 0, 0);
    struct interest *const i = n->nodes[0].interest;
    for (unsigned token = 0; token < 3; token++) {
        cr_assert_eq(interest_wait(i, version, token, n->now_ms), INTEREST_OK);
    }
    cr_expect_eq(interest_wait(i, version, 3, n->now_ms), INTEREST_FULL);
    cr_expect_eq(of(0).waits_refused, 1);
    net_settle(n);
    cr_expect_eq(n->nodes[0].reached_count, 3);
    cr_expect_eq(n->nodes[0].reached_token, 2, "in their order");
    cr_assert_eq(interest_wait(i, net_take(n, 0, 1), 4, n->now_ms), INTEREST_OK);
    cr_assert_eq(interest_wait(i, version, 5, n->now_ms), INTEREST_OK);
    cr_expect_eq(n->nodes[0].reached_count, 3);
    net_settle(n);
    cr_expect_eq(n->nodes[0].reached_count, 5);
}

/* A new connection: what the peer had acknowledged on the last one is not taken for granted. */
Test(interest, is_not_reached_until_the_peer_says_so_again)
{
    const uint64_t version = net_take(n, 0, 0);
    net_settle(n);
    cr_expect(interest_is_reached(n->nodes[0].interest, version));
    net_down(n, 0, 1);
    cr_expect_not(interest_is_reached(n->nodes[0].interest, version));
    net_up(n, 0, 1);
    cr_expect_not(interest_is_reached(n->nodes[0].interest, version));
    net_settle(n);
    cr_expect(interest_is_reached(n->nodes[0].interest, version));
}

/* ---- Connections that end */

Test(interest, goes_on_by_the_tail)
{
    net_take(n, 0, 0);
    net_take(n, 0, 1);
    net_run(n, 100);
    const uint64_t snapshots = of(0).snapshots_sent;
    net_down(n, 0, 1);
    net_take(n, 0, 2);
    net_put(n, 0, 0);
    net_run(n, 3000);
    cr_expect_eq(n->nodes[1].index[0][0], 1);
    cr_expect_eq(n->nodes[1].index[0][2], 0);
    net_up(n, 0, 1);
    net_settle(n);
    cr_expect_eq(n->nodes[1].index[0][0], 0);
    cr_expect_eq(n->nodes[1].index[0][2], 1);
    cr_expect_eq(of(0).snapshots_sent, snapshots);
    cr_expect_geq(of(0).tails_sent, 1);
    expect_equal();
}

Test(interest, goes_on_by_a_snapshot_where_the_tail_does_not_reach)
{
    struct interest_conf conf = interest_conf_defaults();
    conf.tail_ops_max = 4;
    net_destroy(n);
    n = net_create(2, &conf);
    for (unsigned text = 0; text < 8; text++) {
        net_take(n, 0, text);
        net_settle(n);
    }
    const uint64_t snapshots = of(0).snapshots_sent;
    net_down(n, 0, 1);
    for (unsigned text = 0; text < 5; text++) {
        net_put(n, 0, text);
        net_take(n, 0, 20 + text);
    }
    net_run(n, 5000);
    net_up(n, 0, 1);
    net_settle(n);
    expect_equal();
    cr_expect_eq(of(0).snapshots_sent, snapshots + 1);
    cr_expect_eq(of(1).snapshots_received, 2);
}

/* Changes that a peer has not taken yet are not kept for ever. */
Test(interest, gives_a_snapshot_to_who_falls_behind)
{
    struct interest_conf conf = interest_conf_defaults();
    conf.tail_ops_max = 4;
    net_destroy(n);
    n = net_create(2, &conf);
    net_settle(n);
    const uint64_t snapshots = of(0).snapshots_sent;
    n->room = 0;
    for (unsigned text = 0; text < 20; text++) {
        net_take(n, 0, text);
    }
    net_settle(n);
    cr_expect_eq(at(1, 0).items, 0);
    n->room = 1u << 20;
    net_settle(n);
    expect_equal();
    cr_expect_eq(of(0).snapshots_sent, snapshots + 1);
}

/* Parts, changes between them, and no more parts under way than may be. */
Test(interest, is_given_in_parts)
{
    struct interest_conf conf = interest_conf_defaults();
    conf.turn_steps = 4;
    conf.parts_max = 2;
    net_destroy(n);
    n = net_create(2, &conf);
    net_settle(n);
    net_down(n, 0, 1);
    net_restart(n, 1);
    for (unsigned text = 0; text < NET_TEXTS; text++) {
        net_take(n, 0, text);
    }
    net_up(n, 0, 1);
    net_pump(n, 1, 0);
    cr_assert(net_deliver(n, 1, 0));
    net_pump(n, 0, 1);
    unsigned parts = 0;
    const struct net_stream *const s = &n->streams[0][1];
    for (size_t i = 0; i < s->count; i++) {
        parts += s->frames[(s->first + i) % NET_FRAMES].type == NODE_FRAME_INTEREST_SNAPSHOT;
    }
    cr_expect_eq(parts, 2);
    net_put(n, 0, 0);
    net_put(n, 0, 1);
    net_run(n, 3000);
    expect_equal();
    cr_expect_eq(of(1).snapshots_received, 1);
}

Test(interest, begins_a_snapshot_again_when_the_connection_breaks_in_it)
{
    struct interest_conf conf = interest_conf_defaults();
    conf.turn_steps = 4;
    net_destroy(n);
    n = net_create(2, &conf);
    for (unsigned text = 0; text < NET_TEXTS; text++) {
        net_take(n, 0, text);
    }
    net_pump(n, 1, 0);
    cr_assert(net_deliver(n, 1, 0));
    net_pump(n, 0, 1);
    for (unsigned i = 0; i < 3; i++) {
        net_deliver(n, 0, 1);
    }
    cr_expect_eq(at(1, 0).state, VIEW_FILLING);
    net_down(n, 0, 1);
    cr_expect_eq(at(1, 0).state, VIEW_NONE);
    net_up(n, 0, 1);
    net_settle(n);
    expect_equal();
}

/* ---- Nodes that come and go */

Test(interest, of_a_node_that_was_started_anew_is_its_new_one)
{
    net_take(n, 0, 0);
    net_take(n, 0, 1);
    net_take(n, 1, 5);
    net_settle(n);
    net_restart(n, 0);
    net_take(n, 0, 2);
    cr_expect_eq(n->nodes[1].index[0][0], 1, "until the new one is known");
    net_up(n, 0, 1);
    net_up(n, 0, 2);
    net_settle(n);
    expect_equal();
    cr_expect_eq(n->nodes[0].index[1][5], 1);
    cr_expect_eq(at(1, 0).generation, 2);
}

Test(interest, of_a_dead_node_is_kept_for_some_time)
{
    net_take(n, 0, 0);
    net_settle(n);
    net_down(n, 0, 1);
    net_live(n, 1, 0, false);
    net_run(n, 59999);
    cr_expect_eq(n->nodes[1].index[0][0], 1);
    net_run(n, 1);
    cr_expect_eq(n->nodes[1].index[0][0], 0);
    cr_expect_eq(at(1, 0).items, 0);
    net_live(n, 1, 0, true);
    net_up(n, 0, 1);
    net_settle(n);
    expect_equal();
}

Test(interest, of_a_node_that_comes_back_in_time_is_there)
{
    net_take(n, 0, 0);
    net_settle(n);
    const uint64_t snapshots = of(0).snapshots_sent;
    net_down(n, 0, 1);
    net_live(n, 1, 0, false);
    net_run(n, 59000);
    net_live(n, 1, 0, true);
    net_run(n, 60000);
    cr_expect_eq(n->nodes[1].index[0][0], 1);
    net_up(n, 0, 1);
    net_settle(n);
    expect_equal();
    cr_expect_eq(of(0).snapshots_sent, snapshots);
}

Test(interest, of_a_node_that_is_forgotten_is_gone)
{
    const uint64_t version = net_take(n, 1, 0);
    net_take(n, 0, 0);
    net_settle(n);
    cr_assert_eq(interest_wait(n->nodes[1].interest, version + 1, 5, n->now_ms), INTEREST_OK);
    net_live(n, 1, 2, false);
    net_down(n, 0, 1);
    interest_peer_forget(n->nodes[1].interest, 0);
    net_index(n, 1, SIZE_MAX);
    cr_expect_eq(n->nodes[1].index[0][0], 0);
    cr_expect_eq(at(1, 0).state, VIEW_NONE);
    cr_expect_eq(n->nodes[1].reached_count, 1, "nobody is left to be waited for");
}

/* ---- What somebody else has to be found by */

Test(interest, of_a_dead_node_stays_while_it_is_kept)
{
    net_take(n, 0, 0);
    net_settle(n);
    interest_peer_keep(n->nodes[1].interest, 0, true);
    net_down(n, 0, 1);
    net_live(n, 1, 0, false);
    net_run(n, 200000);
    cr_expect_eq(n->nodes[1].index[0][0], 1);
    cr_expect_eq(interest_next_ms(n->nodes[1].interest) > n->now_ms, true, "it is not asked for");
    interest_peer_keep(n->nodes[1].interest, 0, false);
    net_run(n, 1);
    cr_expect_eq(n->nodes[1].index[0][0], 0);
}

static void keep_over_a_restart(void)
{
    net_take(n, 0, 0);
    net_settle(n);
    interest_peer_keep(n->nodes[1].interest, 0, true);
    net_restart(n, 0);
    net_take(n, 0, 1);
    net_up(n, 0, 1);
    net_up(n, 0, 2);
    net_settle(n);
    cr_expect_eq(n->nodes[1].index[0][0], 1, "of the start before");
    cr_expect_eq(n->nodes[1].index[0][1], 1);
    cr_expect_eq(n->nodes[2].index[0][0], 0, "who does not keep it has it no more");
}

Test(interest, of_the_start_before_stays_while_it_is_kept)
{
    keep_over_a_restart();
    const uint64_t version = net_take(n, 0, 2);
    cr_assert_eq(interest_wait(n->nodes[0].interest, version, 5, n->now_ms), INTEREST_OK);
    net_settle(n);
    cr_expect_eq(n->nodes[0].reached_count, 1, "who keeps something vouches for what is new");
    cr_expect_eq(n->nodes[0].reached_without, 0);
    net_put(n, 0, 2);
    net_run(n, 3000);
    cr_expect_eq(n->nodes[1].index[0][2], 0, "what it takes back itself goes");
    cr_expect_eq(of(1).divergences, 0, "what is too much is no difference");

    interest_peer_keep(n->nodes[1].interest, 0, false);
    net_settle(n);
    cr_expect_eq(n->nodes[1].index[0][0], 0);
    net_run(n, 3000);
    expect_equal();
    cr_expect_eq(of(1).divergences, 0);
}

Test(interest, that_is_missing_is_noticed_while_more_is_kept)
{
    keep_over_a_restart();
    net_take(n, 0, 2);
    net_pump(n, 0, 1);
    struct net_stream *const s = &n->streams[0][1];
    cr_assert_eq(s->count, 1);
    free(s->frames[s->first].body);
    s->first = (s->first + 1) % NET_FRAMES;
    s->count--;
    net_run(n, 3000);
    cr_expect_eq(n->nodes[1].index[0][2], 1);
}

/* ---- Faults */

/* Something changed on the way, or here: the sums do not agree, and all is told anew. */
Test(interest, that_differs_is_found_and_made_good)
{
    net_take(n, 0, 0);
    net_pump(n, 0, 1);
    struct net_stream *const s = &n->streams[0][1];
    cr_assert_eq(s->count, 1);
    struct net_frame *const f = &s->frames[s->first];
    cr_assert_eq(f->type, NODE_FRAME_INTEREST_DELTA);
    cr_assert_eq(memcmp(f->body + f->len - 5, "t/0/#", 5), 0);
    f->body[f->len - 3] = '4'; /* "t/4/#" */
    net_settle(n);
    cr_expect_eq(n->nodes[1].index[0][4], 1);
    cr_expect_eq(at(1, 0).version, at(2, 0).version);
    const uint64_t snapshots = of(0).snapshots_sent;
    net_run(n, 1000);
    cr_expect_eq(of(1).divergences, 1);
    cr_expect_eq(of(0).snapshots_sent, snapshots + 1);
    expect_equal();
    net_run(n, 10000);
    cr_expect_eq(of(1).divergences, 1);
}

/* Who asks for all of it anew vouches for nothing. */
Test(interest, that_is_made_good_is_not_reached_meanwhile)
{
    const uint64_t version = net_take(n, 0, 0);
    net_settle(n);
    cr_expect(interest_is_reached(n->nodes[0].interest, version));
    uint8_t body[NODE_INTEREST_HEAD_MAX];
    const struct node_interest_ack ack = {.want = NODE_WANT_SNAPSHOT};
    const struct node_frame frame = {.type = NODE_FRAME_INTEREST_ACK,
                                     .body = bytes_of(body, node_interest_ack_encode(body, &ack))};
    cr_assert_eq(interest_received(n->nodes[0].interest, 1, &frame, n->now_ms), INTEREST_OK);
    cr_expect_not(interest_is_reached(n->nodes[0].interest, version));
    net_settle(n);
    cr_expect(interest_is_reached(n->nodes[0].interest, version));
}

Test(interest, is_tried_again_when_there_was_no_memory)
{
    n->nodes[1].no_memory = true;
    const uint64_t version = net_take(n, 0, 0);
    net_run(n, 900);
    cr_expect_eq(of(1).no_memory, 1);
    cr_expect_not(interest_is_reached(n->nodes[0].interest, version));
    net_take(n, 0, 1);
    net_run(n, 50);
    cr_expect_eq(of(1).no_memory, 1, "not before its time");
    n->nodes[1].no_memory = false;
    net_run(n, 100);
    expect_equal();
    cr_expect(interest_is_reached(n->nodes[0].interest, version));
}

static enum interest_err receive(uint8_t type, const uint8_t *body, size_t len)
{
    const struct node_frame frame = {.type = type, .body = bytes_of(body, len)};
    return interest_received(n->nodes[0].interest, 1, &frame, n->now_ms);
}

Test(interest, minds_what_is_malformed)
{
    uint8_t body[NODE_INTEREST_HEAD_MAX];
    for (unsigned type = NODE_FRAME_INTEREST_DELTA; type <= NODE_FRAME_INTEREST_ACK; type++) {
        cr_expect_eq(receive((uint8_t)type, (const uint8_t *)"x", 1), INTEREST_MALFORMED, "%u",
                     type);
    }
    cr_expect_eq(receive(NODE_FRAME_PUBLISH, (const uint8_t *)"x", 1), INTEREST_MALFORMED);
    const struct node_interest_ack ack = {.generation = 1, .version = 1};
    cr_expect_eq(receive(NODE_FRAME_INTEREST_ACK, body, node_interest_ack_encode(body, &ack)),
                 INTEREST_MALFORMED, "what was never said");
    const struct node_interest_snapshot s = {.generation = 0};
    cr_expect_eq(
        receive(NODE_FRAME_INTEREST_SNAPSHOT, body, node_interest_snapshot_encode(body, &s)),
        INTEREST_MALFORMED, "of no start");
    net_down(n, 0, 1);
    cr_expect_eq(receive(NODE_FRAME_INTEREST_ACK, (const uint8_t *)"x", 1), INTEREST_OK,
                 "of a connection that is over");
}
