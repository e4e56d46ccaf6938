/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal: messages between nodes that nobody else can read, make, change, or send once more.
 *
 *    0  u8   format version, SEAL_VERSION
 *    1  u8   0
 *    2       UUID of the sender
 *   18  u64  its generation
 *   26       8 random bytes of this start of it
 *   34  u64  counter: of this start, from 1 on
 *   42       the message, encrypted by ChaCha20-Poly1305, and 16 bytes of tag
 *
 * Big-endian. The key is derived from the cluster's key (HKDF-SHA256) for each start of each
 * sender, that is, from bytes 2 to 33, and the counter is the nonce: so no two messages have the
 * same key and nonce, whoever sends them. The random bytes see to it that this also holds for a
 * copy of a volume, whose generation somebody else has too. The cluster's UUID and bytes 0 to 41
 * are authenticated with the message: nothing of another cluster opens, also if it has our key.
 *
 * Keys: a ring of one or two. The first seals, either opens. To rotate: add the new one as the
 * second on all nodes; make it the first on all; take the old one away.
 *
 * Replays: of each sender the last SEAL_WINDOW counters are known, and older ones are refused. An
 * earlier generation than one that was heard is refused, too. After a start of this node, and of a
 * sender that was forgotten, what was recorded before may be heard once more, until something newer
 * of that sender has come; who uses the messages bears that (membership: an old word changes
 * nothing).
 *
 * Pure but for memory: no clock, no random of its own. Owner: one thread.
 * Memory: some 300 bytes for each of senders_max senders, in seal_create(). At the bound: of eight
 * senders that fall together the one that was not heard for longest is forgotten.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define SEAL_VERSION    1u
#define SEAL_HEAD_BYTES 42u
#define SEAL_TAG_BYTES  16u
#define SEAL_BYTES      (SEAL_HEAD_BYTES + SEAL_TAG_BYTES) /* that sealing adds */
#define SEAL_KEY_BYTES  32u
#define SEAL_KEYS_MAX   2u
#define SEAL_SALT_BYTES 8u
#define SEAL_WINDOW     1024u

struct seal;

struct seal_key {
    uint8_t bytes[SEAL_KEY_BYTES];
};

struct seal_conf {
    struct identity identity;
    uint8_t salt[SEAL_SALT_BYTES]; /* random, of this start */
    uint32_t senders_max;          /* rounded up to eight times a power of two */
};

enum seal_err {
    SEAL_OK = 0,
    SEAL_MALFORMED,     /* too short, of another format, or with no sender */
    SEAL_FORGED,        /* by none of our keys, or of another cluster, or changed on its way */
    SEAL_REPLAYED,      /* heard before, or too old to know */
    SEAL_EARLIER_START, /* of a sender that has started again since */
    SEAL_TWIN,          /* of a second one that says to be the same start of that sender */
    SEAL_OWN,           /* this node's own, come back */
    SEAL_EXHAUSTED,     /* 2^64 messages have been sealed */
    SEAL_NO_MEMORY,     /* or wolfCrypt has failed */
};

/* Who sealed what was opened. */
struct seal_sender {
    struct node_uuid node;
    uint64_t generation;
    uint64_t counter;
};

/* NULL when out of memory. Without keys nothing is sealed, and nothing opens. */
struct seal *seal_create(const struct seal_conf *conf);
void seal_destroy(struct seal *s); /* wipes the keys; NULL is fine */

/* The ring, copied; 1 <= count <= SEAL_KEYS_MAX. What is known of senders stays. */
void seal_set_keys(struct seal *s, const struct seal_key *keys, size_t count);

/* out has room for message.len + SEAL_BYTES, which is what is written. */
NODISCARD enum seal_err seal_make(struct seal *s, uint8_t *out, struct bytes message);

/* Any bytes are fair input. out has room for sealed.len - SEAL_BYTES bytes; *len is how many. It
 * and *sender are set with SEAL_OK only; out may be written in any case. */
NODISCARD enum seal_err seal_open(struct seal *s, uint8_t *out, size_t *len,
                                  struct seal_sender *sender, struct bytes sealed);
