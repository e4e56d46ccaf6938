/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: who has said what, who is owed it, and what was heard; aborts with a sentence when the
 * broker has not kept its word:
 *
 *   order       of one publisher's messages on one topic at one QoS, for each subscriber
 *   QoS 2       is heard once at most, by one session, or by one shared subscription
 *   QoS 1, 2    that were acknowledged are heard by all who are owed them
 *
 * Owner: one crowd (crowd.h). Messages are known by their number, which is their payload.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_CLIENTS 8u
#define LEDGER_TOPICS  8u

struct ledger;

struct ledger *ledger_create(void);
void ledger_destroy(struct ledger *l);

/* A new message; owed: bit per client that must hear it. Returns its number. */
uint32_t ledger_say(struct ledger *l, unsigned publisher, unsigned topic, unsigned qos,
                    uint32_t owed);
void ledger_say_again(struct ledger *l, uint32_t message); /* QoS 1: the broker takes it for new */

void ledger_say_retained(struct ledger *l, uint32_t message); /* it was, with RETAIN */
void ledger_any_order(struct ledger *l, uint32_t message); /* others may come before or after it */

/* The broker has acknowledged it, saying whether anybody was subscribed. */
void ledger_accepted(struct ledger *l, uint32_t message, bool matched);

void ledger_forgive(struct ledger *l, unsigned client);     /* it is owed nothing said so far */
void ledger_reconnected(struct ledger *l, unsigned client); /* what it has heard may be repeated */

/* The broker's process is another one now. A client whose session was not kept may hear again what
 * it has heard, as its session is another one, too; and so may its group. */
void ledger_crashed(struct ledger *l, uint32_t kept); /* bit per client whose session was */

/* order: whether it is promised on the topic; shared: all hear it as one. */
struct heard {
    uint32_t message;
    unsigned client, qos;
    bool ordered, shared;
};
void ledger_heard(struct ledger *l, const struct heard *h);

void ledger_settle(const struct ledger *l); /* nobody is owed anything */

/* That message is the retained one of the topic, or none is (LEDGER_NONE): of those that were
 * acknowledged before another one was said, none; and none at all, if one was acknowledged. */
#define LEDGER_NONE UINT32_MAX
void ledger_check_retained(const struct ledger *l, unsigned topic, uint32_t message);
