/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/recorder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct recorder r;

static void setup(void)
{
    cr_assert(recorder_init(&r, RECORDER_BYTES_MIN));
    recorder_turn(&r, 1000);
}

static void teardown(void)
{
    recorder_fini(&r);
}

TestSuite(recorder, .init = setup, .fini = teardown);

/* A note of `len` bytes, which tells its number. */
static void write_note(uint32_t number, size_t len)
{
    uint8_t text[512];
    memset(text, (int)(number & 0xff), sizeof text);
    cr_assert_leq(len, sizeof text);
    recorder_write(&r, NOTE_RECEIVED, 0, NULL, number, bytes_of(text, len / 2),
                   bytes_of(text, len - len / 2));
}

static void expect_whole(const struct note *note, size_t len)
{
    const size_t most = len < NOTE_TEXT_MAX ? len : NOTE_TEXT_MAX;
    cr_assert_eq(note->text_len, most, "%u of %zu", note->text_len, most);
    for (size_t i = 0; i < most; i++) {
        cr_assert_eq(note->text[i], (uint8_t)note->length);
    }
}

Test(recorder, notes_are_read_in_their_order)
{
    const struct note_peer peer = {.port = 4242, .listener = 3, .address = IN6ADDR_LOOPBACK_INIT};
    recorder_write(&r, NOTE_CLOSED, 0x8E, &peer, 7, bytes_text("a"), bytes_text("bc"));
    recorder_turn(&r, 2000);
    recorder_write(&r, NOTE_ACCEPTED, 0, NULL, 0, bytes_of(NULL, 0), bytes_of(NULL, 0));

    uint64_t cursor = 0;
    const struct note *note = note_ring_next(r.ring, &cursor);
    cr_assert_not_null(note);
    cr_expect_eq(note->at_ms, 1000);
    cr_expect_eq(note->kind, NOTE_CLOSED);
    cr_expect_eq(note->code, 0x8E);
    cr_expect_eq(note->port, 4242);
    cr_expect_eq(note->listener, 3);
    cr_expect_eq(note->length, 7);
    cr_expect(IN6_IS_ADDR_LOOPBACK(&note->address));
    cr_expect_eq(note->text_len, 3);
    cr_expect_eq(memcmp(note->text, "abc", 3), 0);
    note = note_ring_next(r.ring, &cursor);
    cr_assert_not_null(note);
    cr_expect_eq(note->at_ms, 2000);
    cr_expect_eq(note->kind, NOTE_ACCEPTED);
    cr_expect_null(note_ring_next(r.ring, &cursor));
}

/* Of notes of all sizes the newest are there, each whole, none is left out between them, and they
 * fill all but the last notes' worth of the ring. */
Test(recorder, the_newest_take_the_place_of_the_oldest)
{
    uint32_t written = 0;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 97; i++) {
            written++;
            write_note(written, written * 13 % 230);
        }
        uint64_t cursor = 0;
        uint32_t expected = 0;
        size_t bytes = 0;
        for (const struct note *note; (note = note_ring_next(r.ring, &cursor)) != NULL;) {
            cr_assert(expected == 0 || note->length == expected, "%u, not %u", note->length,
                      expected);
            expect_whole(note, note->length * 13 % 230);
            expected = note->length + 1;
            bytes += sizeof *note + note->text_len;
        }
        cr_assert_eq(expected, written + 1);
        cr_assert(written < 1000 || bytes > RECORDER_BYTES_MIN / 2, "%zu", bytes);
    }
}

Test(recorder, a_text_that_is_too_long_is_cut)
{
    write_note(1, 400);
    uint64_t cursor = 0;
    expect_whole(note_ring_next(r.ring, &cursor), 400);
}

static unsigned write_some(unsigned count)
{
    unsigned written = 0;
    for (unsigned i = 0; i < count; i++) {
        written += recorder_may(&r);
    }
    return written;
}

Test(recorder, so_many_at_once_and_then_by_and_by)
{
    cr_expect_eq(write_some(NOTES_AT_ONCE + 5), NOTES_AT_ONCE);
    cr_expect_eq(recorder_turn(&r, 1000), 0, "the same millisecond goes on");
    cr_expect_not(recorder_may(&r));
    cr_expect_eq(recorder_turn(&r, 1002), 6);
    cr_expect_eq(write_some(1000), 2 * NOTES_PER_MS);
    cr_expect_eq(recorder_turn(&r, 1000000), 1000 - 2 * NOTES_PER_MS);
    cr_expect_eq(write_some(NOTES_AT_ONCE + 1), NOTES_AT_ONCE, "no more, however long it was");
}

Test(recorder, how_many_were_too_many_is_noted)
{
    (void)write_some(NOTES_AT_ONCE + 5);
    cr_expect_eq(recorder_turn(&r, 1001), 5);
    cr_expect_eq(recorder_turn(&r, 1002), 0);
    uint64_t cursor = 0;
    const struct note *const note = note_ring_next(r.ring, &cursor);
    cr_assert_not_null(note);
    cr_expect_eq(note->kind, NOTE_SKIPPED);
    cr_expect_eq(note->length, 5);
    cr_expect_eq(note->at_ms, 1000, "when it was");
    cr_expect_null(note_ring_next(r.ring, &cursor));
}

Test(recorder, a_ring_is_given_for_an_empty_one)
{
    write_note(1, 10);
    struct note_ring *const fresh = note_ring_create(RECORDER_BYTES_MIN);
    recorder_offer(&r, fresh);
    cr_expect_null(recorder_take(&r), "not before its turn");
    recorder_turn(&r, 1001);
    write_note(2, 10);
    struct note_ring *const former = recorder_take(&r);
    cr_assert_not_null(former);
    cr_expect_eq(r.ring, fresh);
    uint64_t cursor = 0;
    cr_expect_eq(note_ring_next(former, &cursor)->length, 1);
    cr_expect_null(note_ring_next(former, &cursor));
    cursor = 0;
    cr_expect_eq(note_ring_next(fresh, &cursor)->length, 2);
    note_ring_destroy(former);
}

Test(recorder, an_offer_can_be_withdrawn)
{
    struct note_ring *const own = r.ring;
    struct note_ring *const fresh = note_ring_create(RECORDER_BYTES_MIN);
    recorder_offer(&r, fresh);
    cr_expect_eq(recorder_withdraw(&r), fresh);
    recorder_turn(&r, 1001);
    cr_expect_eq(r.ring, own);
    cr_expect_null(recorder_take(&r));
    note_ring_destroy(fresh);
}

Test(recorder, off_is_off)
{
    struct recorder off;
    cr_assert(recorder_init(&off, 0));
    recorder_turn(&off, 1);
    cr_expect_not(recorder_may(&off));
    recorder_write(&off, NOTE_ACCEPTED, 0, NULL, 0, bytes_of(NULL, 0), bytes_of(NULL, 0));
    recorder_fini(&off);
}
