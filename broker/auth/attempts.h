/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attempts: who has been wrong too often of late: an address, or a user name, by its hash.
 *
 * Each may be wrong `burst` times, and once more for each minute's part of `per_minute`. Those
 * whose hashes fall on one place share it: a stranger may then have to wait for another's mistakes,
 * some seconds, one in ATTEMPT_PLACES.
 *
 * Owner: the caller, who also keeps threads apart. Memory: itself, 64 KiB. No clock: `now_ms` is
 * passed in, and never goes back.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"

#define ATTEMPT_PLACES 4096u

struct attempts {
    struct attempts_place {
        uint64_t at_ms; /* when `wrong` was true */
        double wrong;   /* times, less what time has forgiven since */
    } places[ATTEMPT_PLACES];
};

/* Who: a user name; or an address, of IPv6 the 64 bits that are a customer's network. 0: it is
 * zeros, nobody's. `seed`: random, as clients choose what is hashed. */
uint64_t attempts_hash(uint64_t seed, struct bytes user_name);
uint64_t attempts_hash_address(uint64_t seed, const struct in6_addr *address);

/* per_minute: how many mistakes a minute forgives, and how many may come at once; 0: any number. */
bool attempts_allowed(const struct attempts *a, uint64_t hash, uint32_t per_minute,
                      uint64_t now_ms);
void attempts_failed(struct attempts *a, uint64_t hash, uint32_t per_minute, uint64_t now_ms);
