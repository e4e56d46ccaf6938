/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One source. What it says is read, and answers are made by hand; what becomes of them between many
 * is the simulator's (tests/sim/dispatch_suite.c).
 */
#include "cluster/dispatch/dispatch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ORIGIN 0x0000030000000100u
#define A      0u /* peers */
#define B      1u
#define P(n)   (UINT64_C(1) << (n))

static struct dispatch *d;
static uint64_t now_ms;
static char ended[256]; /* "1+ 2? ": done, unknown */

static void on_ended(void *context, uint64_t op, enum dispatch_end end)
{
    (void)context;
    const size_t len = strlen(ended);
    snprintf(ended + len, sizeof ended - len, "%llu%c ", (unsigned long long)op,
             end == DISPATCH_DONE ? '+' : '?');
}

static void make(uint32_t ops_max, size_t bytes_max)
{
    struct dispatch_conf conf = dispatch_conf_defaults();
    conf.origin = ORIGIN;
    conf.ops_max = ops_max;
    conf.bytes_max = bytes_max;
    conf.message_max = 1000;
    conf.events.ended = on_ended;
    d = dispatch_create(&conf);
    cr_assert_not_null(d);
    dispatch_up(d, A);
    dispatch_up(d, B);
    ended[0] = '\0';
    now_ms = 1000;
}

static void setup(void)
{
    make(1000, 1 << 20);
}

static void teardown(void)
{
    cr_expect(dispatch_check(d));
    dispatch_destroy(d);
}

TestSuite(dispatch, .init = setup, .fini = teardown);

static uint64_t put(uint64_t partitions, uint32_t nodes)
{
    uint64_t op;
    cr_assert_eq(dispatch_put(d, partitions, nodes, bytes_text("m"), now_ms, &op), DISPATCH_OK);
    return op;
}

/* The next frame for a peer: "OP PARTITION:RUN.PLACE@TERM …"; "-": there is none. */
static const char *next(unsigned peer)
{
    static char said[512];
    struct node_dispatch frame;
    struct node_dispatch_item item;
    struct bytes body;
    uint8_t type;
    if (!dispatch_next(d, peer, 4096, now_ms, &type, &body)) {
        return "-";
    }
    cr_assert_eq(type, NODE_FRAME_DISPATCH);
    cr_assert_eq(node_dispatch_decode(&frame, body), NODE_OK);
    cr_expect_eq(frame.origin, ORIGIN);
    cr_expect(bytes_equal(frame.bytes, bytes_text("m")));
    int len = snprintf(said, sizeof said, "%llu", (unsigned long long)frame.op);
    while (node_dispatch_item_next(&frame.items, &item)) {
        len += snprintf(said + len, sizeof said - (size_t)len, " %u:%u.%u@%llu", item.partition,
                        item.run, item.place, (unsigned long long)item.term);
    }
    return said;
}

static void say(unsigned peer, uint64_t origin, struct node_dispatched_item item)
{
    uint8_t out[NODE_DISPATCH_HEAD_MAX + NODE_DISPATCHED_ITEM_BYTES],
        items[NODE_DISPATCHED_ITEM_BYTES];
    const struct node_dispatched frame = {
        .origin = origin, .items = bytes_of(items, node_dispatched_item_encode(items, &item))};
    const size_t len = node_dispatched_encode(out, &frame);
    cr_assert_eq(dispatch_received(d, peer, bytes_of(out, len), now_ms), DISPATCH_OK);
}

static void done(unsigned peer, uint8_t partition, uint64_t op)
{
    say(peer, ORIGIN,
        (struct node_dispatched_item){
            .kind = NODE_DISPATCHED_DONE, .partition = partition, .op = op});
}

static void refuse(unsigned peer, uint8_t kind, uint8_t partition, uint32_t run, uint64_t term)
{
    say(peer, ORIGIN,
        (struct node_dispatched_item){
            .kind = kind, .partition = partition, .run = run, .term = term});
}

Test(dispatch, one_frame_has_all_that_a_peer_leads)
{
    dispatch_leader(d, 3, A, 5);
    dispatch_leader(d, 4, B, 6);
    dispatch_leader(d, 5, A, 7);
    cr_expect_eq(put(P(3) | P(4) | P(5), 1u << A), 1);
    cr_expect_str_eq(next(A), "1 3:2.1@5 5:2.1@7 64:1.1@0");
    cr_expect_str_eq(next(A), "-");
    cr_expect_str_eq(next(B), "1 4:2.1@6");
    done(A, 3, 1);
    done(B, 4, 1);
    done(A, 5, 1);
    cr_expect_str_eq(ended, "");
    done(A, NODE_DISPATCH_NODE, 1);
    cr_expect_str_eq(ended, "1+ ");
    cr_expect_eq(dispatch_figures(d).ops, 0);
    cr_expect_eq(dispatch_figures(d).bytes, 0);
}

Test(dispatch, an_answer_is_for_all_before_it)
{
    dispatch_leader(d, 0, A, 1);
    for (unsigned i = 0; i < 3; i++) {
        put(P(0), 0);
        next(A);
    }
    put(P(0), 0); /* is not sent yet */
    done(A, 0, 2);
    cr_expect_str_eq(ended, "1+ 2+ ");
    done(A, 0, 99);
    cr_expect_str_eq(ended, "1+ 2+ 3+ ");
    cr_expect_str_eq(next(A), "4 0:2.4@1");
}

Test(dispatch, the_next_leader_gets_the_oldest_first)
{
    put(P(0), 0);
    cr_expect_str_eq(next(A), "-"); /* nobody leads */
    dispatch_leader(d, 0, A, 1);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "1 0:2.1@1");
    cr_expect_str_eq(next(A), "2 0:2.2@1");
    refuse(A, NODE_DISPATCHED_LOST, 0, 2, 1);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "-");
    dispatch_leader(d, 0, B, 2);
    dispatch_leader(d, 0, A, 1); /* late */
    cr_expect_str_eq(next(A), "-");
    cr_expect_str_eq(next(B), "1 0:3.1@2");
    done(A, 0, 1); /* committed is committed, whoever says it */
    cr_expect_str_eq(ended, "1+ ");
    cr_expect_str_eq(next(B), "2 0:3.2@2");
    cr_expect_str_eq(next(B), "3 0:3.3@2");
    cr_expect_str_eq(next(B), "-");
    refuse(A, NODE_DISPATCHED_LOST, 0, 2, 1); /* of the leader before */
    done(B, 0, 3);
    cr_expect_str_eq(ended, "1+ 2+ 3+ ");
    cr_expect_eq(dispatch_figures(d).repeated, 2);
}

/* It was asked too early: it says again that it leads. */
Test(dispatch, who_did_not_lead_may_lead_in_the_same_term)
{
    dispatch_leader(d, 0, A, 1);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "1 0:2.1@1");
    refuse(A, NODE_DISPATCHED_LOST, 0, 2, 1);
    cr_expect_str_eq(next(A), "-");
    dispatch_leader(d, 0, A, 1);
    cr_expect_str_eq(next(A), "1 0:3.1@1");
    dispatch_leader(d, 0, A, 1);
    cr_expect_str_eq(next(A), "-");
    dispatch_leader(d, 0, DISPATCH_NOBODY, 1);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "-");
}

Test(dispatch, what_is_refused_begins_again_a_little_later)
{
    dispatch_leader(d, 0, A, 1);
    put(P(0), 0);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "1 0:2.1@1");
    cr_expect_str_eq(next(A), "2 0:2.2@1");
    refuse(A, NODE_DISPATCHED_REPEAT, 0, 2, 1);
    refuse(A, NODE_DISPATCHED_REPEAT, 0, 2, 1); /* the second one's: it is known */
    cr_expect_str_eq(next(A), "-");
    cr_expect_eq(dispatch_next_ms(d), now_ms + 50);
    now_ms += 50;
    dispatch_turn(d, now_ms);
    cr_expect_str_eq(next(A), "1 0:3.1@1");
    cr_expect_str_eq(next(A), "2 0:3.2@1");
}

Test(dispatch, a_new_connection_begins_with_what_is_not_answered)
{
    dispatch_leader(d, 0, A, 1);
    put(P(0), 1u << A);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "1 0:2.1@1 64:1.1@0");
    dispatch_down(d, A);
    cr_expect_str_eq(next(A), "-");
    dispatch_up(d, A);
    cr_expect_str_eq(next(A), "1 0:3.1@1 64:2.1@0");
    cr_expect_str_eq(next(A), "2 0:3.2@1");
    cr_expect_str_eq(next(A), "-");
}

Test(dispatch, what_is_behind_waits_for_nobody_elses_partition)
{
    dispatch_leader(d, 1, A, 1);
    put(P(0), 0); /* has no leader */
    put(P(0) | P(1), 0);
    cr_expect_str_eq(next(A), "2 1:2.1@1");
    put(P(1), 0);
    cr_expect_str_eq(next(A), "3 1:2.2@1");
    done(A, 1, 3);
    cr_expect_str_eq(ended, "3+ ");
    dispatch_leader(d, 0, A, 9);
    cr_expect_str_eq(next(A), "1 0:2.1@9");
    cr_expect_str_eq(next(A), "2 0:2.2@9");
    cr_expect_eq(dispatch_figures(d).waiting, P(0));
}

Test(dispatch, what_takes_too_long_is_unknown_and_not_sent_again)
{
    dispatch_leader(d, 0, A, 1);
    put(P(0) | P(1), 0);
    put(P(1), 0);
    next(A);
    done(A, 0, 1);
    now_ms += 10;
    put(P(0) | P(1), 0);
    next(A);
    cr_expect_eq(dispatch_next_ms(d), 31000);
    dispatch_turn(d, 30999);
    cr_expect_str_eq(ended, "");
    dispatch_turn(d, 31000);
    cr_expect_str_eq(ended, "1? 2? ");
    dispatch_leader(d, 1, B, 1);
    cr_expect_str_eq(next(B), "3 1:2.1@1");
    done(B, 1, 3);
    done(A, 0, 3);
    cr_expect_str_eq(ended, "1? 2? 3+ ");
    cr_expect_eq(dispatch_next_ms(d), UINT64_MAX);
}

/* What was sent and given up is in the middle of a run, which goes on. */
Test(dispatch, a_run_goes_on_behind_what_was_given_up)
{
    dispatch_leader(d, 0, A, 1);
    put(P(0), 0);
    next(A);
    now_ms += 30000;
    dispatch_turn(d, now_ms);
    put(P(0), 0);
    cr_expect_str_eq(next(A), "2 0:2.2@1");
    done(A, 0, 1);
    cr_expect_str_eq(ended, "1? ");
}

Test(dispatch, a_node_that_is_gone_is_not_waited_for)
{
    dispatch_leader(d, 0, B, 1);
    put(P(0), 1u << A | 1u << B);
    put(0, 1u << A);
    next(A);
    dispatch_gone(d, A);
    cr_expect_str_eq(ended, "2+ ");
    cr_expect_str_eq(next(B), "1 0:2.1@1 64:1.1@0");
    done(B, 0, 1);
    done(B, NODE_DISPATCH_NODE, 1);
    cr_expect_str_eq(ended, "2+ 1+ ");
    put(0, 1u << A);
    cr_expect_str_eq(next(A), "3 64:2.1@0");
}

Test(dispatch, full_takes_nothing)
{
    teardown();
    uint64_t op = 0;
    make(2, 1 << 20);
    put(P(0), 0);
    put(P(0), 0);
    cr_expect_eq(dispatch_put(d, P(0), 0, bytes_text("m"), now_ms, &op), DISPATCH_FULL);
    dispatch_leader(d, 0, A, 1);
    next(A);
    done(A, 0, 1);
    cr_expect_eq(put(P(0), 0), 3);
    dispatch_destroy(d);
    static uint8_t large[1001];
    make(1000, 3000);
    cr_expect_eq(dispatch_put(d, P(0), 0, bytes_of(large, 1001), now_ms, &op), DISPATCH_TOO_LARGE);
    cr_expect_eq(dispatch_put(d, P(0), 0, bytes_of(large, 1000), now_ms, &op), DISPATCH_OK);
    cr_expect_eq(dispatch_put(d, P(0), 0, bytes_of(large, 1000), now_ms, &op), DISPATCH_OK);
    cr_expect_eq(dispatch_put(d, P(0), 0, bytes_of(large, 1000), now_ms, &op), DISPATCH_FULL);
    cr_expect_eq(op, 2);
    cr_expect_eq(dispatch_figures(d).full, 1);
}

Test(dispatch, answers_for_another_start_are_nothing)
{
    dispatch_leader(d, 0, A, 1);
    put(P(0), 0);
    next(A);
    say(A, ORIGIN + 1,
        (struct node_dispatched_item){.kind = NODE_DISPATCHED_DONE, .partition = 0, .op = 1});
    cr_expect_str_eq(ended, "");
    cr_expect_eq(dispatch_received(d, A, bytes_text("?"), now_ms), DISPATCH_MALFORMED);
}

Test(dispatch, a_frame_waits_for_room)
{
    struct bytes body;
    uint8_t type;
    dispatch_leader(d, 0, A, 1);
    put(P(0), 0);
    cr_expect_not(dispatch_next(d, A, 20, now_ms, &type, &body));
    cr_expect_str_eq(next(A), "1 0:2.1@1");
}
