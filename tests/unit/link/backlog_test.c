/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/link/backlog.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#include "proto/little_endian.h"
#include "proto/node_frame.h"
#include "tests/unit/route/random.h"

static struct backlog b;

static void setup(void)
{
    backlog_init(&b);
}

static void teardown(void)
{
    backlog_give_back(&b);
    backlog_fini(&b);
}

TestSuite(backlog, .init = setup, .fini = teardown);

/* A frame of `size` bytes, that says its number. */
static void add(size_t size)
{
    const uint64_t seq = b.next;
    uint8_t *const at = backlog_add(&b, size);
    cr_assert_not_null(at);
    memset(at, (int)seq, size);
    const struct node_frame frame = {.seq = seq, .body.len = size - NODE_FRAME_HEAD_BYTES};
    node_frame_head_encode(at, &frame);
}

/* The frames of a run are `first` and so on; how many. */
static uint64_t frames_in(struct bytes run, uint64_t first)
{
    uint64_t count = 0;
    while (run.len > 0) {
        struct node_frame frame;
        size_t used;
        cr_assert_eq(node_frame_decode(&frame, run.at, run.len, SIZE_MAX, &used), NODE_OK);
        cr_assert_eq(frame.seq, first + count);
        if (frame.body.len > 0) {
            cr_assert_eq(frame.body.at[frame.body.len - 1], (uint8_t)frame.seq);
        }
        run = bytes_of(run.at + used, run.len - used);
        count++;
    }
    return count;
}

Test(backlog, gives_what_was_put_once)
{
    add(24);
    add(100);
    struct bytes run = backlog_take(&b, SIZE_MAX);
    cr_expect_eq(run.len, 124);
    cr_expect_eq(frames_in(run, 1), 2);
    backlog_give_back(&b);
    cr_expect_eq(backlog_take(&b, SIZE_MAX).len, 0);
    add(50);
    run = backlog_take(&b, SIZE_MAX);
    cr_expect_eq(frames_in(run, 3), 1);
    cr_expect_eq(b.bytes, 174, "all are kept");
    cr_expect_eq(b.given_bytes, 174);
}

Test(backlog, gives_no_more_than_is_allowed_but_one)
{
    add(100);
    add(100);
    add(100);
    struct bytes run = backlog_take(&b, 250);
    cr_expect_eq(run.len, 200);
    backlog_give_back(&b);
    cr_expect_eq(backlog_take(&b, 50).len, 0, "others are under way");
    backlog_acked(&b, 2);
    cr_expect_eq(b.given_bytes, 0);
    run = backlog_take(&b, 50);
    cr_expect_eq(frames_in(run, 3), 1, "none is under way");
}

Test(backlog, gives_again_what_was_not_acknowledged)
{
    for (unsigned i = 0; i < 10; i++) {
        add(100);
    }
    cr_expect_eq(frames_in(backlog_take(&b, SIZE_MAX), 1), 10);
    backlog_give_back(&b);
    backlog_acked(&b, 4);
    cr_expect_eq(b.first, 5);
    cr_expect_eq(b.bytes, 600);
    backlog_rewind(&b);
    cr_expect_eq(b.given_bytes, 0);
    cr_expect_eq(frames_in(backlog_take(&b, SIZE_MAX), 5), 6);
    backlog_give_back(&b);
    backlog_rewind(&b);
    backlog_acked(&b, 7); /* by the former connection, it turns out */
    cr_expect_eq(frames_in(backlog_take(&b, SIZE_MAX), 8), 3);
}

/* The kernel may still be reading it. */
Test(backlog, lends_until_it_is_given_back)
{
    add(1000);
    const struct bytes run = backlog_take(&b, SIZE_MAX);
    backlog_acked(&b, 1);
    add(1000);
    cr_expect_eq(frames_in(run, 1), 1);
    cr_expect_eq(backlog_discard(&b), 1);
    cr_expect_eq(frames_in(run, 1), 1);
    backlog_give_back(&b);
    cr_expect_eq(b.first, 3);
    cr_expect_eq(b.bytes, 0);
}

Test(backlog, has_a_chunk_for_a_frame_of_any_size)
{
    add(100);
    add(3 * BACKLOG_CHUNK_BYTES);
    add(100);
    cr_expect_eq(backlog_largest(&b), 3 * BACKLOG_CHUNK_BYTES);
    cr_expect_eq(frames_in(backlog_take(&b, SIZE_MAX), 1), 1);
    backlog_give_back(&b);
    cr_expect_eq(frames_in(backlog_take(&b, SIZE_MAX), 2), 1);
    backlog_give_back(&b);
    cr_expect_eq(frames_in(backlog_take(&b, SIZE_MAX), 3), 1);
    backlog_acked(&b, 3);
    cr_expect_eq(backlog_largest(&b), 0);
}

/* Against a list of what was put. */
Test(backlog, is_a_list_with_a_cursor)
{
    struct random r = random_init();
    uint64_t given = 0;
    bool lent = false;
    for (unsigned step = 0; step < 200000; step++) {
        switch (random_below(&r, 12)) {
        case 0:
        case 1:
        case 2:
        case 3:
            if (b.bytes < 1000000) {
                add(24 + (random_below(&r, 50) == 0 ? random_below(&r, 200000)
                                                    : random_below(&r, 2000)));
            }
            break;
        case 4:
        case 5:
        case 6:
            if (!lent) {
                const size_t max = random_below(&r, 5) == 0 ? random_below(&r, 5000) : SIZE_MAX;
                const uint64_t cursor = b.cursor_seq, before = b.given_bytes;
                const struct bytes run = backlog_take(&b, max);
                const uint64_t count = frames_in(run, cursor);
                cr_assert(run.len <= max || (count == 1 && before == 0), "seed %lu", r.seed);
                cr_assert(count > 0 || cursor == b.next || before > 0, "seed %lu", r.seed);
                given = cursor + count - 1 > given ? cursor + count - 1 : given;
                lent = true;
            }
            break;
        case 7:
        case 8:
            backlog_give_back(&b);
            lent = false;
            break;
        case 9:
            if (given >= b.first) {
                backlog_acked(&b, b.first + random_below(&r, (uint32_t)(given - b.first + 1)));
            }
            break;
        case 10:
            backlog_give_back(&b);
            lent = false;
            backlog_rewind(&b);
            break;
        default:
            if (random_below(&r, 100) == 0) {
                const uint64_t there = b.next - b.first;
                cr_assert_eq(backlog_discard(&b), there, "seed %lu", r.seed);
            }
        }
        cr_assert(b.first <= b.cursor_seq && b.cursor_seq <= b.next, "seed %lu", r.seed);
        cr_assert(b.given_bytes <= b.bytes, "seed %lu", r.seed);
        cr_assert((b.first == b.next) == (b.bytes == 0), "seed %lu", r.seed);
    }
}
