/* SPDX-License-Identifier: Apache-2.0 */
/* story: read back by a reader of our own, of the few blocks that it writes (the e2e tests have
 * tshark). */
#include "broker/recorder/story.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "broker/metrics.h"
#include "broker/recorder/pcapng.h"
#include "broker/recorder/recorder.h"

#define LINES_MAX 64u

struct read {
    char bytes[65536];
    size_t len, limit;
    struct {
        uint32_t interface, there, was;
        uint64_t at_ms;
        char text[512];
    } lines[LINES_MAX];
    unsigned count, interfaces;
};

static struct read out;
static struct recorder recorders[2];

static void setup(void)
{
    out = (struct read){.limit = sizeof out.bytes};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(recorder_init(&recorders[i], RECORDER_BYTES_MIN));
        recorder_turn(&recorders[i], 100 + i);
    }
}

static void teardown(void)
{
    recorder_fini(&recorders[0]);
    recorder_fini(&recorders[1]);
}

TestSuite(story, .init = setup, .fini = teardown);

static bool take(void *context, const void *bytes, size_t len)
{
    (void)context;
    if (len > out.limit - out.len) {
        return false;
    }
    memcpy(out.bytes + out.len, bytes, len);
    out.len += len;
    return true;
}

static bool tell(void)
{
    const struct story story = {.rings = {recorders[0].ring, recorders[1].ring},
                                .shards = 2,
                                .ports = {1883, 8883},
                                .listeners = 2,
                                .wall_offset_ms = 1000000,
                                .program = "dunlin test"};
    return story_tell(&story, take, NULL);
}

static uint32_t word(size_t at)
{
    uint32_t value;
    cr_assert_leq(at + 4, out.len);
    memcpy(&value, out.bytes + at, sizeof value);
    return value;
}

/* Where the tags of an exported PDU end. */
static size_t after_tags(size_t at)
{
    for (unsigned tag = 1; tag != 0;) {
        tag = (unsigned)(uint8_t)out.bytes[at] << 8 | (uint8_t)out.bytes[at + 1];
        at += 4 + ((unsigned)(uint8_t)out.bytes[at + 2] << 8 | (uint8_t)out.bytes[at + 3]);
        cr_assert_leq(at, out.len);
    }
    return at;
}

static void read_packet(size_t at)
{
    cr_assert_lt(out.count, LINES_MAX);
    const size_t text_at = after_tags(at + 28);
    const size_t len = at + 28 + word(at + 20) - text_at;
    cr_assert_lt(len, sizeof out.lines[0].text);
    out.lines[out.count].interface = word(at + 8);
    out.lines[out.count].at_ms = (uint64_t)word(at + 12) << 32 | word(at + 16);
    out.lines[out.count].there = word(at + 20);
    out.lines[out.count].was = word(at + 24);
    memcpy(out.lines[out.count].text, out.bytes + text_at, len);
    out.count++;
}

static void read_back(void)
{
    for (size_t at = 0; at < out.len;) {
        const uint32_t type = word(at), size = word(at + 4);
        cr_assert(size % 4 == 0 && size >= 12 && size <= PCAPNG_BLOCK_BYTES);
        cr_assert_eq(word(at + size - 4), size, "a block ends with its size");
        cr_assert((type == 0x0A0D0D0A) == (at == 0));
        out.interfaces += type == 1;
        if (type == 6) {
            read_packet(at);
        }
        at += size;
    }
}

static void drop(struct recorder *r, enum metric reason, const char *client_id, const char *topic)
{
    char both[64];
    const size_t len = strlen(client_id) + 1;
    memcpy(both, client_id, len);
    recorder_write(r, NOTE_DROPPED, (uint16_t)reason, NULL, 0, bytes_of(both, len),
                   bytes_text(topic));
}

Test(story, all_shards_are_told_in_the_order_of_time)
{
    static const struct bytes none;
    recorder_write(&recorders[1], NOTE_ACCEPTED, 0, NULL, 0, none, none);
    recorder_write(&recorders[0], NOTE_RECEIVED, 0, NULL, 500, bytes_text("\x30"), none);
    recorder_turn(&recorders[0], 200);
    recorder_write(&recorders[0], NOTE_SENT, 0, NULL, 1, bytes_text("y"), none);
    cr_assert(tell());
    read_back();
    cr_assert_eq(out.count, 3);
    cr_expect_eq(out.interfaces, 2);
    cr_expect_eq(out.lines[0].interface, 0);
    cr_expect_eq(out.lines[0].at_ms, 1000100);
    cr_expect_eq(out.lines[0].was - out.lines[0].there, 499, "as long as it was");
    cr_expect_str_eq(out.lines[0].text, "\x30");
    cr_expect_eq(out.lines[1].interface, 1);
    cr_expect_eq(out.lines[1].at_ms, 1000101);
    cr_expect_str_eq(out.lines[1].text, "accepted");
    cr_expect_eq(out.lines[2].at_ms, 1000200);
    cr_expect_eq(out.lines[2].was, out.lines[2].there);
}

Test(story, what_is_no_packet_is_told_in_words)
{
    struct recorder *const r = &recorders[0];
    static const struct bytes none;
    recorder_write(r, NOTE_NAMED, 0, NULL, 0, bytes_text("me"), none);
    recorder_write(r, NOTE_CLOSED, 0x8E, NULL, 0, bytes_text("me"), none);
    recorder_write(r, NOTE_CLOSED, 0, NULL, 0, none, none);
    recorder_write(r, NOTE_MALFORMED, 0x81, NULL, 9, none, none);
    recorder_write(r, NOTE_SKIPPED, 0, NULL, 1204, none, none);
    drop(r, METRIC_drop_expired, "me", "a/b");
    drop(r, METRIC_drop_shared_no_member, "", "a/b");
    drop(r, METRIC_drop_no_memory, "me", "");
    static const char *const expected[] = {
        "connected client_id=me",
        "closed: Session taken over client_id=me",
        "closed: Success",
        "malformed: Malformed Packet",
        "1204 more, which were too many",
        "drop_expired client_id=me topic=a/b",
        "drop_shared_no_member topic=a/b",
        "drop_no_memory client_id=me",
    };
    cr_assert(tell());
    read_back();
    cr_assert_eq(out.count, sizeof expected / sizeof expected[0]);
    for (unsigned i = 0; i < out.count; i++) {
        cr_expect_str_eq(out.lines[i].text, expected[i]);
    }
}

/* The largest text and topic that a note has, and addresses of both families. */
Test(story, the_largest_note_fits_into_a_block)
{
    char text[NOTE_TEXT_MAX];
    memset(text, 'x', sizeof text);
    struct note_peer peer = {.address = IN6ADDR_LOOPBACK_INIT, .port = 65535, .listener = 200};
    for (int kind = NOTE_RECEIVED; kind <= NOTE_SKIPPED; kind++) {
        recorder_write(&recorders[0], (enum note_kind)kind, UINT16_MAX, &peer, UINT32_MAX,
                       bytes_of(text, sizeof text), bytes_of(NULL, 0));
    }
    cr_assert(tell());
    read_back();
    cr_expect_eq(out.count, NOTE_SKIPPED - NOTE_RECEIVED + 1u);
}

Test(story, who_does_not_take_it_is_not_asked_again)
{
    drop(&recorders[0], METRIC_drop_expired, "me", "a/b");
    cr_assert(tell());
    const size_t whole = out.len;
    for (size_t limit = 0; limit < whole; limit++) {
        out.len = 0;
        out.limit = limit;
        cr_assert_not(tell());
        cr_assert_leq(out.len, limit);
    }
}
