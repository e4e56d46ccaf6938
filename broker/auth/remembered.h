/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remembered: passwords that were found right since the process began, so that who comes back need
 * not wait for a slow hash again; when all come back at once that would be minutes.
 *
 * What is kept is HMAC-SHA256 of user, password and the user's line in the password file, under a
 * key that is random and never leaves the process: a changed line is not recognized, and a stolen
 * file is no help. Who can read the process's memory has the passwords that clients send anyway.
 *
 * Any thread may ask and add at any time, without a lock: of a proof that is read while another
 * takes its place, nothing fits but either of the two. Memory: itself, 512 KiB. At the bound: a
 * later one takes the place of an earlier.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/auth/password_hash.h"
#include "broker/auth/proof.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define REMEMBERED_PLACES 16384u

struct remembered {
    struct proof_key key;
    struct {
        _Atomic uint64_t words[PROOF_WORDS];
    } proofs[REMEMBERED_PLACES];
};

NODISCARD bool remembered_init(struct remembered *r); /* false: no random key */
void remembered_fini(struct remembered *r);

/* false: it could not be computed. */
NODISCARD bool remembered_prove(const struct remembered *r, struct proof *proof, struct bytes user,
                                struct bytes password, const struct password_hash *hash);
bool remembered_has(const struct remembered *r, const struct proof *proof);
void remembered_add(struct remembered *r, const struct proof *proof);
