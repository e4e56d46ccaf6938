/* SPDX-License-Identifier: Apache-2.0 */
/* link_test: two links that talk to each other (pair.h), one claim each. */
#include "cluster/link/link.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/link/pair.h"

#define HEARD_MAX 4096u

static struct pair p;

/* What side 1, and side 0, were delivered. */
static struct heard {
    uint64_t values[HEARD_MAX];
    size_t count;
    unsigned refuse; /* so many are not taken yet */
    unsigned pass;   /* so many are of a type that nobody takes */
} heard[2];

static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    struct heard *const h = context;
    if (h->refuse > 0) {
        h->refuse--;
        return LINK_NOT_NOW;
    }
    if (h->pass > 0) {
        h->pass--;
        return LINK_UNKNOWN;
    }
    cr_assert(h->count < HEARD_MAX);
    h->values[h->count++] = pair_value(frame);
    return LINK_TAKEN;
}

static void begin_with(const struct link_conf *conf)
{
    pair_init(&p, conf);
    for (unsigned side = 0; side < 2; side++) {
        heard[side] = (struct heard){.count = 0};
        p.sides[side].hooks = (struct link_events){.deliver = on_deliver, .context = &heard[side]};
    }
}

static void begin(void)
{
    begin_with(NULL);
    pair_run(&p, 10);
    cr_assert(link_is_up(p.sides[0].link));
    cr_assert(link_is_up(p.sides[1].link));
}

static void end(void)
{
    pair_fini(&p);
}

TestSuite(link, .init = begin, .fini = end);

static struct link_figures figures(unsigned side)
{
    return link_figures(p.sides[side].link);
}

static void put(unsigned side, uint64_t from, uint64_t to)
{
    for (uint64_t v = from; v <= to; v++) {
        cr_assert_eq(pair_put(&p, side, true, v, 0, NULL), LINK_OK);
    }
}

static void expect_heard(unsigned side, uint64_t from, uint64_t to)
{
    cr_assert_eq(heard[side].count, to + 1 - from, "%zu", heard[side].count);
    for (size_t i = 0; i < heard[side].count; i++) {
        cr_expect_eq(heard[side].values[i], from + i);
    }
}

/* ---- In peace */

Test(link, delivers_both_ways)
{
    put(0, 1, 100);
    put(1, 1, 50);
    pair_settle(&p);
    expect_heard(1, 1, 100);
    expect_heard(0, 1, 50);
    cr_expect_eq(p.sides[0].ups, 1);
    cr_expect_eq(p.sides[1].ups, 1);
    cr_expect_eq(p.sides[0].gaps + p.sides[1].gaps, 0);
    cr_expect_eq(figures(0).peer_generation, 1);
}

Test(link, acknowledges_after_some_time)
{
    put(0, 1, 3);
    pair_settle(&p);
    cr_expect_eq(figures(0).kept_frames, 3);
    pair_run(&p, 4);
    cr_expect_eq(figures(0).kept_frames, 3);
    pair_run(&p, 1);
    cr_expect_eq(figures(0).kept_frames, 0);
    cr_expect_eq(figures(0).acked_seq, 3);
    cr_expect_eq(figures(1).received_seq, 3);
}

Test(link, acknowledges_after_some_bytes)
{
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(pair_put(&p, 0, true, i, 9000, NULL), LINK_OK);
    }
    pair_settle(&p);
    cr_expect_eq(figures(0).kept_frames, 0, "at once");
}

/* What is not taken is not acknowledged, and comes again until it is. */
Test(link, acknowledges_what_was_taken)
{
    heard[1].refuse = 1;
    put(0, 1, 2);
    pair_settle(&p);
    cr_expect_eq(figures(1).received_seq, 2, "taken the second time");
    heard[1].refuse = UINT32_MAX;
    put(0, 3, 3);
    pair_run(&p, 100);
    cr_expect(link_is_held(p.sides[1].link));
    cr_expect_eq(figures(1).received_seq, 2);
    cr_expect_eq(figures(0).kept_frames, 1);
    heard[1].refuse = 0;
    pair_run(&p, 10);
    expect_heard(1, 1, 3);
    cr_expect_eq(figures(0).kept_frames, 0);
}

/* What a newer node sends and nobody here takes is done with, and what follows comes. */
Test(link, passes_over_what_nobody_takes)
{
    heard[1].pass = 2;
    put(0, 1, 5);
    pair_run(&p, 10);
    expect_heard(1, 3, 5);
    cr_expect_eq(figures(1).skipped, 2);
    cr_expect_eq(figures(0).kept_frames, 0);
    cr_expect_eq(p.sides[1].downs, 0);
}

Test(link, that_holds_on_is_not_taken_for_dead)
{
    heard[1].refuse = UINT32_MAX;
    put(0, 1, 1);
    pair_run(&p, 60000);
    cr_expect_eq(p.sides[1].downs, 0);
    heard[1].refuse = 0;
    pair_run(&p, 10);
    expect_heard(1, 1, 1);
}

Test(link, lives_by_pings)
{
    pair_run(&p, 600000);
    cr_expect_eq(p.sides[0].downs + p.sides[1].downs, 0);
    cr_expect_eq(p.connections_made, 1);
}

/* ---- Connections that end */

Test(link, sends_again_what_did_not_arrive)
{
    put(0, 1, 100);
    struct pair_connection *c = pair_connection(&p);
    c->to[1].stalled = true;
    pair_settle(&p);
    pair_cut(&p, c, 1, 1000); /* in the middle of a frame */
    c->to[1].stalled = false;
    put(0, 101, 200);
    pair_run(&p, 1000);
    expect_heard(1, 1, 200);
    cr_expect_eq(p.sides[1].gaps, 0);
    cr_expect_eq(p.connections_made, 2);
    cr_expect_gt(figures(0).resent, 0);
    cr_expect_eq(figures(0).kept_frames, 0);
}

/* They arrived, but the acknowledgement did not. */
Test(link, does_not_deliver_again_what_did)
{
    struct pair_connection *c = pair_connection(&p);
    c->to[0].stalled = true;
    put(0, 1, 10);
    pair_run(&p, 10);
    pair_cut(&p, c, 0, 0);
    c->to[0].stalled = false;
    pair_run(&p, 1000);
    expect_heard(1, 1, 10);
    cr_expect_eq(figures(0).kept_frames, 0, "HELLO said so");
    cr_expect_eq(figures(0).resent, 0);
}

Test(link, hears_that_nothing_comes)
{
    struct pair_connection *c = pair_connection(&p);
    c->to[0].stalled = true;
    pair_run(&p, 4980); /* of 5,000 since HELLO */
    cr_expect_eq(p.sides[0].downs, 0);
    pair_run(&p, 1200);
    cr_expect_eq(p.sides[0].downs, 1);
    cr_expect_eq(p.sides[0].down_why, NODE_CLOSE_SILENT);
    cr_expect_eq(p.sides[1].down_why, NODE_CLOSE_SILENT, "it was told");
    cr_expect(link_is_up(p.sides[0].link), "there is another one");
}

/* The end that side 1 does not hear of: the new connection takes the place of the old one. */
Test(link, has_one_connection_the_newest)
{
    struct pair_connection *c = pair_connection(&p);
    put(1, 1, 10);
    c->to[0].stalled = true;
    c->to[1].stalled = true;
    pair_settle(&p);
    link_down(p.sides[0].link, c->id, NODE_CLOSE_BROKEN, p.now_ms);
    c->attached[0] = false;
    c->to[0].closed = true;
    pair_run(&p, 1000);
    cr_expect_eq(p.sides[1].down_why, NODE_CLOSE_REPLACED);
    cr_expect(link_is_up(p.sides[1].link));
    expect_heard(0, 1, 10);
}

Test(link, waits_longer_each_time_before_it_dials)
{
    p.unreachable = true;
    pair_cut(&p, pair_connection(&p), 0, 0);
    pair_run(&p, 100);
    uint64_t last_ms = p.now_ms;
    unsigned longer = 0;
    for (unsigned i = 0; i < 9; i++) {
        const uint64_t next_ms = link_next_ms(p.sides[0].link);
        cr_assert_neq(next_ms, UINT64_MAX);
        longer += next_ms - p.now_ms > p.now_ms - last_ms;
        last_ms = p.now_ms;
        p.now_ms = next_ms;
        pair_settle(&p);
    }
    cr_expect_gt(longer, 3);
    for (unsigned i = 0; i < 20; i++) {
        const uint64_t wait = link_next_ms(p.sides[0].link) - p.now_ms;
        cr_expect(wait >= 2500 && wait <= 5000, "%lu", wait);
        p.now_ms += wait;
        pair_settle(&p);
    }
    p.unreachable = false;
    pair_run(&p, 5000);
    cr_expect(link_is_up(p.sides[0].link));
}

Test(link, is_off_when_it_is_not_wanted)
{
    put(0, 1, 1);
    link_want(p.sides[0].link, false, p.now_ms);
    pair_run(&p, 100);
    cr_expect_eq(p.sides[0].down_why, NODE_CLOSE_SHUTDOWN);
    cr_expect_eq(p.sides[1].down_why, NODE_CLOSE_SHUTDOWN);
    pair_run(&p, 60000);
    cr_expect_eq(p.connections_made, 1);
    put(0, 2, 2);
    link_want(p.sides[0].link, true, p.now_ms);
    pair_run(&p, 100);
    expect_heard(1, 1, 2);
}

Test(link, takes_no_calls_when_it_is_not_wanted)
{
    link_want(p.sides[1].link, false, p.now_ms);
    pair_run(&p, 1000);
    cr_expect_eq(p.refused, NODE_CLOSE_UNKNOWN_NODE);
    cr_expect_not(link_is_up(p.sides[0].link));
    cr_expect_gt(figures(0).refusals, 0);
    cr_expect_gt(figures(1).refusals, 0);
}

/* ---- The bound */

static struct link_conf small(void)
{
    struct link_conf conf = link_conf_defaults();
    conf.kept_bytes_max = 100000;
    conf.passing_bytes_max = 10000;
    return conf;
}

static void begin_small(void)
{
    const struct link_conf conf = small();
    begin_with(&conf);
    pair_run(&p, 10);
}

TestSuite(link_small, .init = begin_small, .fini = end);

/* 1,032 bytes each */
static uint64_t fill(unsigned side, uint64_t from)
{
    while (pair_put(&p, side, true, from, 1000, NULL) == LINK_OK) {
        from++;
    }
    return from;
}

Test(link_small, says_when_to_slow_down_and_when_to_go_on)
{
    struct pair_connection *c = pair_connection(&p);
    c->to[1].stalled = true;
    for (unsigned i = 0; i < 72; i++) {
        cr_assert_eq(pair_put(&p, 0, true, i, 1000, NULL), LINK_OK);
    }
    cr_expect_eq(p.sides[0].slows, 0);
    cr_assert_eq(pair_put(&p, 0, true, 72, 1000, NULL), LINK_OK);
    cr_expect_eq(p.sides[0].slows, 1, "at three quarters");
    fill(0, 73);
    cr_expect_eq(pair_put(&p, 0, true, 0, 1000, NULL), LINK_FULL);
    cr_expect_leq(figures(0).kept_bytes, 100000);
    cr_expect_gt(figures(0).kept_bytes, 98000);
    cr_expect_eq(p.sides[0].slows, 1);
    cr_expect(figures(0).slow);
    pair_run(&p, 4000);
    cr_expect_eq(p.sides[0].goes, 0);
    c->to[1].stalled = false;
    pair_run(&p, 10);
    cr_expect_eq(p.sides[0].goes, 1);
    cr_expect_eq(figures(0).kept_frames, 0);
    cr_expect_eq(figures(0).lost_stalled, 0);
    cr_expect_not(figures(0).slow);
}

/* The other one stands still for too long: what it was owed is lost, and both hear of it. */
Test(link_small, gives_up_what_is_not_taken_for_too_long)
{
    struct pair_connection *c = pair_connection(&p);
    put(0, 0, 0);
    pair_run(&p, 10);
    c->to[1].stalled = true;
    const uint64_t count = fill(0, 1) - 1;
    p.unreachable = true;
    pair_run(&p, 9999);
    cr_expect_eq(p.sides[0].losses, 0);
    pair_run(&p, 1);
    cr_expect_eq(p.sides[0].losses, 1);
    cr_expect_eq(p.sides[0].lost_why, LINK_LOSS_STALLED);
    cr_expect_eq(p.sides[0].lost_first, 2);
    cr_expect_eq(p.sides[0].lost_last, count + 1);
    cr_expect_eq(figures(0).lost_stalled, count);
    cr_expect_eq(figures(0).stalls, 1);
    cr_expect_eq(figures(0).kept_bytes, 0);
    cr_expect_eq(p.sides[0].goes, 1, "publishers may go on");
    cr_expect_eq(heard[1].count, 1);

    p.unreachable = false;
    c->to[1].len = 0; /* the connection breaks, too: nothing of it ever arrives */
    pair_cut(&p, c, 1, 0);
    c->to[1].stalled = false;
    put(0, 1000, 1000);
    pair_run(&p, 6000);
    cr_expect_eq(p.sides[1].gaps, 1, "before anything behind it");
    cr_expect_eq(figures(1).gaps_heard, 1);
    cr_expect_eq(figures(0).gaps_told, 1);
    cr_assert_eq(heard[1].count, 2);
    cr_expect_eq(heard[1].values[1], 1000);
    cr_expect_eq(figures(0).kept_frames, 0);
}

/* It had taken all, and only its acknowledgements did not come: nothing is missing. */
Test(link_small, tells_no_gap_where_there_is_none)
{
    struct pair_connection *c = pair_connection(&p);
    c->to[0].stalled = true;
    for (uint64_t v = 0; v < 60; v++) {
        cr_assert_eq(pair_put(&p, 0, true, v, 1000, NULL), LINK_OK);
    }
    pair_settle(&p);
    const uint64_t count = fill(0, 60);
    pair_settle(&p);
    cr_expect_eq(heard[1].count, count);
    link_give_up(p.sides[0].link, p.now_ms);
    cr_expect_eq(p.sides[0].lost_why, LINK_LOSS_GIVEN_UP);
    c->to[0].stalled = false;
    c->to[0].len = 0;
    pair_run(&p, 1000);
    put(0, count, count);
    pair_run(&p, 1000);
    cr_expect_eq(p.sides[1].gaps, 0);
    expect_heard(1, 0, count);
}

Test(link_small, takes_one_frame_of_any_size)
{
    cr_assert_eq(pair_put(&p, 0, true, 1, 200000, NULL), LINK_OK);
    cr_expect_eq(pair_put(&p, 0, true, 2, 0, NULL), LINK_FULL);
    pair_run(&p, 10);
    cr_assert_eq(pair_put(&p, 0, true, 2, 0, NULL), LINK_OK);
    pair_run(&p, 10);
    expect_heard(1, 1, 2);
}

/* ---- Without a number */

Test(link_small, without_a_number_is_sent_once_or_not_at_all)
{
    for (uint64_t v = 1; v <= 10; v++) {
        cr_assert_eq(pair_put(&p, 0, false, v, 0, NULL), LINK_OK);
    }
    pair_settle(&p);
    expect_heard(1, 1, 10);
    cr_expect_eq(figures(0).passing_bytes, 0, "it is not kept");

    struct pair_connection *c = pair_connection(&p);
    c->to[1].stalled = true;
    cr_assert_eq(pair_put(&p, 0, false, 11, 0, NULL), LINK_OK);
    pair_settle(&p);
    cr_assert_eq(pair_put(&p, 0, false, 12, 0, NULL), LINK_OK);
    pair_cut(&p, c, 1, 0);
    c->to[1].stalled = false;
    pair_run(&p, 1000);
    expect_heard(1, 1, 10);
    cr_assert_eq(pair_put(&p, 0, false, 11, 0, NULL), LINK_OK);
    pair_settle(&p);
    expect_heard(1, 1, 11);
}

Test(link_small, without_a_number_has_a_bound)
{
    unsigned taken = 0;
    cr_expect_eq(link_room(p.sides[0].link), 10000);
    while (pair_put(&p, 0, false, taken, 968, NULL) == LINK_OK) {
        taken++;
    }
    cr_expect_eq(taken, 10);
    cr_expect_eq(link_room(p.sides[0].link), 0);
    cr_expect_eq(figures(0).passing_dropped, 1);
    put(0, 100, 100);
    pair_settle(&p);
    cr_expect_eq(heard[1].count, 11);

    link_want(p.sides[0].link, false, p.now_ms);
    pair_run(&p, 10);
    cr_expect_eq(pair_put(&p, 0, false, 1, 0, NULL), LINK_NO_ROOM);
    cr_expect_eq(figures(0).passing_dropped, 2);
    cr_expect_eq(link_room(p.sides[0].link), 0);
}

/* ---- Credit */

Test(link, credit_stops_what_is_numbered_and_nothing_else)
{
    link_set_credit(p.sides[1].link, 0);
    pair_run(&p, 10);
    put(0, 1, 10);
    put(1, 1, 10);
    cr_assert_eq(pair_put(&p, 0, false, 100, 0, NULL), LINK_OK);
    pair_run(&p, 8000);
    cr_assert_eq(heard[1].count, 1);
    cr_expect_eq(heard[1].values[0], 100);
    expect_heard(0, 1, 10);
    cr_expect_eq(figures(1).kept_frames, 0, "acknowledgements go on");
    link_set_credit(p.sides[1].link, UINT64_MAX);
    pair_run(&p, 10);
    cr_expect_eq(heard[1].count, 11);
}

Test(link, credit_bounds_what_is_under_way)
{
    link_set_credit(p.sides[1].link, 3000);
    pair_run(&p, 10);
    pair_connection(&p)->to[1].stalled = true;
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(pair_put(&p, 0, true, i, 976, NULL), LINK_OK); /* 1,008 each */
    }
    pair_settle(&p);
    cr_expect_eq(pair_connection(&p)->to[1].len, 2 * 1008);
    pair_connection(&p)->to[1].stalled = false;
    pair_run(&p, 100);
    expect_heard(1, 0, 9);
}

/* The next connection begins with it. */
Test(link, credit_is_kept)
{
    link_set_credit(p.sides[1].link, 0);
    pair_cut(&p, pair_connection(&p), 0, 0);
    pair_settle(&p);
    put(0, 1, 10);
    pair_run(&p, 1000);
    cr_expect(link_is_up(p.sides[0].link));
    cr_expect_eq(heard[1].count, 0);
}

/* ---- Sides that begin anew */

Test(link, hears_that_the_other_was_started_anew)
{
    put(0, 1, 5);
    pair_run(&p, 10);
    pair_connection(&p)->to[1].stalled = true;
    put(0, 6, 10);
    pair_settle(&p);
    pair_restart(&p, 1, 2);
    heard[1].count = 0;
    pair_run(&p, 1000);
    cr_expect_eq(p.sides[0].restarts, 1);
    cr_expect_eq(p.sides[0].lost_why, LINK_LOSS_RESTARTED);
    cr_expect_eq(p.sides[0].lost_first, 6);
    cr_expect_eq(p.sides[0].lost_last, 10);
    cr_expect_eq(figures(0).lost_restarted, 5);
    put(0, 11, 12);
    pair_run(&p, 1000);
    expect_heard(1, 11, 12);
    cr_expect_eq(p.sides[1].gaps, 0, "it has nothing that could have one");
    cr_expect_eq(p.sides[0].gaps, 0);
    cr_expect_eq(figures(0).kept_frames, 0);
    cr_expect_eq(figures(0).peer_generation, 2);
}

/* Whatever was given up after the new start, and before it said so, is a gap. */
Test(link, tells_a_gap_that_came_after_the_new_start)
{
    put(0, 1, 5);
    pair_run(&p, 10);
    pair_restart(&p, 1, 2);
    pair_run(&p, 1000);
    cr_assert(link_is_up(p.sides[0].link));
    p.unreachable = true;
    pair_cut(&p, pair_connection(&p), 0, 0);
    pair_run(&p, 10);
    put(0, 6, 10);
    link_give_up(p.sides[0].link, p.now_ms);
    p.unreachable = false;
    pair_run(&p, 6000);
    cr_expect_eq(p.sides[1].gaps, 1);
}

Test(link, that_was_made_anew_in_the_same_start_tells_a_gap)
{
    put(0, 1, 5);
    pair_run(&p, 10);
    pair_restart(&p, 0, 1);
    pair_run(&p, 1000);
    cr_expect_eq(p.sides[1].gaps, 1, "what it may have had for us went with it");
    cr_expect_eq(p.sides[1].restarts, 0);
    put(0, 6, 6);
    pair_run(&p, 10);
    cr_expect_eq(heard[1].count, 6, "a new stream is not taken for the former");
    cr_expect_eq(p.sides[0].gaps, 0, "nothing was ever sent to it");
}

Test(link, that_has_forgotten_what_it_had_is_told_of_a_gap)
{
    put(0, 1, 5);
    pair_run(&p, 10);
    pair_restart(&p, 1, 1);
    pair_run(&p, 1000);
    cr_expect_eq(p.sides[1].gaps, 1);
    put(0, 6, 6);
    pair_run(&p, 10);
    cr_expect_eq(heard[1].values[heard[1].count - 1], 6);
}

/* ---- Large frames */

static void begin_sizes(void)
{
    begin();
    pair_fini(&p);
    begin_with(NULL);
    p.unreachable = true;
    pair_restart(&p, 1, 1);
}

TestSuite(link_sizes, .init = begin_sizes, .fini = end);

Test(link_sizes, agrees_on_the_smaller)
{
    link_destroy(p.sides[1].link);
    p.sides[1].conf.frame_max = 1000;
    p.sides[1].link = link_create(&p.sides[1].conf);
    link_want(p.sides[1].link, true, p.now_ms);
    cr_assert_eq(pair_put(&p, 0, true, 1, 100, NULL), LINK_OK);
    cr_assert_eq(pair_put(&p, 0, true, 2, 1000, NULL), LINK_OK, "it is not known yet");
    p.unreachable = false;
    pair_run(&p, 10000);
    cr_expect_eq(p.sides[0].lost_why, LINK_LOSS_TOO_LARGE);
    cr_expect_eq(p.sides[0].lost_first, 1);
    cr_expect_eq(p.sides[0].lost_last, 2);
    cr_expect_eq(p.sides[1].gaps, 1);
    cr_expect_eq(pair_put(&p, 0, true, 3, 993, NULL), LINK_TOO_LARGE);
    cr_expect_eq(pair_put(&p, 0, false, 3, 993, NULL), LINK_TOO_LARGE);
    cr_assert_eq(pair_put(&p, 0, true, 3, 992, NULL), LINK_OK);
    pair_run(&p, 10);
    expect_heard(1, 3, 3);
    cr_assert_eq(pair_put(&p, 1, true, 4, 992, NULL), LINK_OK, "what one does not take");
    cr_expect_eq(pair_put(&p, 1, true, 4, 993, NULL), LINK_TOO_LARGE, "one does not send");
}
