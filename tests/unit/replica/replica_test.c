/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/replica/replica.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cluster/hlc.h"

#define WALL UINT64_C(1790000000000)

/* ---- The clock */

Test(hlc, never_goes_back_with_the_wall_clock)
{
    struct hlc c = {.ahead_max_ms = 1000};
    const uint64_t first = hlc_next(&c, WALL);
    cr_expect_eq(hlc_ms(first), WALL);
    cr_expect_eq(hlc_next(&c, WALL - 5000), first + 1);
    cr_expect_gt(hlc_next(&c, WALL + 1), first + 1);
}

Test(hlc, is_higher_than_what_was_heard)
{
    struct hlc c = {.ahead_max_ms = 1000};
    const uint64_t heard = (WALL + 900) << HLC_COUNTER_BITS | 7;
    hlc_merge(&c, heard);
    cr_expect_eq(hlc_next(&c, WALL), heard + 1);
    hlc_merge(&c, 1);
    cr_expect_eq(hlc_next(&c, WALL), heard + 2);
}

Test(hlc, does_not_listen_to_a_clock_that_is_too_far_ahead)
{
    const struct hlc c = {.ahead_max_ms = 1000};
    cr_expect(hlc_is_fair(&c, (WALL + 1000) << HLC_COUNTER_BITS, WALL));
    cr_expect_not(hlc_is_fair(&c, (WALL + 1001) << HLC_COUNTER_BITS, WALL));
    cr_expect(hlc_is_fair(&c, 0, WALL));
}

/* ---- What counts */

static uint64_t dropped;

static enum replica_err on_set(void *context, const struct node_retained_item *item,
                               uint64_t *handle)
{
    (void)context;
    *handle = item->body.len;
    return REPLICA_OK;
}

static void on_gone(void *context, struct bytes topic, const struct retained_version *version)
{
    (void)context, (void)topic, (void)version;
}

static void on_forget(void *context, struct bytes topic)
{
    (void)context, (void)topic;
}

static void on_floor(void *context, uint64_t floor)
{
    (void)context, (void)floor;
}

static void on_drop(void *context, uint64_t handle)
{
    (void)context;
    dropped = handle;
}

static size_t on_body(void *context, uint64_t handle, uint8_t *out, size_t out_max)
{
    (void)context, (void)handle;
    if (out_max > 0) {
        out[0] = 'm';
    }
    return 1;
}

static struct replica *create(void)
{
    struct replica_conf conf = replica_conf_defaults();
    conf.self.bytes[0] = 5;
    conf.generation = 1;
    conf.events =
        (struct replica_events){on_set, on_gone, on_forget, on_floor, on_drop, on_body, NULL};
    struct replica *const r = replica_create(&conf);
    cr_assert_not_null(r);
    return r;
}

static struct retained_version version(uint64_t ms, uint8_t origin)
{
    struct retained_version v = {.stamp = ms << HLC_COUNTER_BITS, .generation = 1};
    v.origin.bytes[0] = origin;
    return v;
}

Test(replica, the_higher_version_counts_in_whatever_order_they_come)
{
    struct replica *const r = create();
    const struct bytes t = bytes_text("a/b");
    const struct retained_version old = version(WALL, 9), same = version(WALL + 1, 1),
                                  high = version(WALL + 1, 2);
    cr_expect_eq(replica_apply(r, t, &same, false, 1, WALL), REPLICA_OK);
    cr_expect_eq(replica_apply(r, t, &old, false, 2, WALL), REPLICA_OLD);
    cr_expect_eq(replica_apply(r, t, &high, true, 3, WALL), REPLICA_OK);
    cr_expect_eq(dropped, 1);
    cr_expect_eq(replica_apply(r, t, &high, false, 4, WALL), REPLICA_OLD);
    cr_expect_eq(replica_apply(r, t, &same, false, 4, WALL), REPLICA_OLD);
    struct retained_version v;
    bool gone;
    cr_expect(replica_look(r, t, &v, &gone));
    cr_expect(gone);
    cr_expect_eq(retained_version_compare(&v, &high), 0);
    cr_expect(replica_check(r));
    replica_destroy(r);
}

Test(replica, a_stamp_far_ahead_is_refused_until_its_time_is_near)
{
    struct replica *const r = create();
    const struct bytes t = bytes_text("a");
    const struct retained_version v = version(WALL + 60001, 1);
    cr_expect_eq(replica_apply(r, t, &v, false, 1, WALL), REPLICA_AHEAD);
    cr_expect_eq(replica_figures(r).ahead, 1);
    cr_expect_eq(replica_apply(r, t, &v, false, 1, WALL + 1), REPLICA_OK);
    replica_destroy(r);
}

Test(replica, who_has_nothing_and_has_heard_nobody_does_not_stamp)
{
    struct replica *const r = create();
    struct retained_version v;
    cr_expect_eq(replica_write(r, bytes_text("a"), false, 1, WALL, &v), REPLICA_NOT_READY);
    replica_is_first(r);
    cr_expect_eq(replica_write(r, bytes_text("a"), false, 1, WALL, &v), REPLICA_OK);
    replica_destroy(r);
}

/* Alone: what is on disk is the floor, and a tombstone up to it is of no use. */
Test(replica, a_node_alone_forgets_tombstones_and_refuses_what_they_were_for)
{
    struct replica *const r = create();
    const struct bytes t = bytes_text("a");
    struct retained_version v;
    replica_is_first(r);
    cr_expect_eq(replica_write(r, t, true, 0, WALL, &v), REPLICA_OK);
    replica_turn(r, 0);
    cr_expect_eq(replica_figures(r).topics, 1, "not all members are known");
    replica_members_known(r);
    replica_turn(r, 0);
    cr_expect_eq(replica_figures(r).topics, 1, "it is not on disk");
    replica_durable(r, replica_mark(r));
    replica_turn(r, 0);
    cr_expect_eq(replica_figures(r).topics, 0);
    const struct retained_version late = version(WALL - 1, 1);
    cr_expect_eq(replica_apply(r, t, &late, false, 1, WALL), REPLICA_OLD);
    cr_expect_eq(replica_figures(r).refused, 1);
    replica_destroy(r);
}

/* Whatever the sweep has come to. */
Test(replica, a_tombstone_up_to_the_floor_does_not_let_in_what_is_up_to_the_floor)
{
    struct replica *const r = create();
    const struct bytes t = bytes_text("a");
    const struct retained_version tombstone = version(WALL, 1), late = version(WALL + 1, 1),
                                  floor = version(WALL + 2, 1), newer = version(WALL + 3, 1);
    cr_expect_eq(replica_restore(r, t, &tombstone, true, 0), REPLICA_OK);
    replica_restore_floor(r, floor.stamp);
    cr_expect_eq(replica_apply(r, t, &late, false, 1, WALL), REPLICA_OLD);
    cr_expect_eq(replica_apply(r, t, &newer, false, 2, WALL), REPLICA_OK);
    replica_destroy(r);
}

/* ---- Two of them, each of which is the other's peer 0 */

static bool pass_one(struct replica *from, struct replica *to, uint64_t now_ms)
{
    struct node_frame frame = {0};
    if (!replica_next(from, 0, 1u << 20, now_ms, &frame.type, &frame.body)) {
        return false;
    }
    cr_assert_eq(replica_received(to, 0, &frame, now_ms, WALL + 100), REPLICA_OK);
    return true;
}

static void pass_all(struct replica *a, struct replica *b, uint64_t now_ms)
{
    while (pass_one(a, b, now_ms) || pass_one(b, a, now_ms)) {
    }
}

/* With a message of before its floor, which is that of a tombstone that it has forgotten. */
static struct replica *create_ahead(const struct retained_version *message,
                                    const struct retained_version *tombstone)
{
    struct replica *const r = create();
    replica_is_first(r);
    cr_assert_eq(replica_apply(r, bytes_text("other"), message, false, 1, WALL), REPLICA_OK);
    cr_assert_eq(replica_apply(r, bytes_text("a"), tombstone, true, 0, WALL), REPLICA_OK);
    replica_members_known(r);
    replica_durable(r, replica_mark(r));
    replica_turn(r, 0);
    cr_assert_eq(replica_figures(r).topics, 1);
    cr_assert_eq(replica_figures(r).floor, tombstone->stamp);
    return r;
}

static void meet(struct replica *a, struct replica *b)
{
    replica_peer_begin(a, 0, (struct node_uuid){{6}});
    replica_peer_begin(b, 0, (struct node_uuid){{5}});
    replica_peer_up(a, 0, 0);
    replica_peer_up(b, 0, 0);
}

Test(replica, who_has_gone_through_a_peer_takes_its_floor)
{
    const struct retained_version message = version(WALL - 1, 6), tombstone = version(WALL, 6);
    struct replica *const r = create(), *const peer = create_ahead(&message, &tombstone);
    meet(r, peer);
    pass_all(peer, r, 0);
    cr_expect_eq(replica_figures(r).topics, 1);
    cr_expect_eq(replica_figures(r).floor, tombstone.stamp);
    replica_destroy(r);
    replica_destroy(peer);
}

/* Nor is it complete: that raises the floor as well. */
Test(replica, what_comes_late_past_a_walk_is_shown_to_the_peer_before_its_floor_is_taken)
{
    const struct bytes t = bytes_text("a");
    const struct retained_version message = version(WALL - 1, 6), tombstone = version(WALL, 6),
                                  late = version(WALL - 2, 7);
    struct replica *const r = create(), *const peer = create_ahead(&message, &tombstone);
    struct retained_version v;
    bool gone = false;
    meet(r, peer);
    cr_assert(pass_one(peer, r, 0)); /* DIGEST */
    cr_assert(pass_one(r, peer, 0)); /* DIGEST */
    cr_assert(pass_one(r, peer, 0)); /* ASK for sums */
    while (pass_one(peer, r, 0)) {   /* which are answered */
    }
    cr_assert(pass_one(r, peer, 0)); /* ASK for items: no topic is known */
    cr_assert_eq(replica_apply(r, t, &late, false, 1, WALL), REPLICA_OK);
    pass_all(peer, r, 0);
    cr_expect_eq(replica_figures(r).topics, 2, "the walk has gone on");
    cr_expect_eq(replica_figures(r).floor, 0);
    replica_durable(r, replica_mark(r));
    cr_expect_eq(replica_peer_figures(r, 0).has, 0);

    pass_all(peer, r, 1000); /* a second walk */
    cr_expect(!replica_look(r, t, &v, &gone) || gone);
    cr_expect_eq(replica_figures(r).dropped, 1);
    cr_expect_eq(replica_figures(r).floor, tombstone.stamp);
    replica_destroy(r);
    replica_destroy(peer);
}
