/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct recorder shards[2];
static const struct note_peer near = {
    .address = {.s6_addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3}},
    .port = 4242,
    .listener = 1};

static void teardown(void)
{
    tracing_fini(&shards[0]);
    tracing_fini(&shards[1]);
}

TestSuite(trace, .fini = teardown);

static struct trace *begun(struct trace_wanted wanted)
{
    struct trace *const t = trace_create(&wanted, 2);
    cr_assert_not_null(t);
    cr_assert(tracing_begin(&shards[0], 0, t));
    cr_assert(tracing_begin(&shards[1], 1, t));
    return t;
}

static struct trace_party party(const char *client_id)
{
    return (struct trace_party){.peer = &near, .client_id = bytes_text(client_id)};
}

/* For how many there was no room. */
static unsigned put(unsigned shard, uint64_t at_us, const char *client_id, const char *topic)
{
    struct recorder *const r = &shards[shard];
    if (r->tracing == NULL) {
        return 0;
    }
    const struct trace_party who = party(client_id);
    const struct trace_event event = {.at_us = at_us,
                                      .kind = NOTE_RECEIVED,
                                      .length = 99,
                                      .head = bytes_text("head"),
                                      .topic = bytes_text(topic),
                                      .payload = bytes_text("payload")};
    return tracing_put(r, tracing_whose(r, &who), &who, &event);
}

static void expect(struct trace *t, unsigned shard, const char *text)
{
    unsigned from = 9;
    const struct trace_record *const r = trace_next(t, &from);
    cr_assert_not_null(r, "%s", text);
    cr_expect_eq(from, shard, "%s", text);
    const size_t len = (size_t)r->client_id_len + r->topic_len + r->head_len + r->payload_len;
    cr_assert_eq(len, strlen(text), "%zu, %s", len, text);
    cr_expect_eq(memcmp(r->text, text, len), 0, "%.*s", (int)len, (const char *)r->text);
    cr_expect_eq(r->length, 99);
    cr_expect_eq(r->payload_bytes, 7);
    cr_expect_eq(r->port, 4242);
}

static void expect_none(struct trace *t)
{
    unsigned shard;
    cr_expect_null(trace_next(t, &shard));
}

static void over(struct trace *t)
{
    trace_end(t);
    tracing_end(&shards[0], t);
    tracing_end(&shards[1], t);
    trace_put(t);
}

Test(trace, events_of_all_shards_come_in_the_order_of_time)
{
    struct trace *const t = begun((struct trace_wanted){.client_id = bytes_text("a*")});
    cr_expect_eq(put(1, 20, "a2", "t"), 0);
    cr_expect_eq(put(0, 10, "a1", "t"), 0);
    cr_expect_eq(put(0, 30, "a3", "t"), 0);
    cr_expect_eq(put(0, 15, "b", "t"), 0);
    expect(t, 0, "a1thead");
    expect(t, 1, "a2thead");
    expect(t, 0, "a3thead");
    expect_none(t);
    over(t);
    cr_expect_null(shards[0].tracing, "a shard that nobody watches has nothing of it");
}

static const struct {
    const char *name;
    struct trace_wanted wanted;
    bool wants; /* client "a", of 10.1.2.3, topic "x/y" */
} rows[] = {
    {"client", {.client_id = {(const uint8_t *)"a", 1}}, true},
    {"another client", {.client_id = {(const uint8_t *)"b", 1}}, false},
    {"any client", {.client_id = {(const uint8_t *)"*", 1}}, true},
    {"topic", {.topic_filter = {(const uint8_t *)"x/+", 3}}, true},
    {"another topic", {.topic_filter = {(const uint8_t *)"x", 1}}, false},
    {"client and another topic",
     {.client_id = {(const uint8_t *)"a", 1}, .topic_filter = {(const uint8_t *)"x", 1}},
     false},
    {"another client and topic",
     {.client_id = {(const uint8_t *)"b", 1}, .topic_filter = {(const uint8_t *)"#", 1}},
     false},
    {"address",
     {.has_address = true,
      .address = {{.s6_addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, 0}}, 112}},
     true},
    {"another address",
     {.has_address = true,
      .address = {{.s6_addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 2, 0, 0}}, 112}},
     false},
};

Test(trace, an_event_has_to_be_all_of_what_is_wanted)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace *const t = begun(rows[i].wanted);
        unsigned shard;
        cr_expect_eq(put(0, 1, "a", "x/y"), 0);
        cr_expect_eq(trace_next(t, &shard) != NULL, rows[i].wants, "%s", rows[i].name);
        over(t);
    }
}

Test(trace, of_a_topic_there_are_messages_only)
{
    struct trace *const t = begun((struct trace_wanted){.topic_filter = bytes_text("#")});
    cr_expect_eq(put(0, 1, "a", ""), 0);
    expect_none(t);
    over(t);
}

Test(trace, nobody_at_a_unix_socket_has_an_address)
{
    struct trace *const t = begun((struct trace_wanted){.has_address = true}); /* ::/0 */
    struct trace_party who = party("a");
    cr_expect_eq(tracing_whose(&shards[0], &who), 1);
    who.local = true;
    cr_expect_eq(tracing_whose(&shards[0], &who), 0);
    who = (struct trace_party){.client_id = bytes_text("a")};
    cr_expect_eq(tracing_whose(&shards[0], &who), 0);
    over(t);
}

Test(trace, payloads_come_when_they_are_asked_for)
{
    struct trace *const with =
        begun((struct trace_wanted){.client_id = bytes_text("a"), .payload = true});
    struct trace *const without = begun((struct trace_wanted){.client_id = bytes_text("a")});
    cr_expect_eq(put(0, 1, "a", "t"), 0);
    expect(with, 0, "atheadpayload");
    expect(without, 0, "athead");
    over(with);
    over(without);
}

Test(trace, what_there_is_no_room_for_is_counted_and_what_was_kept_is_whole)
{
    static char topic[TRACE_TOPIC_MAX + 100];
    struct trace *const t = begun((struct trace_wanted){.client_id = bytes_text("*")});
    const struct trace_record *r;
    unsigned kept = 0, shard;
    uint64_t lost = 0;
    memset(topic, 't', sizeof topic - 1);
    for (unsigned i = 0; i < 10000; i++) {
        lost += put(0, i, "a", topic);
    }
    cr_expect_gt(lost, 0);
    while ((r = trace_next(t, &shard)) != NULL) {
        cr_expect_eq(r->at_us, kept, "the first ones are there");
        cr_expect_eq(r->topic_len, TRACE_TOPIC_MAX);
        cr_expect_eq(r->topic_bytes, sizeof topic - 1);
        kept++;
    }
    cr_expect_eq(kept + lost, 10000);
    cr_expect_eq(trace_not_kept(t), lost);
    cr_expect_eq(trace_not_kept(t), 0, "once");
    cr_expect_eq(put(0, 1, "a", "t"), 0, "there is room again");
    over(t);
}

/* Who watched has gone, and no errand came through: the shard finds out. */
Test(trace, one_that_is_over_goes_when_something_is_put)
{
    struct trace *const t = begun((struct trace_wanted){.client_id = bytes_text("a")});
    const uint32_t generation = shards[0].tracing_generation;
    trace_end(t);
    trace_put(t);
    cr_expect_eq(put(0, 1, "a", "t"), 0);
    cr_expect_null(shards[0].tracing);
    cr_expect_neq(shards[0].tracing_generation, generation);
}

Test(trace, there_are_so_many_and_one_that_is_over_makes_room)
{
    struct trace *all[TRACES_MAX];
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        all[i] = begun((struct trace_wanted){.client_id = bytes_text("a")});
    }
    const struct trace_wanted wanted = {.client_id = bytes_text("a")};
    struct trace *const more = trace_create(&wanted, 2);
    cr_assert_not_null(more);
    cr_expect_not(tracing_begin(&shards[0], 0, more));
    trace_end(all[2]);
    cr_expect(tracing_begin(&shards[0], 0, more));
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        over(all[i]);
    }
    over(more);
}
