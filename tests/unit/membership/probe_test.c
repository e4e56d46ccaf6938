/* SPDX-License-Identifier: Apache-2.0 */
/* probe_test: pings, and what comes of them; exchanges. */
#include <criterion/criterion.h>

#include "tests/unit/membership/heard.h"

/* Members 1..count, all told of, and the next ping that is sent. */
static const struct heard_message *begin(struct heard *h, unsigned count)
{
    heard_join(h, count);
    heard_wait(h, 1);
    for (unsigned i = 0; i < 10000; i++) {
        heard_clear(h);
        heard_wait(h, 1);
        const struct heard_message *const ping = heard_sent(h, GOSSIP_PING);
        if (ping != NULL && ping->via.carrier == MEMBERSHIP_DATAGRAM) {
            return ping;
        }
    }
    cr_assert_fail("no ping");
    return NULL;
}

static unsigned number_of(struct node_uuid node)
{
    return (unsigned)node.bytes[1] << 8 | node.bytes[2];
}

Test(probe, who_is_asked_answers)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 1);
    heard_clear(&h);
    heard_ask(&h, 1, GOSSIP_PING, 77, 0);
    const struct heard_message *const ack = heard_sent(&h, GOSSIP_ACK);
    cr_assert_not_null(ack);
    cr_expect_eq(ack->gossip.seq, 77);
    const struct node_address there = heard_address(1);
    cr_expect(node_address_equal(&ack->via.address, &there));
    heard_clear(&h);
    heard_ask(&h, 1, GOSSIP_PING, 78, 2); /* whoever had this address before */
    cr_expect_eq(h.sent_count, 0);
    cr_expect_eq(membership_counters(h.m).pings_for_another, 1);
    heard_fini(&h);
}

Test(probe, an_answer_in_time_is_all)
{
    struct heard h;
    heard_init(&h, NULL);
    const struct heard_message *const ping = begin(&h, 5);
    const unsigned target = number_of(ping->to);
    const uint32_t seq = ping->gossip.seq;
    heard_clear(&h);
    heard_answer(&h, target, GOSSIP_ACK, seq + 1, MEMBERSHIP_DATAGRAM); /* of another ping */
    heard_answer(&h, target, GOSSIP_ACK, seq, MEMBERSHIP_DATAGRAM);
    heard_wait(&h, 990);
    cr_expect_eq(heard_count(&h, GOSSIP_PING_REQUEST), 0);
    cr_expect_eq(membership_counters(h.m).suspects, 0);
    heard_fini(&h);
}

Test(probe, who_does_not_answer_is_tried_by_others_and_by_a_stream)
{
    struct heard h;
    heard_init(&h, NULL);
    const struct heard_message *const ping = begin(&h, 5);
    const unsigned target = number_of(ping->to);
    const uint32_t seq = ping->gossip.seq;
    heard_clear(&h);
    heard_wait(&h, 298);
    cr_expect_eq(heard_count(&h, GOSSIP_PING_REQUEST), 0);
    heard_wait(&h, 2);
    cr_expect_eq(heard_count(&h, GOSSIP_PING_REQUEST), 3);
    for (size_t i = 0; i < h.sent_count; i++) {
        const struct heard_message *const sent = &h.sent[i];
        if (sent->gossip.kind == GOSSIP_PING_REQUEST) {
            cr_expect_neq(number_of(sent->to), target);
            cr_expect(node_uuid_equal(sent->gossip.target, heard_node(target)));
            cr_expect_eq(sent->gossip.seq, seq);
        }
    }
    const struct heard_message *const again = heard_sent(&h, GOSSIP_PING);
    cr_assert_not_null(again);
    cr_expect_eq(again->via.carrier, MEMBERSHIP_STREAM);
    cr_expect_eq(again->gossip.seq, seq);
    heard_clear(&h);
    heard_answer(&h, target, GOSSIP_ACK, seq, MEMBERSHIP_STREAM);
    heard_wait(&h, 690);
    cr_expect_eq(membership_counters(h.m).probes_by_stream, 1);
    cr_expect_eq(membership_counters(h.m).suspects, 0);
    heard_fini(&h);
}

Test(probe, that_another_one_reaches_it_is_enough)
{
    struct heard h;
    heard_init(&h, NULL);
    const struct heard_message *const ping = begin(&h, 5);
    const unsigned target = number_of(ping->to);
    const uint32_t seq = ping->gossip.seq;
    heard_wait(&h, 400);
    heard_answer(&h, target == 1 ? 2 : 1, GOSSIP_ACK, seq, MEMBERSHIP_DATAGRAM);
    heard_wait(&h, 590);
    cr_expect_eq(membership_counters(h.m).probes_by_others, 1);
    cr_expect_eq(membership_counters(h.m).suspects, 0);
    heard_fini(&h);
}

/* All who were asked say that they have tried: it is not this node that does badly. */
Test(probe, silence_is_suspicious_and_nacks_speak_for_this_node)
{
    for (unsigned nacks = 0; nacks <= 4; nacks++) {
        struct heard h;
        heard_init(&h, NULL);
        const struct heard_message *const ping = begin(&h, 5);
        const unsigned target = number_of(ping->to);
        const uint32_t seq = ping->gossip.seq;
        heard_wait(&h, 400);
        for (unsigned i = 0; i < nacks; i++) {
            heard_answer(&h, 1, GOSSIP_NACK, seq, MEMBERSHIP_DATAGRAM);
        }
        heard_clear(&h);
        heard_wait(&h, 600);
        cr_expect_eq(heard_state(&h, target), MEMBER_SUSPECT);
        cr_expect_eq(heard_events(&h, MEMBERSHIP_SUSPECTED), 1);
        cr_expect_eq(membership_counters(h.m).awareness, nacks < 3 ? 3 - nacks : 0, "%u", nacks);
        heard_fini(&h);
    }
}

Test(probe, with_nobody_to_ask_it_may_be_this_node_that_does_badly)
{
    struct heard h;
    heard_init(&h, NULL);
    (void)begin(&h, 1);
    heard_wait(&h, 1000);
    cr_expect_eq(heard_state(&h, 1), MEMBER_SUSPECT);
    cr_expect_eq(membership_counters(h.m).awareness, 1);
    const uint64_t probes = membership_counters(h.m).probes;
    heard_wait(&h, 1990); /* and so it waits for twice as long */
    cr_expect_eq(membership_counters(h.m).probes, probes);
    heard_fini(&h);
}

/* Each is probed once before any is probed twice. */
Test(probe, all_have_their_turn)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 20);
    for (unsigned round = 0; round < 3; round++) {
        unsigned probed[21] = {0};
        for (unsigned n = 0; n < 20;) {
            heard_clear(&h);
            heard_wait(&h, 1);
            const struct heard_message *const ping = heard_sent(&h, GOSSIP_PING);
            if (ping != NULL) {
                const unsigned target = number_of(ping->to);
                probed[target]++;
                n++;
                heard_answer(&h, target, GOSSIP_ACK, ping->gossip.seq, MEMBERSHIP_DATAGRAM);
            }
        }
        for (unsigned i = 1; i <= 20; i++) {
            cr_expect_eq(probed[i], 1, "round %u, node %u", round, i);
        }
    }
    heard_fini(&h);
}

/* Buddy system: a suspect hears so with the next ping, and by the answer to its own. */
Test(probe, who_is_suspected_hears_it_first)
{
    struct heard h;
    struct gossip_word told;
    heard_init(&h, NULL);
    heard_join(&h, 1);
    struct gossip_word word = heard_word(GOSSIP_SUSPECT, 1, 1, 0);
    heard_say(&h, 2, &word);
    heard_wait(&h, 2500); /* told often enough: as a rumour it is over */
    heard_clear(&h);
    heard_ask(&h, 1, GOSSIP_PING, 5, 0);
    cr_assert(heard_told(&h, 1, &told));
    cr_expect_eq(told.kind, GOSSIP_SUSPECT);
    heard_fini(&h);
}

Test(probe, the_dead_hear_it_too_for_a_while)
{
    struct heard h;
    struct gossip_word told;
    bool heard_it = false;
    heard_init(&h, NULL);
    heard_join(&h, 4);
    heard_wait(&h, 6000);
    const struct gossip_word word = heard_word(GOSSIP_DEAD, 1, 1, 0);
    heard_say(&h, 2, &word);
    for (unsigned i = 0; i < 40; i++) {
        heard_clear(&h);
        heard_wait(&h, 200);
        for (size_t k = 0; k < h.sent_count; k++) {
            heard_it = heard_it || (h.sent[k].gossip.kind == GOSSIP_RUMOURS &&
                                    number_of(h.sent[k].to) == 1 && heard_told(&h, 1, &told));
        }
    }
    cr_expect(heard_it);
    heard_fini(&h);
}

/* ---- For others */

Test(probe, a_ping_for_another_is_answered_or_denied)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 3);
    heard_clear(&h);
    heard_ask(&h, 1, GOSSIP_PING_REQUEST, 700, 2);
    const struct heard_message *ping = heard_sent(&h, GOSSIP_PING);
    cr_assert_not_null(ping);
    cr_expect(node_uuid_equal(ping->gossip.target, heard_node(2)));
    const uint32_t seq = ping->gossip.seq;
    heard_clear(&h);
    heard_answer(&h, 2, GOSSIP_ACK, seq, MEMBERSHIP_DATAGRAM);
    const struct heard_message *const ack = heard_sent(&h, GOSSIP_ACK);
    cr_assert_not_null(ack);
    cr_expect_eq(ack->gossip.seq, 700);
    cr_expect(node_uuid_equal(ack->to, heard_node(1)));
    heard_clear(&h);
    heard_answer(&h, 2, GOSSIP_ACK, seq, MEMBERSHIP_DATAGRAM); /* twice: nothing more */
    cr_expect_eq(heard_count(&h, GOSSIP_ACK), 0);

    heard_ask(&h, 1, GOSSIP_PING_REQUEST, 701, 3);
    heard_wait(&h, 301);
    const struct heard_message *const nack = heard_sent(&h, GOSSIP_NACK);
    cr_assert_not_null(nack);
    cr_expect_eq(nack->gossip.seq, 701);
    heard_clear(&h);
    heard_wait(&h, 1000);
    cr_expect_eq(heard_count(&h, GOSSIP_NACK), 0);
    heard_fini(&h);
}

Test(probe, so_many_at_a_time_and_no_more)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 3);
    for (unsigned i = 0; i < MEMBERSHIP_RELAYS_MAX + 3; i++) {
        heard_clear(&h);
        heard_ask(&h, 1, GOSSIP_PING_REQUEST, 700 + i, 2);
    }
    cr_expect_eq(membership_counters(h.m).relays, MEMBERSHIP_RELAYS_MAX);
    cr_expect_eq(membership_counters(h.m).relays_refused, 3);
    for (unsigned ms = 0; ms < 1100; ms++) { /* their time goes by: there is room again */
        heard_clear(&h);
        heard_wait(&h, 1);
    }
    heard_ask(&h, 1, GOSSIP_PING_REQUEST, 800, 2);
    cr_expect_eq(membership_counters(h.m).relays, MEMBERSHIP_RELAYS_MAX + 1);
    heard_fini(&h);
}

/* ---- Standing still */

/* A process that stood still for a minute has heard nothing: it accuses nobody of that. */
Test(probe, who_is_late_itself_judges_nobody)
{
    struct heard h;
    heard_init(&h, NULL);
    const struct heard_message *const ping = begin(&h, 2);
    const unsigned target = number_of(ping->to), other = 3 - target;
    const uint32_t seq = ping->gossip.seq;
    struct gossip_word word = heard_word(GOSSIP_SUSPECT, other, 1, 0);
    heard_say(&h, 9, &word);
    heard_ask(&h, other, GOSSIP_PING_REQUEST, 5, target);
    heard_clear(&h);
    h.now_ms += 60000;
    membership_tick(h.m, h.now_ms);
    cr_expect_eq(membership_counters(h.m).stalls, 1);
    cr_expect_eq(membership_counters(h.m).awareness, 1);
    cr_expect_eq(heard_state(&h, target), MEMBER_ALIVE);
    cr_expect_eq(heard_state(&h, other), MEMBER_SUSPECT);
    word = heard_word(GOSSIP_ALIVE, other, 1, 1); /* was in its queue all the time */
    heard_say(&h, other, &word);
    heard_answer(&h, target, GOSSIP_ACK, seq, MEMBERSHIP_DATAGRAM);
    heard_wait(&h, 900);
    cr_expect_eq(heard_state(&h, target), MEMBER_ALIVE);
    cr_expect_eq(heard_state(&h, other), MEMBER_ALIVE);
    heard_fini(&h);
}

/* ---- Exchanges */

Test(exchange, all_that_is_known_is_told_in_messages_that_fit)
{
    static struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 40);
    struct gossip_word word = heard_word(GOSSIP_LEFT, 40, 1, 0);
    heard_say(&h, 40, &word);
    heard_clear(&h);
    const struct node_address address = heard_address(3);
    membership_contact(h.m, h.now_ms, &address);
    bool told[41] = {false};
    for (size_t i = 0; i < h.sent_count; i++) {
        struct bytes fields = h.sent[i].gossip.fields;
        cr_expect_eq(h.sent[i].gossip.kind, GOSSIP_STATE);
        cr_expect_eq(h.sent[i].via.carrier, MEMBERSHIP_STREAM);
        cr_expect(h.sent[i].gossip.wants_state);
        cr_expect_eq(h.sent[i].gossip.last, i + 1 == h.sent_count);
        while (gossip_next_word(&fields, &word)) {
            cr_expect(word.whole);
            told[number_of(word.node)] = true;
        }
    }
    cr_expect_gt(h.sent_count, 2);
    for (unsigned i = 0; i <= 40; i++) {
        cr_expect(told[i], "%u", i);
    }
    heard_fini(&h);
}

Test(exchange, who_asks_for_all_gets_it_once)
{
    struct heard h;
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    const struct membership_via via = {.carrier = MEMBERSHIP_STREAM, .address = heard_address(1)};
    heard_init(&h, NULL);
    heard_join(&h, 2);
    for (unsigned last = 0; last < 2; last++) {
        heard_clear(&h);
        gossip_begin(&w, out, sizeof out, GOSSIP_STATE);
        cr_assert(gossip_put_part(&w, true, last == 1));
        cr_assert_eq(membership_receive(h.m, h.now_ms, &via, heard_node(1), bytes_of(w.out, w.len)),
                     GOSSIP_OK);
        cr_expect_eq(heard_count(&h, GOSSIP_STATE), last);
    }
    cr_expect_not(heard_sent(&h, GOSSIP_STATE)->gossip.wants_state);
    heard_fini(&h);
}

/* Each 15 s with somebody who lives; longer with more than 32 members. */
static unsigned exchanges(unsigned members, unsigned seconds)
{
    static struct heard h;
    unsigned count = 0;
    heard_init(&h, NULL);
    heard_join(&h, members);
    for (unsigned i = 0; i < seconds * 100; i++) {
        heard_clear(&h);
        heard_wait(&h, 10);
        for (size_t k = 0; k < h.sent_count; k++) {
            const struct gossip *const g = &h.sent[k].gossip;
            count += g->kind == GOSSIP_STATE && g->last;
            if (g->kind == GOSSIP_PING) {
                const uint32_t seq = g->seq;
                const unsigned to = number_of(h.sent[k].to);
                heard_answer(&h, to, GOSSIP_ACK, seq, MEMBERSHIP_DATAGRAM);
            }
        }
    }
    heard_fini(&h);
    return count;
}

Test(exchange, happens_now_and_then)
{
    const unsigned few = exchanges(8, 300), many = exchanges(130, 300);
    cr_expect(few >= 17 && few <= 26, "%u", few);
    cr_expect(many >= 4 && many <= 8, "%u", many);
}

Test(exchange, the_dead_are_tried_once_more_and_those_who_left_are_not)
{
    struct heard h;
    unsigned tried = 0;
    heard_init(&h, NULL);
    heard_join(&h, 2);
    struct gossip_word word = heard_word(GOSSIP_DEAD, 1, 1, 0);
    heard_say(&h, 9, &word);
    word = heard_word(GOSSIP_LEFT, 2, 1, 0);
    heard_say(&h, 9, &word);
    for (unsigned i = 0; i < 1000; i++) {
        heard_clear(&h);
        heard_wait(&h, 100);
        for (size_t k = 0; k < h.sent_count; k++) {
            if (h.sent[k].gossip.kind == GOSSIP_STATE) {
                cr_expect_eq(number_of(h.sent[k].to), 1);
                tried++;
            }
        }
    }
    cr_expect(tried >= 3 && tried <= 10, "%u in 100 s", tried);
    heard_fini(&h);
}
