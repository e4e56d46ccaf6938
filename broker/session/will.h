/* SPDX-License-Identifier: Apache-2.0 */
/*
 * will: the publication of a kept session's will, so that it happens exactly once, whenever the
 * process ends.
 *
 *   DUE ───────────── WILL_DUE is on disk ─▶ OUT ─ all have it ─▶ GONE ─ WILL_GONE is on disk ─▶
 * over session.c: taken from the session        shard_due(), publish.c routes it under a ticket
 *
 * WILL_DUE takes the will out of the session, and comes before whatever ends its connection on
 * disk; so the next start does not find it there once more, and the client may bring another one
 * meanwhile. It is published when WILL_DUE is on disk, since who gets it has it from then on.
 * Entries of those who keep it name its number, and so does WILL_RETAINED where it was stored: at
 * the next start a will that is due and not gone is given to those who lack it
 * (store/unfinished.h). Until WILL_GONE is on disk no checkpoint finishes that was begun when it
 * was due (will_none_since()), so that these entries stay.
 *
 * While the disk refuses, a will is published all the same: who waits for it needs it today, and
 * gets it twice only if the process ends before the disk works again.
 *
 * Owner: the session's shard. Memory: an item for each will from DUE until it is over. There is one
 * for each end of a kept session's connection, and the next connection of that session is not told
 * anything before this WILL_DUE is on disk; while the disk refuses none is let in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/fifo.h"

struct message;
struct node;
struct session;
struct shard;

/* In the order in which they became due: first those that are GONE, then OUT, then DUE. */
struct wills {
    struct fifo open;
    uint32_t gone, out; /* so many are */
    uint32_t routed;    /* of those that are OUT, the first ones */
};

void wills_fini(struct wills *w);

/* The will is taken from the session, which is kept. Takes the reference; nobody else has one. */
void will_begin(struct session *session, struct message *message);

/* One that was due at another node, which said so, and not that all have it: it is published once
 * more. Takes the reference, likewise. */
void will_again(struct shard *s, uint64_t serial, uint64_t client_hash, uint64_t number,
                struct message *message);

/* publish_route() has just routed it, or any other message of which nothing is noted. */
void will_routed(struct shard *s, const struct message *message);

void will_settle(struct shard *s); /* does what can be done by now */

bool will_is_none(const struct shard *s); /* none is open */

/* The process ends: those that are open are left to the next start. No checkpoint finishes any
 * more. */
void will_abandon(struct shard *s);

/* This node does not lead that partition any more (broker/partitions): its wills are for whoever
 * does. One that is on its way already stays so. */
void will_drop(struct shard *s, unsigned partition);

/* No will that was due by then is open, on any shard. */
bool will_none_since(const struct node *node, uint64_t ms);
