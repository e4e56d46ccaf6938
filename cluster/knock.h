/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knock: how two nodes prove to each other that they have the cluster's key, before a connection
 * between them is anybody's. A state machine: bytes in, bytes out.
 *
 *   dialer                                                        acceptor
 *      ── "DLNK", its UUID, 32 random bytes ─────────────────────────▶
 *      ◀─────── 32 random bytes, HMAC(k, "accept", both, all random) ──
 *      ── HMAC(k, "dial", both, all random) ─────────────────────────▶
 *
 * `both` are the UUIDs, the dialer's first, and the cluster's. k is derived from a key of the
 * cluster (HKDF-SHA256) for this alone. The acceptor answers by its first key; the dialer knows by
 * which of its own it did, and answers by that one; the acceptor tries each: so a ring of two can
 * be rotated as that of seal.h. What follows on the connection is neither encrypted nor
 * authenticated by this: who can change packets between two nodes can take a connection over,
 * unless TLS follows (broker/gossip/calls_tls.c).
 *
 * Pure: random bytes are the caller's. Owner: one thread. Memory: none; knock_end() wipes keys.
 * Bounds: KNOCK_BYTES_MAX bytes are all that either side takes or says at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "cluster/seal.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define KNOCK_MAGIC        "DLNK" /* with which a connection of that kind begins */
#define KNOCK_MAGIC_BYTES  4u
#define KNOCK_RANDOM_BYTES 32u
#define KNOCK_PROOF_BYTES  32u
#define KNOCK_BYTES_MAX    64u /* the acceptor's answer is the longest */

enum knock_state {
    KNOCK_NEED_MORE,
    KNOCK_DONE,    /* the other one has the key; on either side what it sent is used up */
    KNOCK_REFUSED, /* it has not, or this is something else; or wolfCrypt has failed */
};

/* The fields are knock.c's, but for `dialer` of an acceptor, once it is KNOCK_DONE. */
struct knock {
    struct cluster_uuid cluster;
    struct node_uuid dialer, acceptor;
    uint8_t dialer_random[KNOCK_RANDOM_BYTES], acceptor_random[KNOCK_RANDOM_BYTES];
    struct seal_key keys[SEAL_KEYS_MAX]; /* derived */
    size_t key_count;
    bool dials, answered; /* answered: of an acceptor, that it waits for the proof */
};

/* What is to be sent next; <= KNOCK_BYTES_MAX. */
struct knock_out {
    size_t len;
    uint8_t bytes[KNOCK_BYTES_MAX];
};

/* The one who has opened the connection, to that node. 1 <= count <= SEAL_KEYS_MAX. false:
 * wolfCrypt has failed. */
NODISCARD bool knock_dial(struct knock *k, const struct identity *self, struct node_uuid to,
                          const struct seal_key *keys, size_t count,
                          const uint8_t random[KNOCK_RANDOM_BYTES], struct knock_out *out);

/* The one to whom it was opened. */
NODISCARD bool knock_accept(struct knock *k, const struct identity *self,
                            const struct seal_key *keys, size_t count,
                            const uint8_t random[KNOCK_RANDOM_BYTES]);

/* Any bytes are fair input: all that have come and were not used yet. *used is how many of them
 * are, *out what is to be sent, also with KNOCK_DONE. */
NODISCARD enum knock_state knock_take(struct knock *k, struct bytes in, size_t *used,
                                      struct knock_out *out);

void knock_end(struct knock *k); /* wipes it; fine twice */
