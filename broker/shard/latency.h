/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latency: how long messages take through the node, and how long a wake-up takes, measured without
 * asking for the time more than about twice a turn.
 *
 *   PUBLISH comes ── stamp: when its turn began ─▶ … ─▶ put into a connection's output
 *                                                        │ counted, by stamp
 *                             end of that shard's turn ◀─┘ the clock is read: histogram
 *
 * What waits for a client that was away is not counted, nor what was retained, nor what comes
 * again: that time is not the node's. What waits for a client that is there, and does not
 * acknowledge or read, is.
 *
 * Owner: the shard, but for latency_wake_asked(). Memory: a run for each QoS.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct message;
struct shard;

/* Deliveries of one stamp that await the end of the turn. */
struct latency_run {
    uint32_t came_us; /* modulo 2^32, as a message has it */
    uint32_t count;   /* 0: there is none */
};

struct latency {
    struct latency_run runs[3]; /* by QoS */

    /* The owner's (relaxed): how often it has slept. Written by who wakes it (relaxed): the time,
     * shifted by LATENCY_SLEEPS_BITS, and below it which sleep is meant, so that what is written
     * too late is not taken for the next one's. */
    _Atomic uint64_t sleeps, asked;
};

#define LATENCY_SLEEPS_BITS 16u

/* A message comes in this turn. Its came_us is never 0, which stands for "not to be measured". */
void latency_stamp(const struct shard *s, struct message *m);

/* How long ago; UINT64_MAX: nobody knows. */
uint64_t latency_age_us(const struct message *m, uint64_t now_us);

/* A message with that stamp (0: none) was put into the output of a client, for the first time. */
void latency_delivered(struct shard *s, uint32_t came_us, uint8_t qos);

/* What was delivered is on its way. */
void latency_sent(struct shard *s, uint64_t now_us);

void latency_asleep(struct shard *s);                 /* it is about to sleep */
void latency_awake(struct shard *s, uint64_t now_us); /* it has woken, for whatever reason */

/* Which sleep of another shard that is, as latency_wake_asked() wants it; before it is woken. */
uint64_t latency_sleep_of(const struct shard *to);
void latency_wake_asked(struct shard *to, uint64_t sleep, uint64_t now_us);
