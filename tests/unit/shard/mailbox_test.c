/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/mailbox.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

TestSuite(mailbox);

static bool put(struct mailbox *m, size_t len, uint8_t fill)
{
    void *const record = mailbox_reserve(m, len);
    if (record == NULL) {
        return false;
    }
    cr_assert_eq((uintptr_t)record % 16, 0);
    memset(record, fill, len);
    mailbox_commit(m);
    return true;
}

static void expect(struct mailbox *m, size_t len, uint8_t fill)
{
    size_t got = SIZE_MAX;
    const uint8_t *const record = mailbox_peek(m, &got);
    cr_assert_not_null(record);
    cr_assert_eq(got, len);
    for (size_t i = 0; i < len; i++) {
        cr_assert_eq(record[i], fill);
    }
    cr_assert_eq(mailbox_peek(m, &got), record, "peeking changes nothing");
    mailbox_release(m);
}

Test(mailbox, nothing_is_seen_before_it_is_published)
{
    struct mailbox *const m = mailbox_create(1024);
    size_t len;
    cr_expect_not(mailbox_publish(m));
    cr_expect(mailbox_is_empty(m));
    cr_expect(put(m, 10, 1));
    cr_expect(mailbox_is_empty(m));
    cr_expect_null(mailbox_peek(m, &len));
    cr_expect(mailbox_publish(m));
    cr_expect_not(mailbox_publish(m));
    cr_expect_not(mailbox_is_empty(m));
    expect(m, 10, 1);
    cr_expect(mailbox_is_empty(m));
    cr_expect_null(mailbox_peek(m, &len));
    mailbox_destroy(m);
}

Test(mailbox, a_reservation_that_is_not_committed_is_forgotten)
{
    struct mailbox *const m = mailbox_create(1024);
    cr_expect_not_null(mailbox_reserve(m, 200));
    cr_expect_not(mailbox_publish(m));
    cr_expect(put(m, 0, 0));
    cr_expect(put(m, 7, 2));
    cr_expect_not_null(mailbox_reserve(m, 200));
    cr_expect(mailbox_publish(m));
    expect(m, 0, 0);
    expect(m, 7, 2);
    cr_expect(mailbox_is_empty(m));
    mailbox_destroy(m);
}

/* Whatever the position, an empty ring takes a record of the largest size. */
Test(mailbox, largest_record_at_every_position)
{
    struct mailbox *const m = mailbox_create(256);
    cr_assert_eq(mailbox_record_max(m), 64);
    for (unsigned i = 0; i < 200; i++) {
        cr_assert(put(m, 64, (uint8_t)i));
        cr_assert(mailbox_publish(m));
        expect(m, 64, (uint8_t)i);
        cr_assert(put(m, i % 65, (uint8_t)i));
        cr_assert(mailbox_publish(m));
        expect(m, i % 65, (uint8_t)i);
    }
    mailbox_destroy(m);
}

/* Records of all sizes come out in order, through full and empty. */
Test(mailbox, full_and_empty_in_turns)
{
    struct mailbox *const m = mailbox_create(1024);
    unsigned in = 0, out = 0;
    for (unsigned round = 0; round < 1000; round++) {
        size_t bytes = 0;
        for (; put(m, in * 7 % 257, (uint8_t)in); in++) {
            bytes += in * 7 % 257;
        }
        cr_assert(bytes <= 1024);
        cr_assert(mailbox_publish(m));
        const unsigned leave = round % 2;
        while (in - out > leave) {
            expect(m, out * 7 % 257, (uint8_t)out);
            out++;
        }
    }
    cr_assert(in > 2000);
    mailbox_destroy(m);
}

Test(mailbox, too_large_to_exist)
{
    cr_expect_null(mailbox_create(SIZE_MAX / 2 + 1));
}
