/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heard: one membership, whose shell writes down what it is told to send and what has changed; and
 * what others could say to it.
 *
 * Owner: the test. Memory: the struct's; what comes above its bounds fails the test.
 */
#pragma once

#include "cluster/membership/membership.h"

#define HEARD_MESSAGES_MAX 96u
#define HEARD_EVENTS_MAX   256u

struct heard_message {
    struct membership_via via;
    struct node_uuid to;
    struct gossip gossip; /* its fields point into bytes */
    uint8_t bytes[GOSSIP_MESSAGE_MAX];
    size_t len;
};

struct heard_event {
    enum membership_event event;
    struct member member;
};

struct heard {
    struct membership *m;
    uint64_t now_ms;
    struct heard_message sent[HEARD_MESSAGES_MAX]; /* [sent_count], since heard_clear() */
    size_t sent_count;
    struct heard_event events[HEARD_EVENTS_MAX]; /* [events_count], the same */
    size_t events_count;
};

/* Node 0, generation 5, of the LAN profile but for what the test has changed in *conf; NULL:
 * nothing. It begins at time 1,000,000,000. */
void heard_init(struct heard *h, const struct membership_conf *conf);
void heard_fini(struct heard *h);
void heard_clear(struct heard *h);

struct node_uuid heard_node(unsigned number);
struct node_address heard_address(unsigned number);

/* Time goes on so far, and what is due by then is done when it is due. */
void heard_wait(struct heard *h, uint64_t ms);

/* ---- What node `from` says, by a datagram from its address */
struct gossip_word heard_word(enum gossip_word_kind kind, unsigned about, uint64_t generation,
                              uint32_t version); /* by node 9; a name and an address of its own */
void heard_say(struct heard *h, unsigned from, const struct gossip_word *word);
void heard_say_whole(struct heard *h, unsigned from, const struct gossip_word *word,
                     uint32_t age_s);
void heard_answer(struct heard *h, unsigned from, enum gossip_kind kind, uint32_t seq,
                  enum membership_carrier carrier);
void heard_ask(struct heard *h, unsigned from, enum gossip_kind kind, uint32_t seq,
               unsigned target); /* a ping, or the request for one */

/* Nodes 1..count live, generation 1. */
void heard_join(struct heard *h, unsigned count);

/* The first of that kind that was sent; NULL: none. */
const struct heard_message *heard_sent(const struct heard *h, enum gossip_kind kind);
size_t heard_count(const struct heard *h, enum gossip_kind kind);
size_t heard_events(const struct heard *h, enum membership_event event);

/* The last word about that node in what was sent; false: there is none. */
bool heard_told(const struct heard *h, unsigned about, struct gossip_word *word);

/* Of that node; fails the test when it is not known. */
enum member_state heard_state(const struct heard *h, unsigned about);
