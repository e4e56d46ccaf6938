/* SPDX-License-Identifier: Apache-2.0 */
/* link_raw_test: a link, and a node 2 that is the test: what may be said when, byte for byte. */
#include "cluster/link/link.h"

#include <criterion/criterion.h>
#include <string.h>

#include "proto/little_endian.h"
#include "tests/unit/link/pair.h"

#define LANE 3u

static struct link *l;
static uint64_t now;
static uint64_t connection;
static unsigned delivered, gaps, ups;
static uint64_t delivered_seq;
static enum link_taken answer;

static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    (void)context;
    if (answer == LINK_TAKEN) {
        delivered++;
        delivered_seq = frame->seq;
    }
    return answer;
}

static void on_up(void *context, const struct node_hello *hello)
{
    (void)context;
    (void)hello;
    ups++;
}

static void on_down(void *context, enum node_close why)
{
    (void)context;
    (void)why;
}

static void on_slow(void *context, bool slow)
{
    (void)context;
    (void)slow;
}

static void on_gap(void *context)
{
    (void)context;
    gaps++;
}

static void on_restarted(void *context, uint64_t generation)
{
    (void)context;
    (void)generation;
}

static void on_lost(void *context, uint64_t first, uint64_t last, enum link_loss why)
{
    (void)context;
    (void)first;
    (void)last;
    (void)why;
}

static struct node_hello hello_of(uint8_t node)
{
    struct node_hello h = {.protocol_min = 1,
                           .protocol_max = 1,
                           .generation = 5,
                           .name = bytes_text("two"),
                           .frame_max = 1u << 20,
                           .stream = 77,
                           .credit = UINT64_MAX};
    memset(h.cluster.bytes, 0xcc, UUID_BYTES);
    memset(h.node.bytes, node, UUID_BYTES);
    memset(h.to.bytes, 1, UUID_BYTES);
    return h;
}

static void setup(void)
{
    struct link_conf conf = link_conf_defaults();
    conf.self = (struct identity){.generation = 1, .name_len = 3, .name = "one"};
    memset(conf.self.cluster.bytes, 0xcc, UUID_BYTES);
    memset(conf.self.node.bytes, 1, UUID_BYTES);
    memset(conf.peer.bytes, 2, UUID_BYTES);
    conf.lane = LANE;
    conf.stream = 42;
    conf.frame_max = 100000;
    conf.events = (struct link_events){.deliver = on_deliver,
                                       .up = on_up,
                                       .down = on_down,
                                       .slow = on_slow,
                                       .gap = on_gap,
                                       .restarted = on_restarted,
                                       .lost = on_lost};
    l = link_create(&conf);
    cr_assert_not_null(l);
    now = 1000;
    link_want(l, true, now);
}

static void teardown(void)
{
    link_down(l, link_connection(l), NODE_CLOSE_BROKEN, now);
    link_destroy(l);
}

TestSuite(link_raw, .init = setup, .fini = teardown);

static void dial(void)
{
    now = link_next_ms(l) > now && link_next_ms(l) != UINT64_MAX ? link_next_ms(l) : now;
    link_turn(l, now);
    cr_assert_eq(link_todo(l), LINK_DIAL);
    cr_assert_eq(link_todo(l), LINK_NOTHING, "said once");
    link_dialed(l, ++connection, now);
}

/* All that it sends now. */
static size_t output(uint8_t *out, size_t out_max)
{
    struct bytes runs[LINK_RUNS];
    size_t len = 0;
    for (;;) {
        const size_t count = link_output(l, runs, now);
        size_t sent = 0;
        for (size_t i = 0; i < count; i++) {
            cr_assert(len + runs[i].len <= out_max);
            memcpy(out + len, runs[i].at, runs[i].len);
            len += runs[i].len;
            sent += runs[i].len;
        }
        if (count == 0) {
            return len;
        }
        link_sent(l, connection, sent, now);
    }
}

static uint8_t said[1u << 20];
static size_t said_len;

/* The next frame of what was said; type 0: none. */
static struct node_frame said_next(void)
{
    struct node_frame frame = {.type = 0};
    static size_t at;
    static uint8_t body[1u << 20];
    size_t used;
    if (at == said_len) {
        said_len = output(said, sizeof said);
        at = 0;
    }
    if (at < said_len) {
        cr_assert_eq(node_frame_decode(&frame, said + at, said_len - at, SIZE_MAX, &used), NODE_OK);
        memcpy(body, frame.body.at, frame.body.len);
        frame.body.at = body;
        at += used;
    }
    return frame;
}

static void receive(const uint8_t *in, size_t len)
{
    size_t used;
    link_received(l, connection, in, len, now, &used);
    cr_assert(used == len || link_is_held(l));
}

static void say_frame(struct node_frame frame, const void *body, size_t body_len)
{
    static uint8_t out[NODE_FRAME_HEAD_BYTES + 200000];
    frame.body.len = body_len;
    node_frame_head_encode(out, &frame);
    if (body_len > 0) {
        memcpy(out + NODE_FRAME_HEAD_BYTES, body, body_len);
    }
    receive(out, NODE_FRAME_HEAD_BYTES + body_len);
}

static void say(uint8_t type, uint64_t seq, uint64_t ack)
{
    say_frame((struct node_frame){.type = type, .lane = LANE, .seq = seq, .ack = ack}, "x", 1);
}

static void say_hello(const struct node_hello *h)
{
    uint8_t body[NODE_HELLO_BYTES_MAX];
    say_frame((struct node_frame){.type = NODE_FRAME_HELLO, .lane = LANE}, body,
              node_hello_encode(body, h));
}

static void say_gap(uint64_t first, uint64_t last, enum node_gap why)
{
    uint8_t body[NODE_CONTROL_BYTES_MAX];
    const struct node_gap_body gap = {.first = first, .why = why};
    say_frame((struct node_frame){.type = NODE_FRAME_GAP, .lane = LANE, .seq = last}, body,
              node_gap_encode(body, &gap));
}

static void greeted(void)
{
    const struct node_hello h = hello_of(2);
    dial();
    cr_assert_eq(said_next().type, NODE_FRAME_HELLO);
    say_hello(&h);
    cr_assert(link_is_up(l));
}

/* It ends the connection, and says why. */
static void expect_end(enum node_close why)
{
    cr_expect_eq(link_todo(l), LINK_CLOSE);
    cr_expect_eq(link_why(l), why, "%s", node_close_text(link_why(l)));
    const struct node_frame frame = said_next();
    enum node_close told = NODE_CLOSE_NONE;
    cr_assert_eq(frame.type, NODE_FRAME_CLOSE);
    cr_expect_eq(node_close_decode(&told, frame.body), NODE_OK);
    cr_expect_eq(told, why);
    cr_expect_eq(said_next().type, 0, "and nothing more");
}

static uint64_t put_one(void)
{
    uint8_t *body;
    uint64_t seq = 0;
    cr_assert_eq(link_put(l, NODE_FRAME_PUBLISH, true, 1, &body, &seq, now), LINK_OK);
    *body = 'y';
    return seq;
}

/* ---- HELLO */

Test(link_raw, says_hello_first_and_alone)
{
    put_one();
    dial();
    const struct node_frame frame = said_next();
    struct node_hello h;
    cr_assert_eq(frame.type, NODE_FRAME_HELLO);
    cr_expect_eq(frame.lane, LANE);
    cr_assert_eq(node_hello_decode(&h, frame.body), NODE_OK);
    cr_expect_eq(h.stream, LINK_STREAMS + 42, "its first start's");
    cr_expect_eq(h.received_stream, 0);
    cr_expect_eq(h.to.bytes[0], 2);
    cr_expect_eq(said_next().type, 0, "until it is answered");
    const struct node_hello answered = hello_of(2);
    say_hello(&answered);
    cr_expect_eq(ups, 1);
    cr_expect_eq(said_next().type, NODE_FRAME_PUBLISH);
}

static void refused(const struct node_hello *h, enum node_close why)
{
    dial();
    cr_assert_eq(said_next().type, NODE_FRAME_HELLO);
    say_hello(h);
    expect_end(why);
    cr_expect_eq(ups, 0);
    link_down(l, connection, NODE_CLOSE_BROKEN, now);
    cr_expect_eq(link_why(l), why, "the first reason stays");
}

Test(link_raw, refuses_who_is_not_the_one_it_called)
{
    struct node_hello h = hello_of(3);
    refused(&h, NODE_CLOSE_WRONG_NODE);
    h = hello_of(2);
    h.cluster.bytes[0]++;
    refused(&h, NODE_CLOSE_OTHER_CLUSTER);
    h = hello_of(1);
    refused(&h, NODE_CLOSE_ITSELF);
    h = hello_of(2);
    h.to.bytes[0]++;
    refused(&h, NODE_CLOSE_WRONG_NODE);
    h = hello_of(2);
    h.protocol_min = 2;
    h.protocol_max = 3;
    refused(&h, NODE_CLOSE_VERSION);
    cr_expect_eq(link_figures(l).refusals, 5);
}

Test(link_raw, refuses_a_start_that_is_over)
{
    greeted();
    link_down(l, connection, NODE_CLOSE_BROKEN, now);
    ups = 0;
    struct node_hello h = hello_of(2);
    h.generation = 4;
    h.stream = 76;
    refused(&h, NODE_CLOSE_OLD_GENERATION);
    dial();
    h = hello_of(2);
    say_hello(&h);
    cr_expect(link_is_up(l), "the newest is taken as before");
}

Test(link_raw, refuses_who_has_received_what_was_never_sent)
{
    struct node_hello h = hello_of(2);
    h.received_stream = LINK_STREAMS + 42;
    h.received_seq = 1;
    refused(&h, NODE_CLOSE_OUT_OF_ORDER);
}

Test(link_raw, waits_for_a_hello_so_long)
{
    dial();
    cr_assert_eq(said_next().type, NODE_FRAME_HELLO);
    cr_expect_eq(link_next_ms(l), now + 5000);
    now += 4999;
    link_turn(l, now);
    cr_expect_eq(link_todo(l), LINK_NOTHING);
    now++;
    link_turn(l, now);
    expect_end(NODE_CLOSE_NO_HELLO);
}

Test(link_raw, wants_a_hello_first)
{
    dial();
    cr_assert_eq(said_next().type, NODE_FRAME_HELLO);
    say(NODE_FRAME_PUBLISH, 1, 0);
    expect_end(NODE_CLOSE_NO_HELLO);
    cr_expect_eq(delivered, 0);
}

Test(link_raw, hears_why_it_is_refused)
{
    uint8_t body[NODE_CONTROL_BYTES_MAX];
    dial();
    cr_assert_eq(said_next().type, NODE_FRAME_HELLO);
    say_frame((struct node_frame){.type = NODE_FRAME_CLOSE}, body,
              node_close_encode(body, NODE_CLOSE_UNKNOWN_NODE));
    cr_expect_eq(link_todo(l), LINK_CLOSE);
    cr_expect_eq(link_why(l), NODE_CLOSE_UNKNOWN_NODE);
    cr_expect_eq(said_next().type, 0, "it is not answered");
    cr_expect_eq(link_figures(l).refusals, 1);
}

Test(link_raw, takes_one_hello)
{
    greeted();
    const struct node_hello h = hello_of(2);
    say_hello(&h);
    expect_end(NODE_CLOSE_OUT_OF_ORDER);
}

/* ---- Numbers */

Test(link_raw, takes_numbers_in_order_once)
{
    greeted();
    say(NODE_FRAME_PUBLISH, 1, 0);
    say(NODE_FRAME_PUBLISH, 2, 0);
    say(NODE_FRAME_PUBLISH, 1, 0);
    say(NODE_FRAME_PUBLISH, 2, 0);
    cr_expect_eq(delivered, 2);
    cr_expect_eq(link_figures(l).duplicates, 2);
    now += 5;
    const struct node_frame ack = said_next();
    cr_expect_eq(ack.type, NODE_FRAME_ACK);
    cr_expect_eq(ack.ack, 2);
    cr_expect_eq(ack.seq, 0);
    say(NODE_FRAME_PUBLISH, 4, 0);
    expect_end(NODE_CLOSE_OUT_OF_ORDER);
    cr_expect_eq(delivered, 2);
}

/* The sender has not heard of it, or it would not send again. */
Test(link_raw, acknowledges_a_duplicate)
{
    greeted();
    say(NODE_FRAME_PUBLISH, 1, 0);
    now += 5;
    cr_assert_eq(said_next().type, NODE_FRAME_ACK);
    say(NODE_FRAME_PUBLISH, 1, 0);
    now += 5;
    const struct node_frame ack = said_next();
    cr_expect_eq(ack.type, NODE_FRAME_ACK);
    cr_expect_eq(ack.ack, 1);
}

Test(link_raw, takes_no_acknowledgement_of_what_was_not_sent)
{
    greeted();
    put_one();
    put_one();
    cr_assert_eq(said_next().seq, 1);
    cr_assert_eq(said_next().seq, 2);
    put_one();
    say(NODE_FRAME_ACK, 0, 2);
    cr_expect_eq(link_figures(l).kept_frames, 1);
    say(NODE_FRAME_ACK, 0, 1);
    cr_expect_eq(link_figures(l).kept_frames, 1, "an older one says nothing new");
    say(NODE_FRAME_ACK, 0, 3);
    cr_expect_eq(link_todo(l), LINK_CLOSE);
    cr_expect_eq(link_why(l), NODE_CLOSE_OUT_OF_ORDER);
    cr_expect_eq(link_figures(l).kept_frames, 1);
}

Test(link_raw, goes_over_numbers_with_a_gap_only)
{
    greeted();
    say(NODE_FRAME_PUBLISH, 1, 0);
    say_gap(1, 1, NODE_GAP_LOST);
    cr_expect_eq(gaps, 0, "nothing is missing");
    say_gap(1, 5, NODE_GAP_LOST);
    cr_expect_eq(gaps, 1);
    say(NODE_FRAME_PUBLISH, 6, 0);
    cr_expect_eq(delivered_seq, 6);
    say_gap(7, 9, NODE_GAP_FRESH);
    cr_expect_eq(gaps, 1, "they were for another start");
    say(NODE_FRAME_PUBLISH, 10, 0);
    cr_expect_eq(delivered_seq, 10);
    say_gap(12, 13, NODE_GAP_LOST);
    expect_end(NODE_CLOSE_OUT_OF_ORDER);
}

Test(link_raw, acknowledges_a_gap)
{
    greeted();
    say_gap(1, 5, NODE_GAP_LOST);
    now += 5;
    const struct node_frame ack = said_next();
    cr_expect_eq(ack.type, NODE_FRAME_ACK);
    cr_expect_eq(ack.ack, 5);
}

Test(link_raw, wants_a_number_of_a_gap)
{
    greeted();
    say_gap(1, 0, NODE_GAP_LOST);
    expect_end(NODE_CLOSE_MALFORMED);
}

/* ---- Other frames */

Test(link_raw, passes_over_what_a_later_version_says)
{
    greeted();
    say(200, 0, 0);
    say(200, 1, 0);
    say(NODE_FRAME_PUBLISH, 2, 0);
    cr_expect_eq(delivered, 1);
    cr_expect_eq(link_figures(l).skipped, 2);
    say_frame((struct node_frame){.type = 200, .flags = NODE_FRAME_CRITICAL, .lane = LANE}, "", 0);
    expect_end(NODE_CLOSE_UNKNOWN_CRITICAL);
}

Test(link_raw, minds_the_lane)
{
    greeted();
    say_frame((struct node_frame){.type = NODE_FRAME_PUBLISH, .lane = LANE + 1, .seq = 1}, "x", 1);
    expect_end(NODE_CLOSE_MALFORMED);
    cr_expect_eq(delivered, 0);
}

Test(link_raw, minds_the_size)
{
    static uint8_t large[100001];
    greeted();
    say_frame((struct node_frame){.type = NODE_FRAME_PUBLISH, .lane = LANE, .seq = 1}, large,
              sizeof large - 1);
    cr_expect_eq(delivered, 1);
    say_frame((struct node_frame){.type = NODE_FRAME_PUBLISH, .lane = LANE, .seq = 2}, large,
              sizeof large);
    expect_end(NODE_CLOSE_TOO_LARGE);
    cr_expect_eq(delivered, 1);
}

Test(link_raw, ends_at_a_malformed_body)
{
    greeted();
    answer = LINK_BAD;
    say(NODE_FRAME_PUBLISH, 1, 0);
    expect_end(NODE_CLOSE_MALFORMED);
    cr_expect_eq(link_figures(l).received_seq, 0);
}

Test(link_raw, ends_at_a_malformed_word_of_its_own)
{
    greeted();
    say(NODE_FRAME_CREDIT, 0, 0);
    expect_end(NODE_CLOSE_MALFORMED);
    link_down(l, connection, NODE_CLOSE_BROKEN, now);
    greeted();
    say(NODE_FRAME_CLOSE, 0, 0);
    expect_end(NODE_CLOSE_MALFORMED);
}

Test(link_raw, listens_no_more_once_it_ends)
{
    greeted();
    say(NODE_FRAME_PUBLISH, 2, 0);
    cr_expect_eq(link_todo(l), LINK_CLOSE);
    say(NODE_FRAME_PUBLISH, 1, 0);
    cr_expect_eq(delivered, 0);
    link_down(l, connection + 1, NODE_CLOSE_BROKEN, now); /* of some other connection */
    cr_expect_eq(link_todo(l), LINK_CLOSE);
    link_down(l, connection, NODE_CLOSE_BROKEN, now);
    cr_expect_eq(link_todo(l), LINK_NOTHING);
    say(NODE_FRAME_PUBLISH, 1, 0); /* of the connection that was */
    cr_expect_eq(delivered, 0);
}

/* Byte by byte it is the same. */
Test(link_raw, takes_bytes_as_they_come)
{
    uint8_t in[4 * (NODE_FRAME_HEAD_BYTES + 1)];
    greeted();
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *const at = in + i * (NODE_FRAME_HEAD_BYTES + 1);
        const struct node_frame frame = {
            .type = NODE_FRAME_PUBLISH, .lane = LANE, .seq = i + 1, .body.len = 1};
        node_frame_head_encode(at, &frame);
        at[NODE_FRAME_HEAD_BYTES] = 'x';
    }
    for (size_t i = 0; i < sizeof in; i++) {
        receive(in + i, 1);
        cr_expect_eq(delivered, (i + 1) / (NODE_FRAME_HEAD_BYTES + 1));
    }
}

/* From where it was refused, and no byte of it twice. */
Test(link_raw, gives_back_what_was_not_taken)
{
    uint8_t in[2 * (NODE_FRAME_HEAD_BYTES + 1)];
    size_t used;
    greeted();
    for (unsigned i = 0; i < 2; i++) {
        const struct node_frame frame = {
            .type = NODE_FRAME_PUBLISH, .lane = LANE, .seq = i + 1, .body.len = 1};
        node_frame_head_encode(in + i * 25, &frame);
        in[i * 25 + 24] = 'x';
    }
    answer = LINK_NOT_NOW;
    link_received(l, connection, in, sizeof in, now, &used);
    cr_expect_eq(used, 0);
    cr_expect(link_is_held(l));
    answer = LINK_TAKEN;
    link_received(l, connection, in, 30, now, &used);
    cr_expect_eq(used, 30);
    cr_expect_eq(delivered, 1);
    answer = LINK_NOT_NOW;
    link_received(l, connection, in + 30, 20, now, &used);
    cr_expect_eq(used, 20, "it is in the link's own buffer");
    cr_expect(link_is_held(l));
    cr_expect_eq(delivered, 1);
    answer = LINK_TAKEN;
    link_received(l, connection, NULL, 0, now, &used);
    cr_expect_eq(delivered, 2);
    cr_expect_not(link_is_held(l));
}

/* ---- Time */

Test(link_raw, pings_when_it_has_nothing_to_say)
{
    greeted();
    cr_expect_eq(said_next().type, 0);
    cr_expect_eq(link_next_ms(l), now + 1000);
    now += 999;
    cr_expect_eq(said_next().type, 0);
    now++;
    cr_expect_eq(said_next().type, NODE_FRAME_PING);
    cr_expect_eq(said_next().type, 0);
}

Test(link_raw, is_dead_after_some_silence)
{
    greeted();
    for (unsigned i = 0; i < 4; i++) {
        now += 1000;
        cr_assert_eq(said_next().type, NODE_FRAME_PING);
    }
    now += 999;
    link_turn(l, now);
    cr_expect_eq(link_todo(l), LINK_NOTHING);
    now++;
    link_turn(l, now);
    cr_expect_eq(link_todo(l), LINK_CLOSE);
    cr_expect_eq(link_why(l), NODE_CLOSE_SILENT);
}

/* What it was given to send may be in the kernel's hands when the frames are acknowledged. */
Test(link_raw, lends_what_is_sent_until_it_is)
{
    struct bytes runs[LINK_RUNS];
    greeted();
    put_one();
    cr_assert_eq(link_output(l, runs, now), 1);
    say(NODE_FRAME_ACK, 0, 1);
    cr_expect_eq(link_figures(l).kept_frames, 0);
    put_one();
    cr_expect_eq(get_u64(runs[0].at + 8), 1);
    cr_expect_eq(runs[0].at[NODE_FRAME_HEAD_BYTES], 'y');
    link_give_up(l, now);
    cr_expect_eq(get_u64(runs[0].at + 8), 1);
    link_sent(l, connection, runs[0].len, now);
    expect_end(NODE_CLOSE_GIVEN_UP);
}
