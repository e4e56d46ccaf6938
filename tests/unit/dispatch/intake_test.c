/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node's intake, with partitions that are applied when a test says so. What becomes of it
 * between many is the simulator's (tests/sim/dispatch_suite.c).
 */
#include "cluster/dispatch/intake.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cluster/dispatch/origins.h"

#define PEER   2u
#define NODE   9u
#define ORIGIN origin_of(NODE, 1, 0)

static struct intake *in;
static struct origins *table; /* of partition 0 */
static bool busy;
static char events[512]; /* "p0:5 " proposed, "t5 " given to transient subscribers */

static void note(const char *format, unsigned partition, uint64_t op)
{
    const size_t len = strlen(events);
    snprintf(events + len, sizeof events - len, format, partition, (unsigned long long)op);
}

static bool on_propose(void *context, unsigned partition, uint64_t origin, uint64_t op,
                       struct bytes bytes)
{
    (void)context, (void)origin;
    cr_expect(bytes_equal(bytes, bytes_text("m")));
    if (!busy) {
        note("p%u:%llu ", partition, op);
    }
    return !busy;
}

static uint64_t on_highest(void *context, unsigned partition, uint64_t origin)
{
    (void)context;
    return partition == 0 ? origins_highest(table, origin) : 0;
}

static bool on_transient(void *context, uint64_t origin, uint64_t op, struct bytes bytes)
{
    (void)context, (void)origin, (void)bytes;
    if (!busy) {
        note("t%u:%llu ", 0, op);
    }
    return !busy;
}

static void setup(void)
{
    const struct intake_conf conf = {
        .partitions = 0xf,
        .transient = true,
        .sources_max = 2,
        .events = {.propose = on_propose, .highest = on_highest, .transient = on_transient}};
    in = intake_create(&conf);
    table = origins_create(ORIGINS_MAX);
    cr_assert(in != NULL && table != NULL);
    intake_up(in, PEER, NODE);
}

static void teardown(void)
{
    intake_destroy(in);
    origins_destroy(table);
}

TestSuite(intake, .init = setup, .fini = teardown);

static enum intake_err take(uint64_t origin, uint64_t op, uint8_t partition, uint32_t run,
                            uint32_t place, uint64_t term)
{
    uint8_t out[256], items[NODE_DISPATCH_ITEM_BYTES];
    const struct node_dispatch_item item = {
        .partition = partition, .run = run, .place = place, .term = term};
    const struct node_dispatch frame = {
        .origin = origin,
        .op = op,
        .items = bytes_of(items, node_dispatch_item_encode(items, &item)),
        .bytes = bytes_text("m")};
    return intake_received(in, PEER, bytes_of(out, node_dispatch_encode(out, &frame)));
}

static void send(uint64_t op, uint8_t partition, uint32_t run, uint32_t place, uint64_t term)
{
    cr_expect_eq(take(ORIGIN, op, partition, run, place, term), INTAKE_OK);
}

static void apply(uint64_t op)
{
    const enum origins_err err = origins_take(table, ORIGIN, op);
    cr_assert_neq(err, ORIGINS_NO_MEMORY);
    intake_applied(in, 0, ORIGIN, op);
}

/* What is answered: "done P:OP", "lost P:RUN@TERM", "repeat P:RUN@TERM". */
static const char *answers(void)
{
    static char said[512];
    struct node_dispatched frame;
    struct node_dispatched_item i;
    struct bytes body;
    uint8_t type;
    size_t len = 0;
    said[0] = '\0';
    while (intake_next(in, PEER, 4096, &type, &body)) {
        cr_assert_eq(type, NODE_FRAME_DISPATCHED);
        cr_assert_eq(node_dispatched_decode(&frame, body), NODE_OK);
        while (node_dispatched_item_next(&frame.items, &i)) {
            if (i.kind == NODE_DISPATCHED_DONE) {
                len += (size_t)snprintf(said + len, sizeof said - len, "done %u:%llu ", i.partition,
                                        (unsigned long long)i.op);
            } else {
                len += (size_t)snprintf(said + len, sizeof said - len, "%s %u:%u@%llu ",
                                        i.kind == NODE_DISPATCHED_LOST ? "lost" : "repeat",
                                        i.partition, i.run, (unsigned long long)i.term);
            }
        }
    }
    return said;
}

Test(intake, done_is_what_was_applied)
{
    intake_lead(in, 0, 5);
    send(3, 0, 1, 1, 5);
    send(7, 0, 1, 2, 5);
    cr_expect_str_eq(events, "p0:3 p0:7 ");
    cr_expect_str_eq(answers(), "");
    apply(3);
    cr_expect_str_eq(answers(), "done 0:3 ");
    apply(7);
    intake_applied(in, 0, 12345, 1); /* of who is not there */
    intake_applied(in, 1, ORIGIN, 9);
    cr_expect_str_eq(answers(), "done 0:7 ");
    cr_expect_str_eq(answers(), "");
}

Test(intake, only_the_term_that_is_led)
{
    send(3, 0, 1, 1, 5);
    cr_expect_str_eq(answers(), "lost 0:1@5 ");
    intake_lead(in, 0, 6);
    send(3, 0, 1, 1, 5);
    cr_expect_str_eq(answers(), "lost 0:1@5 ");
    send(3, 0, 2, 1, 7);
    cr_expect_str_eq(answers(), "lost 0:2@7 ");
    cr_expect_str_eq(events, "");
    send(3, 0, 3, 1, 6);
    cr_expect_str_eq(events, "p0:3 ");
}

/* The source is told, so that it turns to the next one with all that is not answered. */
Test(intake, who_ceases_says_so)
{
    intake_lead(in, 0, 5);
    send(3, 0, 4, 1, 5);
    intake_cease(in, 0);
    cr_expect_str_eq(answers(), "lost 0:4@5 ");
    intake_cease(in, 0);
    cr_expect_str_eq(answers(), "");
    intake_lead(in, 0, 6);
    send(3, 0, 5, 1, 6);
    cr_expect_str_eq(events, "p0:3 p0:3 "); /* the second is applied as nothing, if both are */
    apply(3);
    cr_expect_str_eq(answers(), "done 0:3 ");
}

Test(intake, a_repetition_is_not_proposed_again)
{
    intake_lead(in, 0, 5);
    send(3, 0, 1, 1, 5);
    send(3, 0, 2, 1, 5); /* under way */
    cr_expect_str_eq(answers(), "");
    apply(3);
    cr_expect_str_eq(answers(), "done 0:3 ");
    intake_up(in, PEER, NODE);
    send(3, 0, 3, 1, 5);
    cr_expect_str_eq(answers(), "done 0:3 ");
    cr_expect_str_eq(events, "p0:3 ");
    cr_expect_eq(intake_figures(in).repeated, 2);
}

/* What another leader has applied. */
Test(intake, a_new_leader_knows_what_was_applied)
{
    cr_assert_eq(origins_take(table, ORIGIN, 8), ORIGINS_NEW);
    intake_lead(in, 0, 5);
    send(6, 0, 1, 1, 5);
    cr_expect_str_eq(answers(), "done 0:8 ");
    cr_expect_str_eq(events, "");
}

Test(intake, nothing_behind_what_was_refused)
{
    intake_lead(in, 0, 5);
    busy = true;
    send(3, 0, 1, 1, 5);
    busy = false;
    send(4, 0, 1, 2, 5);
    cr_expect_str_eq(events, "");
    cr_expect_str_eq(answers(), "repeat 0:1@5 ");
    send(3, 0, 2, 1, 5);
    send(4, 0, 2, 2, 5);
    cr_expect_str_eq(events, "p0:3 p0:4 ");
    cr_expect_str_eq(answers(), "");
    cr_expect_eq(intake_figures(in).refused, 2);
}

Test(intake, a_place_that_was_left_out)
{
    intake_lead(in, 0, 5);
    send(3, 0, 1, 2, 5);
    cr_expect_str_eq(answers(), "repeat 0:1@5 ");
    send(3, 0, 2, 1, 5);
    send(5, 0, 2, 3, 5);
    cr_expect_str_eq(answers(), "repeat 0:2@5 ");
    send(4, 0, 2, 2, 5); /* broken is broken */
    send(9, 0, 1, 1, 5); /* of a run that is over: nothing */
    cr_expect_str_eq(answers(), "repeat 0:2@5 ");
    cr_expect_str_eq(events, "p0:3 ");
}

Test(intake, transient_subscribers_get_it_once)
{
    send(3, NODE_DISPATCH_NODE, 1, 1, 0);
    cr_expect_str_eq(answers(), "done 64:3 ");
    busy = true;
    send(5, NODE_DISPATCH_NODE, 1, 2, 0);
    busy = false;
    send(6, NODE_DISPATCH_NODE, 1, 3, 0);
    cr_expect_str_eq(answers(), "repeat 64:1@0 ");
    send(3, NODE_DISPATCH_NODE, 2, 1, 0);
    send(5, NODE_DISPATCH_NODE, 2, 2, 0);
    cr_expect_str_eq(events, "t0:3 t0:5 ");
    cr_expect_str_eq(answers(), "done 64:5 ");
}

Test(intake, another_connection_is_not_answered_for_the_last_one)
{
    send(3, 0, 1, 1, 5);
    send(3, NODE_DISPATCH_NODE, 1, 1, 0);
    intake_up(in, PEER, NODE);
    cr_expect_str_eq(answers(), "");
}

Test(intake, sources_are_of_the_node_and_its_last_start)
{
    intake_lead(in, 0, 5);
    cr_expect_eq(take(origin_of(NODE + 1, 1, 0), 1, 0, 1, 1, 5), INTAKE_MALFORMED);
    send(3, 0, 1, 1, 5);
    cr_expect_eq(take(origin_of(NODE, 2, 0), 1, 0, 1, 1, 5), INTAKE_OK);
    cr_expect_eq(take(ORIGIN, 4, 0, 1, 2, 5), INTAKE_MALFORMED);
    cr_expect_eq(intake_figures(in).sources, 1);
    cr_expect_eq(take(origin_of(NODE, 2, 1), 1, 0, 1, 1, 5), INTAKE_OK);
    cr_expect_eq(take(origin_of(NODE, 2, 2), 1, 0, 1, 1, 5), INTAKE_FULL);
    intake_forget(in, PEER);
    cr_expect_eq(intake_figures(in).sources, 0);
    cr_expect_eq(take(origin_of(NODE, 2, 2), 1, 0, 1, 1, 5), INTAKE_MALFORMED);
    cr_expect_eq(intake_received(in, PEER, bytes_text("?")), INTAKE_MALFORMED);
}

Test(intake, partitions_of_other_shards_are_theirs)
{
    send(3, 4, 1, 1, 5);
    cr_expect_str_eq(answers(), "");
}

Test(intake, answers_wait_for_room)
{
    struct bytes body;
    uint8_t type;
    send(3, NODE_DISPATCH_NODE, 1, 1, 0);
    cr_expect_not(intake_next(in, PEER, 60, &type, &body));
    cr_expect_not(intake_next(in, PEER, 10, &type, &body));
    cr_expect_str_eq(answers(), "done 64:3 ");
}
