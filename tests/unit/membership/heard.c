/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/membership/heard.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct node_uuid heard_node(unsigned number)
{
    return (struct node_uuid){{0xaa, (uint8_t)(number >> 8), (uint8_t)number}};
}

struct node_address heard_address(unsigned number)
{
    return (struct node_address){
        .ip = {[10] = 0xff, [11] = 0xff, 10, 0, (uint8_t)(number >> 8), (uint8_t)number},
        .port = 1884};
}

static void on_send(void *context, const struct membership_via *via, struct node_uuid to,
                    struct bytes message)
{
    struct heard *const h = context;
    cr_assert_lt(h->sent_count, HEARD_MESSAGES_MAX);
    struct heard_message *const sent = &h->sent[h->sent_count++];
    sent->via = *via;
    sent->to = to;
    sent->len = message.len;
    memcpy(sent->bytes, message.at, message.len);
    cr_assert_eq(gossip_decode(&sent->gossip, bytes_of(sent->bytes, sent->len)), GOSSIP_OK);
}

static void on_event(void *context, enum membership_event event, const struct member *member)
{
    struct heard *const h = context;
    cr_assert_lt(h->events_count, HEARD_EVENTS_MAX);
    h->events[h->events_count++] = (struct heard_event){.event = event, .member = *member};
}

void heard_init(struct heard *h, const struct membership_conf *conf)
{
    struct membership_conf c = conf != NULL ? *conf : membership_lan();
    const struct membership_shell shell = {.context = h, .send = on_send, .event = on_event};
    c.identity = (struct identity){
        .node = heard_node(0), .generation = 5, .name_len = 4, .name = {'s', 'e', 'l', 'f'}};
    c.address = heard_address(0);
    c.seed = 42;
    h->now_ms = 1000000000;
    heard_clear(h);
    h->m = membership_create(&c, &shell, h->now_ms);
    cr_assert_not_null(h->m);
}

void heard_fini(struct heard *h)
{
    cr_expect(membership_check(h->m));
    membership_destroy(h->m);
}

void heard_clear(struct heard *h)
{
    h->sent_count = 0;
    h->events_count = 0;
}

void heard_wait(struct heard *h, uint64_t ms)
{
    const uint64_t end = h->now_ms + ms;
    while (membership_due(h->m) <= end) {
        h->now_ms = membership_due(h->m) > h->now_ms ? membership_due(h->m) : h->now_ms;
        membership_tick(h->m, h->now_ms);
    }
    h->now_ms = end;
}

/* ---- What others say */

static void say(struct heard *h, unsigned from, const struct gossip_writer *w,
                enum membership_carrier carrier)
{
    const struct membership_via via = {.carrier = carrier, .address = heard_address(from)};
    cr_assert_eq(
        membership_receive(h->m, h->now_ms, &via, heard_node(from), bytes_of(w->out, w->len)),
        GOSSIP_OK);
}

struct gossip_word heard_word(enum gossip_word_kind kind, unsigned about, uint64_t generation,
                              uint32_t version)
{
    return (struct gossip_word){.kind = kind,
                                .node = heard_node(about),
                                .incarnation = {generation, version},
                                .accuser = heard_node(9),
                                .address = heard_address(about),
                                .name = bytes_text("somebody")};
}

void heard_say(struct heard *h, unsigned from, const struct gossip_word *word)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    gossip_begin(&w, out, sizeof out, GOSSIP_RUMOURS);
    cr_assert(gossip_put_word(&w, word));
    say(h, from, &w, MEMBERSHIP_DATAGRAM);
}

void heard_say_whole(struct heard *h, unsigned from, const struct gossip_word *word, uint32_t age_s)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    struct gossip_word whole = *word;
    whole.whole = true;
    whole.age_s = age_s;
    gossip_begin(&w, out, sizeof out, GOSSIP_STATE);
    cr_assert(gossip_put_part(&w, false, true));
    cr_assert(gossip_put_word(&w, &whole));
    say(h, from, &w, MEMBERSHIP_STREAM);
}

void heard_answer(struct heard *h, unsigned from, enum gossip_kind kind, uint32_t seq,
                  enum membership_carrier carrier)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    gossip_begin(&w, out, sizeof out, kind);
    cr_assert(gossip_put_seq(&w, seq));
    say(h, from, &w, carrier);
}

void heard_ask(struct heard *h, unsigned from, enum gossip_kind kind, uint32_t seq, unsigned target)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    const struct node_address address = heard_address(target);
    gossip_begin(&w, out, sizeof out, kind);
    cr_assert(gossip_put_seq(&w, seq));
    cr_assert(gossip_put_target(&w, heard_node(target), &address));
    say(h, from, &w, MEMBERSHIP_DATAGRAM);
}

void heard_join(struct heard *h, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        const struct gossip_word word = heard_word(GOSSIP_ALIVE, i, 1, 0);
        heard_say(h, i, &word);
    }
}

/* ---- What was heard */

const struct heard_message *heard_sent(const struct heard *h, enum gossip_kind kind)
{
    for (size_t i = 0; i < h->sent_count; i++) {
        if (h->sent[i].gossip.kind == kind) {
            return &h->sent[i];
        }
    }
    return NULL;
}

size_t heard_count(const struct heard *h, enum gossip_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < h->sent_count; i++) {
        count += h->sent[i].gossip.kind == kind;
    }
    return count;
}

size_t heard_events(const struct heard *h, enum membership_event event)
{
    size_t count = 0;
    for (size_t i = 0; i < h->events_count; i++) {
        count += h->events[i].event == event;
    }
    return count;
}

bool heard_told(const struct heard *h, unsigned about, struct gossip_word *word)
{
    bool found = false;
    for (size_t i = 0; i < h->sent_count; i++) {
        struct bytes fields = h->sent[i].gossip.fields;
        struct gossip_word each;
        while (gossip_next_word(&fields, &each)) {
            if (node_uuid_equal(each.node, heard_node(about))) {
                *word = each;
                found = true;
            }
        }
    }
    return found;
}

enum member_state heard_state(const struct heard *h, unsigned about)
{
    const struct member *const member = membership_find(h->m, heard_node(about));
    cr_assert_not_null(member, "node %u is not known", about);
    return member->state;
}
