/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/origins.h"

#include <criterion/criterion.h>

#include "broker/store/records_memory.h"
#include "tests/unit/route/random.h"

#define PARTITION 63u

static struct records_memory m;

static void begin(void)
{
    records_memory_init(&m);
}

static void end(void)
{
    records_memory_fini(&m);
}

TestSuite(origins, .init = begin, .fini = end);

static bool note_part(struct records_memory *in, uint64_t index, uint64_t origin, uint64_t number,
                      bool is_whole, uint64_t max)
{
    bool seen;
    const struct operation operation = {
        .origin = origin, .number = number, .kind = ORIGIN_STREAM, .is_whole = is_whole};
    cr_assert_eq(origins_note(&in->records, PARTITION, index, &operation, max, &seen),
                 CHECKPOINT_OK);
    return seen;
}

static bool note(uint64_t index, uint64_t origin, uint64_t number)
{
    return note_part(&m, index, origin, number, true, 3);
}

static uint64_t last_of(struct records_memory *in, uint64_t origin)
{
    struct origin_record record;
    bool is_there;
    cr_assert_eq(origins_find(&in->records, PARTITION, ORIGIN_STREAM, origin, &record, &is_there),
                 CHECKPOINT_OK);
    return is_there ? record.number : 0;
}

Test(origins, in_order_and_once)
{
    cr_expect_not(note(1, 7, 10));
    cr_expect(note(2, 7, 10));
    cr_expect(note(3, 7, 9));
    cr_expect_not(note(4, 7, 11));
    cr_expect_not(note(5, 8, 1));
    cr_expect_eq(last_of(&m, 7), 11);
    cr_expect_eq(last_of(&m, 9), 0);
}

/* What a repetition is, is said by where it stands: not that it was noted. */
Test(origins, an_entry_that_is_read_again)
{
    cr_expect_not(note(1, 7, 10));
    cr_expect(note(2, 7, 10));
    cr_expect_not(note(3, 7, 11));
    cr_expect_not(note(1, 7, 10));
    cr_expect_not(note(3, 7, 11));
    cr_expect_eq(last_of(&m, 7), 11);
}

Test(origins, a_part_is_followed_by_others)
{
    cr_expect_not(note_part(&m, 1, 7, 10, false, 3));
    cr_expect_not(note_part(&m, 2, 7, 10, false, 3));
    cr_expect_not(note_part(&m, 3, 7, 10, true, 3));
    cr_expect(note_part(&m, 4, 7, 10, true, 3));
    cr_expect(note_part(&m, 5, 7, 10, false, 3));
    cr_expect_not(note_part(&m, 6, 7, 11, false, 3));
}

Test(origins, the_one_goes_that_was_not_heard_of_for_longest)
{
    uint64_t count;
    note(1, 1, 1);
    note(2, 2, 1);
    note(3, 3, 1);
    note(4, 1, 2);
    note(5, 4, 1); /* 2 has to go */
    cr_expect_eq(last_of(&m, 2), 0);
    cr_expect_eq(last_of(&m, 1), 2);
    cr_expect_eq(last_of(&m, 3), 1);
    cr_expect_eq(last_of(&m, 4), 1);
    cr_assert_eq(origins_count(&m.records, PARTITION, &count), CHECKPOINT_OK);
    cr_expect_eq(count, 3);
    cr_expect_eq(m.all.count, 7);
    cr_expect_not(note(2, 2, 1)); /* read again: it is older than all of them */
    cr_expect_eq(last_of(&m, 2), 0);
    cr_expect_eq(last_of(&m, 3), 1);
    cr_expect_eq(m.all.count, 7);
}

struct said {
    uint64_t origin, number;
    bool is_whole;
};

#define SAID 400u

static void make_history(struct random *r, struct said said[SAID])
{
    uint64_t last[12] = {0};
    bool is_whole[12] = {false};
    for (unsigned i = 0; i < SAID; i++) {
        const uint32_t origin = random_below(r, 12);
        const bool again = random_below(r, 5) == 0 && last[origin] > 0;
        last[origin] += !again && (is_whole[origin] || last[origin] == 0 || i % 7 == 0);
        is_whole[origin] = random_below(r, 3) > 0;
        said[i] = (struct said){1 + origin, last[origin], is_whole[origin]};
    }
}

static void note_all(struct records_memory *in, const struct said said[SAID], unsigned from,
                     unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        note_part(in, i + 1, said[i].origin, said[i].number, said[i].is_whole, 5);
    }
}

static void expect_same(const struct records_memory *a, const struct records_memory *b)
{
    const struct key_node *x = a->all.first[0];
    const struct key_node *y = b->all.first[0];
    for (; x != NULL && y != NULL; x = key_map_next(x), y = key_map_next(y)) {
        cr_assert(bytes_equal(record_key_bytes(&x->key), record_key_bytes(&y->key)));
        cr_assert(bytes_equal(key_node_value(x), key_node_value(y)));
    }
    cr_assert_null(x);
    cr_assert_null(y);
}

/* Whatever is noted twice, it comes to the same. */
Test(origins, twice_is_as_once)
{
    struct random r = random_init();
    for (unsigned round = 0; round < 200; round++) {
        struct said said[SAID];
        struct records_memory once;
        const uint64_t seed = r.state;
        make_history(&r, said);
        records_memory_init(&once);
        records_memory_fini(&m);
        records_memory_init(&m);
        const unsigned end = 1 + random_below(&r, SAID);
        const unsigned from = random_below(&r, end);
        note_all(&once, said, 0, end);
        note_all(&m, said, 0, end);
        note_all(&m, said, from, end);
        cr_log_info("TEST_SEED=%#llx: %u to %u", (unsigned long long)seed, from, end);
        expect_same(&m, &once);
        records_memory_fini(&once);
    }
}

Test(origins, what_cannot_be_read)
{
    bool seen;
    const struct operation operation = {.origin = 4, .number = 1, .is_whole = true};
    const struct record_key key = origin_key(PARTITION, ORIGIN_STREAM, 4);
    cr_assert_eq(records_put(&m.records, &key, bytes_text("?")), CHECKPOINT_OK);
    cr_expect_eq(origins_note(&m.records, PARTITION, 1, &operation, 3, &seen), CHECKPOINT_CORRUPT);
}
