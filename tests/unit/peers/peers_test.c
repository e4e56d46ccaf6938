/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of a node whose kernel is the test's own, and whose time too. The other node is a link
 * without a shell, driven by the test byte by byte.
 */
#include "broker/peers/peers.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/counters.h"
#include "broker/shard/shard.h"
#include "cluster/link/greeting.h"
#include "proto/little_endian.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_node.h"
#include "tests/unit/route/fault.h"

#define NUMBER  5u /* of the other node, if not said otherwise */
#define GOT_MAX 64u

/* What a side was told. */
struct told {
    unsigned ups, downs, gaps, restarts, losses, slows, facts;
    uint64_t lost_first, lost_last;
    enum link_loss lost_why;
    uint64_t got[GOT_MAX]; /* what frames say; with bit 63: without a number */
    unsigned count;
};

/* The other node's end. */
struct other {
    struct link *link;
    struct identity self;
    struct told told;
    int fd; /* -1: none */
    uint64_t connection;
};

struct world {
    struct fake_node *n;
    struct peers *peers;
    struct identity self;
    struct other other;
    struct told told;
    unsigned dials;             /* asked for and not answered */
    unsigned refuses;           /* so many deliveries are not taken */
    bool refuses_each, refused; /* each frame is not taken once */
    unsigned dialed_number, dialed_lane;
};

static struct world w;

/* ---- what both sides are told */

static enum link_taken take(struct told *t, const struct node_frame *frame)
{
    cr_assert_eq(frame->type, NODE_FRAME_PUBLISH);
    cr_assert_lt(t->count, GOT_MAX);
    t->got[t->count++] = get_u64(frame->body.at) | (frame->seq == 0 ? UINT64_C(1) << 63 : 0);
    return LINK_TAKEN;
}

static enum link_taken on_deliver(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    cr_assert_eq(peer, NUMBER);
    cr_assert(peers_has_lane(s, peer));
    if (w.refuses > 0) {
        w.refuses--;
        return LINK_NOT_NOW;
    }
    if (w.refuses_each && !w.refused) {
        w.refused = true;
        return LINK_NOT_NOW;
    }
    w.refused = false;
    return take(&w.told, frame);
}

static void on_up(struct shard *s, unsigned peer)
{
    (void)s;
    cr_assert_eq(peer, NUMBER);
    w.told.ups++;
}

static void on_down(struct shard *s, unsigned peer)
{
    (void)s;
    cr_assert_eq(peer, NUMBER);
    w.told.downs++;
}

static void on_slow(struct shard *s, unsigned peer, bool slow)
{
    (void)s;
    (void)peer;
    w.told.slows += slow;
}

static void on_gap(struct shard *s, unsigned peer)
{
    (void)s;
    (void)peer;
    w.told.gaps++;
}

static void on_restarted(struct shard *s, unsigned peer)
{
    (void)s;
    (void)peer;
    w.told.restarts++;
}

static void on_lost(struct shard *s, unsigned peer, uint64_t first, uint64_t last,
                    enum link_loss why)
{
    (void)s;
    cr_assert_eq(peer, NUMBER);
    w.told.losses++;
    w.told.lost_first = first;
    w.told.lost_last = last;
    w.told.lost_why = why;
}

static void on_facts(struct shard *s, const struct peer_facts *facts)
{
    cr_assert_eq(peers_has_lane(s, facts->number),
                 !facts->forgotten && s->id < facts->lanes && !fault_happened());
    cr_assert_eq(peers_lanes(s, facts->number), facts->forgotten ? 0 : facts->lanes);
    w.told.facts++;
}

static const struct peers_events events = {.deliver = on_deliver,
                                           .up = on_up,
                                           .down = on_down,
                                           .slow = on_slow,
                                           .gap = on_gap,
                                           .restarted = on_restarted,
                                           .lost = on_lost,
                                           .facts = on_facts};

static void on_dial(void *context, unsigned number, unsigned lane)
{
    cr_assert_eq(context, &w);
    w.dials++;
    w.dialed_number = number;
    w.dialed_lane = lane;
}

static enum link_taken other_deliver(void *context, const struct node_frame *frame)
{
    return take(&((struct other *)context)->told, frame);
}

static void other_up(void *context, const struct node_hello *hello)
{
    (void)hello;
    ((struct other *)context)->told.ups++;
}

static void other_down(void *context, enum node_close why)
{
    (void)why;
    ((struct other *)context)->told.downs++;
}

static void other_slow(void *context, bool slow)
{
    (void)context;
    (void)slow;
}

static void other_gap(void *context)
{
    ((struct other *)context)->told.gaps++;
}

static void other_restarted(void *context, uint64_t generation)
{
    (void)context;
    (void)generation;
}

static void other_lost(void *context, uint64_t first, uint64_t last, enum link_loss why)
{
    (void)context;
    (void)first;
    (void)last;
    (void)why;
}

/* ---- the world */

static struct identity identity_of(uint8_t node, uint64_t generation)
{
    return (struct identity){.cluster = {{9}},
                             .node = {{node}},
                             .generation = generation,
                             .name_len = 1,
                             .name = {(uint8_t)('a' + node)}};
}

static void other_begin(uint8_t node, uint64_t generation, uint16_t lane)
{
    struct link_conf conf = link_conf_defaults();
    w.other = (struct other){.self = identity_of(node, generation), .fd = -1};
    conf.self = w.other.self;
    conf.peer = w.self.node;
    conf.lane = lane;
    conf.stream = 1;
    conf.events = (struct link_events){.deliver = other_deliver,
                                       .up = other_up,
                                       .down = other_down,
                                       .slow = other_slow,
                                       .gap = other_gap,
                                       .restarted = other_restarted,
                                       .lost = other_lost,
                                       .context = &w.other};
    w.other.link = link_create(&conf);
    cr_assert_not_null(w.other.link);
    link_want(w.other.link, true, fake_node_now_ms());
}

static void other_end(void)
{
    link_down(w.other.link, w.other.connection, NODE_CLOSE_BROKEN, fake_node_now_ms());
    link_destroy(w.other.link);
}

/* A node of that number (a byte of its UUID): the lower one calls. */
static void begin(unsigned shards, uint8_t node, uint8_t other)
{
    w = (struct world){.n = fake_node_create(shards, SETTINGS()), .self = identity_of(node, 3)};
    const struct peers_conf conf = {.node = w.n->node,
                                    .self = w.self,
                                    .build = bytes_text("test"),
                                    .events = &events,
                                    .dial = on_dial,
                                    .dial_context = &w};
    w.peers = peers_create(&conf);
    cr_assert_not_null(w.peers);
    cr_assert_eq(w.n->node->peers, w.peers);
    atomic_store(&w.n->node->serving, true);
    other_begin(other, 8, 0);
}

static void end(void)
{
    other_end();
    fake_node_destroy(w.n);
}

static struct peer_facts facts_of(const struct identity *who, unsigned lanes, bool live)
{
    struct peer_facts facts = {.number = NUMBER,
                               .node = who->node,
                               .generation = who->generation,
                               .lanes = lanes,
                               .live = live,
                               .name_len = who->name_len};
    memcpy(facts.name, who->name, sizeof facts.name);
    return facts;
}

/* A turn of every shard, words or not; and whatever follows from it. */
static void turns(void)
{
    for (unsigned i = 0; i < w.n->node->shard_count; i++) {
        fake_node_step(w.n, i);
    }
    fake_node_settle(w.n);
}

static void tell(const struct identity *who, unsigned lanes, bool live)
{
    const struct peer_facts facts = facts_of(who, lanes, live);
    peers_tell(w.peers, &facts);
    for (unsigned i = 0; i < w.n->node->shard_count; i++) {
        cr_assert(io_fake_is_woken(w.n->node->shards[i]->io));
    }
    turns();
}

static void forget(const struct identity *who)
{
    struct peer_facts facts = facts_of(who, 1, false);
    facts.forgotten = true;
    peers_tell(w.peers, &facts);
    turns();
}

static void hang_up(void)
{
    const uint64_t connection = link_connection(w.other.link);
    if (w.other.fd >= 0) {
        io_fake_client_finish(w.n->net, w.other.fd);
        w.other.fd = -1;
    }
    link_down(w.other.link, connection, NODE_CLOSE_BROKEN, fake_node_now_ms());
}

/* What the other one does: reads, writes, closes. */
static bool other_goes_on(void)
{
    struct other *const o = &w.other;
    static uint8_t read[1 << 20];
    struct bytes runs[LINK_RUNS];
    bool moved = false;
    if (o->fd < 0) {
        return false;
    }
    const size_t len = io_fake_client_read(w.n->net, o->fd, read, sizeof read);
    if (len > 0) {
        size_t used;
        link_received(o->link, o->connection, read, len, fake_node_now_ms(), &used);
        cr_assert_eq(used, len);
        moved = true;
    }
    link_turn(o->link, fake_node_now_ms());
    const bool closes = link_todo(o->link) == LINK_CLOSE;
    size_t n;
    while ((n = link_output(o->link, runs, fake_node_now_ms())) > 0) {
        size_t sent = 0;
        for (size_t i = 0; i < n; i++) {
            io_fake_client_write(w.n->net, o->fd, runs[i].at, runs[i].len);
            sent += runs[i].len;
        }
        link_sent(o->link, o->connection, sent, fake_node_now_ms());
        moved = true;
    }
    if (closes || io_fake_client_sees_end(w.n->net, o->fd)) {
        hang_up();
        moved = true;
    }
    return moved;
}

static void go_on(void)
{
    do {
        turns();
    } while (other_goes_on());
}

static void advance(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        fake_node_advance(w.n, 1);
        go_on();
    }
}

/* The node has asked for a connection: there it is. */
static void answer_dial(void)
{
    cr_assert_eq(w.dials, 1);
    w.dials = 0;
    const int fd = io_fake_open(w.n->net);
    peers_dialed(w.peers, w.dialed_number, w.dialed_lane, (struct peer_wire){.fd = fd});
    /* The other one is called, and reads HELLO. */
    turns();
    uint8_t read[1024];
    const size_t len = io_fake_client_read(w.n->net, fd, read, sizeof read);
    struct greeting greeting;
    enum node_close why;
    cr_assert_eq(greeting_read(&w.other.self, read, len, &greeting, &why), GREETING_OK);
    cr_assert_eq(greeting.lane, w.dialed_lane);
    w.other.fd = fd;
    w.other.connection++;
    cr_assert_eq(link_accept(w.other.link, w.other.connection, &greeting.hello, fake_node_now_ms()),
                 NODE_CLOSE_NONE);
    go_on();
}

/* The other one calls, and says HELLO. */
static void call(void)
{
    struct bytes runs[LINK_RUNS];
    uint8_t read[1024];
    const uint64_t now_ms = fake_node_now_ms();
    link_turn(w.other.link, now_ms + 10000); /* it does not wait any longer */
    cr_assert_eq(link_todo(w.other.link), LINK_DIAL);
    w.other.fd = io_fake_open(w.n->net);
    link_dialed(w.other.link, ++w.other.connection, now_ms);
    cr_assert_eq(link_output(w.other.link, runs, now_ms), 1);
    memcpy(read, runs[0].at, runs[0].len);
    link_sent(w.other.link, w.other.connection, runs[0].len, now_ms);
    peers_arrived(w.peers, NUMBER, 0, (struct peer_wire){.fd = w.other.fd},
                  bytes_of(read, runs[0].len));
}

/* The other one, with a lane, has called, and both have greeted. */
static void begin_linked(unsigned shards, uint8_t node, uint8_t other)
{
    begin(shards, node, other);
    tell(&w.other.self, 1, true);
    call();
    go_on();
}

static enum link_put put(unsigned shard, bool numbered, uint64_t says)
{
    uint8_t *body;
    uint64_t seq;
    struct shard *const s = fake_node_enter(w.n, shard);
    const enum link_put how = peers_put(s, NUMBER, NODE_FRAME_PUBLISH, numbered, 8, &body, &seq);
    if (how == LINK_OK) {
        put_u64(body, says);
    }
    return how;
}

static void other_put(bool numbered, uint64_t says)
{
    uint8_t *body;
    uint64_t seq;
    cr_assert_eq(
        link_put(w.other.link, NODE_FRAME_PUBLISH, numbered, 8, &body, &seq, fake_node_now_ms()),
        LINK_OK);
    put_u64(body, says);
}

static void expect_got(const struct told *t, unsigned count)
{
    cr_assert_eq(t->count, count, "%u instead of %u", t->count, count);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(t->got[i] & ~(UINT64_C(1) << 63), i + 1);
    }
}

static uint64_t gauge(enum peers_gauge which)
{
    return peers_gauge(w.peers, which);
}

/* ---- a connection */

Test(peers, the_lower_one_calls_and_frames_go_both_ways)
{
    begin(1, 1, 2);
    turns();
    cr_expect_eq(w.dials, 0);
    tell(&w.other.self, 1, true);
    cr_expect_eq(gauge(PEERS_LINKS), 1);
    cr_expect_eq(gauge(PEERS_LINKS_UP), 0);
    answer_dial();
    cr_expect_eq(w.told.ups, 1);
    cr_expect_eq(w.other.told.ups, 1);
    cr_expect_eq(gauge(PEERS_LINKS_UP), 1);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    cr_assert_eq(put(0, true, 2), LINK_OK);
    cr_assert_eq(put(0, false, 3), LINK_OK);
    other_put(true, 1);
    other_put(false, 2);
    go_on();
    expect_got(&w.other.told, 3);
    expect_got(&w.told, 2);
    cr_expect_gt(gauge(PEERS_KEPT_BYTES), 0);
    advance(5); /* acknowledgements are due */
    cr_expect_eq(gauge(PEERS_KEPT_BYTES), 0);
    cr_expect_eq(fake_node_count(w.n, METRIC_link_frames_put), 2);
    cr_expect_eq(fake_node_count(w.n, METRIC_link_frames_received), 1);
    cr_expect_eq(fake_node_count(w.n, METRIC_link_passing_put), 1);
    cr_expect_eq(fake_node_count(w.n, METRIC_link_passing_received), 1);
    end();
}

Test(peers, the_higher_one_is_called)
{
    begin(1, 2, 1);
    tell(&w.other.self, 1, true);
    cr_expect_eq(w.dials, 0);
    call();
    other_put(true, 1);
    go_on();
    cr_expect_eq(w.told.ups, 1);
    expect_got(&w.told, 1);
    end();
}

Test(peers, a_quiet_link_lives_and_a_dead_one_is_found)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    advance(20000);
    cr_expect_eq(w.told.downs, 0); /* PINGs */
    fake_node_advance(w.n, 5000);  /* the other one says nothing any more */
    fake_node_advance(w.n, 1000);  /* nor does it take what is said last */
    cr_expect_eq(w.told.downs, 1);
    cr_expect(io_fake_client_sees_close(w.n->net, w.other.fd));
    end();
}

Test(peers, what_broke_is_dialed_again_and_goes_on)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    for (uint64_t i = 1; i <= 5; i++) {
        cr_assert_eq(put(0, true, i), LINK_OK);
        turns(); /* it is sent, and nobody reads it */
        hang_up();
        turns();
        cr_expect_eq(w.told.downs, i);
        fake_node_advance(w.n, 5000);
        answer_dial();
        expect_got(&w.other.told, (unsigned)i);
    }
    cr_expect_geq(fake_node_count(w.n, METRIC_link_frames_resent), 5);
    end();
}

Test(peers, a_dial_in_vain_is_made_again)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(w.dials, 1);
        w.dials = 0;
        peers_dialed(w.peers, NUMBER, 0, PEER_WIRE_NONE);
        turns();
        cr_expect_eq(w.dials, 0);
        fake_node_advance(w.n, 5000);
    }
    cr_expect_eq(fake_node_count(w.n, METRIC_link_dials), 5);
    answer_dial();
    cr_expect_eq(w.told.ups, 1);
    end();
}

Test(peers, a_call_takes_the_place_of_the_connection_before_it)
{
    begin_linked(1, 2, 1);
    const int first = w.other.fd;
    cr_assert_eq(put(0, true, 1), LINK_OK);
    io_fake_client_set_window(w.n->net, first, 0); /* what is lent stays with the kernel */
    turns();
    w.other.fd = -1; /* the other one knows that it is over; we do not */
    hang_up();
    call();
    go_on();
    cr_expect(io_fake_client_sees_close(w.n->net, first));
    cr_expect_eq(w.told.ups, 2);
    cr_expect_eq(w.told.downs, 1);
    expect_got(&w.other.told, 1);
    end();
}

/* Of two that call while the former connection is still being closed the later one counts. */
Test(peers, the_last_of_several_calls_counts)
{
    begin_linked(1, 2, 1);
    for (unsigned i = 0; i < 2; i++) {
        w.other.fd = -1;
        hang_up();
        call();
    }
    go_on();
    cr_expect_eq(w.told.ups, 2);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    go_on();
    expect_got(&w.other.told, 1);
    end();
}

/* ---- what is not taken */

Test(peers, a_frame_that_is_not_taken_stops_the_receiving)
{
    begin_linked(1, 2, 1);
    w.refuses = 1000000;
    io_fake_set_chunk(w.n->net, 7); /* what comes is in pieces, some of it behind the frame */
    other_put(true, 1);
    other_put(true, 2);
    go_on();
    const uint64_t held_at = fake_node_count(w.n, METRIC_link_bytes_received);
    for (uint64_t i = 3; i <= 50; i++) {
        other_put(true, i);
        go_on();
    }
    cr_expect_eq(fake_node_count(w.n, METRIC_link_bytes_received), held_at);
    cr_expect_eq(fake_node_count(w.n, METRIC_link_held), 1);
    expect_got(&w.told, 0);
    w.refuses = 0;
    peers_resume(fake_node_enter(w.n, 0), NUMBER);
    go_on();
    expect_got(&w.told, 50);
    end();
}

Test(peers, it_is_given_again_by_itself)
{
    begin_linked(1, 2, 1);
    w.refuses = 3;
    other_put(true, 1);
    other_put(true, 2);
    go_on();
    advance(29);
    expect_got(&w.told, 0);
    advance(2);
    expect_got(&w.told, 2);
    end();
}

/* What has come in one piece is held again behind each frame. */
Test(peers, each_of_many_is_given_twice_and_taken_once)
{
    begin_linked(1, 2, 1);
    w.refuses_each = true;
    for (uint64_t i = 1; i <= 20; i++) {
        other_put(true, i);
    }
    go_on();
    expect_got(&w.told, 0);
    advance(200);
    expect_got(&w.told, 20);
    end();
}

/* What it said before it left is owed a hearing. */
Test(peers, the_end_of_a_stream_waits_behind_what_is_held)
{
    begin_linked(1, 2, 1);
    w.refuses = 1;
    other_put(true, 1);
    other_put(true, 2);
    (void)other_goes_on();
    hang_up();
    turns();
    cr_expect_eq(w.told.downs, 0);
    fake_node_advance(w.n, 10);
    expect_got(&w.told, 2);
    cr_expect_eq(w.told.downs, 1);
    end();
}

/* ---- who there is */

Test(peers, a_dead_node_is_given_up_and_comes_back)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    cr_assert_eq(put(0, true, 1), LINK_OK);
    tell(&w.other.self, 1, false);
    cr_expect_eq(w.told.losses, 1);
    cr_expect_eq(w.told.lost_why, LINK_LOSS_GIVEN_UP);
    go_on();
    cr_expect_eq(w.told.downs, 1);
    cr_expect_eq(w.other.told.downs, 1);
    cr_expect_eq(gauge(PEERS_LINKS), 0);
    fake_node_advance(w.n, 10000);
    cr_expect_eq(w.dials, 0);
    tell(&w.other.self, 1, true);
    fake_node_advance(w.n, 10000);
    answer_dial();
    cr_expect_eq(w.told.ups, 2);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    go_on();
    cr_expect_eq(w.other.told.count > 0 ? w.other.told.got[w.other.told.count - 1] : 0, 1);
    end();
}

Test(peers, giving_up_is_the_shards_too)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    cr_assert_eq(put(0, true, 2), LINK_OK);
    peers_give_up(fake_node_enter(w.n, 0), NUMBER);
    cr_expect_eq(w.told.losses, 0); /* not from within */
    turns();
    cr_expect_eq(w.told.losses, 1);
    cr_expect_eq(w.told.lost_first, 1);
    cr_expect_eq(w.told.lost_last, 2);
    end();
}

Test(peers, lanes_are_those_of_the_node_with_fewer_shards)
{
    begin(2, 1, 2);
    tell(&w.other.self, 1, true);
    cr_expect_eq(w.told.facts, 2);
    cr_expect(peers_has_lane(fake_node_enter(w.n, 0), NUMBER));
    cr_expect_not(peers_has_lane(fake_node_enter(w.n, 1), NUMBER));
    cr_expect_eq(put(1, true, 1), LINK_NO_ROOM);
    answer_dial();
    tell(&w.other.self, 2, true); /* it was started with more */
    cr_expect(peers_has_lane(fake_node_enter(w.n, 1), NUMBER));
    cr_expect_eq(w.dialed_lane, 1);
    tell(&w.other.self, 1, true); /* and with fewer again: its dial is still under way */
    cr_expect_not(peers_has_lane(fake_node_enter(w.n, 1), NUMBER));
    const int late = io_fake_open(w.n->net);
    peers_dialed(w.peers, NUMBER, 1, (struct peer_wire){.fd = late});
    turns();
    cr_expect_eq(w.told.ups, 1);
    cr_expect_eq(w.told.downs, 0);
    end();
}

Test(peers, a_forgotten_node_hears_of_it_and_its_memory_outlives_the_kernels_use)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    io_fake_client_set_window(w.n->net, w.other.fd, 0);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    turns();
    forget(&w.other.self);
    cr_expect_eq(w.told.losses, 1);
    cr_expect_eq(w.told.downs, 1);
    cr_expect_eq(gauge(PEERS_LINKS), 0);
    cr_expect(io_fake_client_sees_close(w.n->net, w.other.fd));
    cr_expect_eq(put(0, true, 1), LINK_NO_ROOM);
    end();
}

Test(peers, a_number_is_given_to_another_node_while_a_dial_to_the_former_is_under_way)
{
    begin(1, 1, 2);
    const struct identity former = w.other.self;
    tell(&former, 1, true);
    cr_assert_eq(w.dials, 1);
    forget(&former);
    other_end();
    other_begin(3, 1, 0);
    tell(&w.other.self, 1, true);
    fake_node_advance(w.n, 1000);
    cr_expect_eq(w.dials, 1); /* no second one */
    w.dials = 0;
    peers_dialed(w.peers, NUMBER, 0,
                 (struct peer_wire){.fd = io_fake_open(w.n->net)}); /* to the former */
    turns();
    cr_expect_eq(w.told.ups, 0);
    answer_dial();
    cr_expect_eq(w.told.ups, 1);
    end();
}

Test(peers, another_node_of_the_same_number_is_another_link)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    const int former = w.other.fd;
    other_end();
    other_begin(3, 1, 0);
    tell(&w.other.self, 1, true);
    cr_expect_eq(w.told.downs, 1);
    answer_dial();
    cr_expect(io_fake_client_sees_close(w.n->net, former));
    cr_expect_eq(w.told.ups, 2);
    cr_expect_eq(w.told.restarts, 0);
    end();
}

Test(peers, a_node_that_was_started_anew_is_known_by_its_hello)
{
    begin_linked(1, 2, 1);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    turns();
    other_end();
    other_begin(1, 9, 0);
    call();
    go_on();
    cr_expect_eq(w.told.restarts, 1);
    cr_expect_eq(w.told.losses, 1);
    cr_expect_eq(w.told.lost_why, LINK_LOSS_RESTARTED);
    /* Its former start is not heard any more. */
    const int fd = w.other.fd;
    other_end();
    other_begin(1, 8, 0);
    call();
    turns();
    cr_expect_not(io_fake_client_sees_end(w.n->net, fd));
    cr_expect_eq(w.told.ups, 2);
    end();
}

Test(peers, who_is_not_known_is_not_let_in)
{
    begin(1, 2, 1);
    call(); /* nobody has told of it */
    go_on();
    cr_expect_eq(w.told.ups, 0);
    struct peer_facts facts = facts_of(&w.other.self, 1, true);
    facts.node = (struct node_uuid){{7}}; /* the number is another node's */
    peers_tell(w.peers, &facts);
    hang_up();
    call();
    go_on();
    cr_expect_eq(w.told.ups, 0);
    end();
}

/* ---- visits, and the end */

Test(peers, what_a_visitor_has_put_is_sent_by_the_owner)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    struct shard *const s = fake_node_enter(w.n, 0);
    cr_expect_not(peers_are_waiting(s));
    cr_assert_eq(put(0, true, 1), LINK_OK);
    cr_expect(peers_are_waiting(s));
    cr_expect_eq(peers_next_ms(s), 0);
    go_on();
    cr_expect_not(peers_are_waiting(s));
    expect_got(&w.other.told, 1);
    end();
}

Test(peers, the_end_says_all_that_can_be_said_and_goodbye)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    for (uint64_t i = 1; i <= 20; i++) {
        cr_assert_eq(put(0, true, i), LINK_OK);
    }
    const uint64_t began_ms = fake_node_now_ms();
    atomic_store(&w.n->node->ending, true);
    go_on();
    expect_got(&w.other.told, 20);
    cr_expect_eq(w.other.told.downs, 1);
    cr_expect(peers_are_gone(fake_node_enter(w.n, 0)));
    cr_expect_eq(fake_node_now_ms(), began_ms);
    /* Nobody is let in, or called, any more. */
    tell(&w.other.self, 1, true);
    fake_node_advance(w.n, 1000);
    cr_expect_eq(w.dials, 0);
    end();
}

/* A client's last words go to the other nodes: links end behind all clients. */
Test(peers, links_outlive_the_clients)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    struct fake_client *const c = client_connect(w.n, 0, "c", TERMS());
    fake_node_settle(w.n);
    (void)c;
    atomic_store(&w.n->node->ending, true);
    fake_node_step(w.n, 0);
    fake_node_step(w.n, 0);
    cr_expect_eq(w.told.downs, 0);
    cr_expect_not(peers_are_gone(fake_node_enter(w.n, 0)));
    advance(1500); /* the client's connection lingers for a second */
    cr_expect(peers_are_gone(fake_node_enter(w.n, 0)));
    cr_expect_eq(w.told.downs, 1);
    end();
}

Test(peers, who_takes_nothing_is_not_waited_for_at_the_end)
{
    begin(1, 1, 2);
    tell(&w.other.self, 1, true);
    answer_dial();
    io_fake_client_set_window(w.n->net, w.other.fd, 0);
    cr_assert_eq(put(0, true, 1), LINK_OK);
    turns();
    w.other.fd = -1;
    end(); /* fake_node_end() gives it as long as loop_run() does */
}

/* ---- without memory */

Test(peers, a_link_that_could_not_be_made_is_made_later)
{
    for (unsigned allocation = 0; allocation < 2; allocation++) {
        begin(1, 1, 2);
        const struct peer_facts facts = facts_of(&w.other.self, 1, true);
        peers_tell(w.peers, &facts);
        fault_at(allocation);
        turns();
        cr_assert(fault_happened());
        fault_at(FAULT_NEVER);
        cr_expect_not(peers_has_lane(fake_node_enter(w.n, 0), NUMBER));
        cr_expect_eq(put(0, true, 1), LINK_NO_ROOM);
        fake_node_advance(w.n, 999);
        cr_expect_eq(w.dials, 0);
        fake_node_advance(w.n, 1);
        answer_dial();
        cr_expect_eq(w.told.ups, 1);
        end();
    }
}

/* Nor is a node that is forgotten meanwhile. */
Test(peers, a_link_that_could_not_be_made_is_not_made_for_who_has_gone)
{
    begin(1, 1, 2);
    const struct peer_facts facts = facts_of(&w.other.self, 1, true);
    peers_tell(w.peers, &facts);
    fault_at(0);
    turns();
    fault_at(FAULT_NEVER);
    forget(&w.other.self);
    fake_node_advance(w.n, 5000);
    cr_expect_eq(w.dials, 0);
    end();
}

Test(peers, what_is_held_without_room_ends_the_connection_and_comes_again)
{
    begin_linked(1, 2, 1);
    w.refuses = 1;
    other_put(true, 1);
    other_put(true, 2);
    (void)other_goes_on();
    fault_at(0);
    turns();
    cr_assert(fault_happened());
    fault_at(FAULT_NEVER);
    go_on();
    cr_expect_eq(w.told.downs, 1);
    expect_got(&w.told, 0);
    call();
    go_on();
    expect_got(&w.told, 2);
    end();
}

Test(peers, a_call_without_memory_is_refused)
{
    begin(1, 2, 1);
    tell(&w.other.self, 1, true);
    fault_at(0);
    call();
    cr_assert(fault_happened());
    fault_at(FAULT_NEVER);
    go_on();
    cr_expect_eq(w.told.ups, 0);
    hang_up();
    call();
    go_on();
    cr_expect_eq(w.told.ups, 1);
    end();
}
