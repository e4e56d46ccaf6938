/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proof: what is kept of secrets that were seen before, so that they are known again: HMAC-SHA256
 * under a key that is random and never leaves the process. A proof in a stolen file is no help, and
 * who can read the process's memory has the secrets that clients send anyway.
 *
 * Owner: the caller.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define PROOF_KEY_BYTES 32u
#define PROOF_WORDS     4u

struct proof_key {
    uint8_t bytes[PROOF_KEY_BYTES];
};

struct proof {
    uint64_t words[PROOF_WORDS];
};

NODISCARD bool proof_key_make(struct proof_key *key); /* false: no random key */

/* Of all the parts in that order, each with its length: "ab" and "c" are not "a" and "bc". false:
 * it could not be computed. */
NODISCARD bool proof_make(const struct proof_key *key, struct proof *proof,
                          const struct bytes *parts, size_t count);

/* Nobody can choose what it is compared with without the key: time tells nothing. */
static inline bool proof_equal(const struct proof *a, const struct proof *b)
{
    uint64_t differing = 0;
    for (unsigned i = 0; i < PROOF_WORDS; i++) {
        differing |= a->words[i] ^ b->words[i];
    }
    return differing == 0;
}
