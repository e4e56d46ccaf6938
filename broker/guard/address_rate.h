/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address_rate: how many connections each address has opened of late, whoever asks how often.
 *
 * Each address has two places, in two rows of them, by its keyed hash; it is over its rate when it
 * is at both. So a stranger who floods from one address hinders others only where they share both
 * places with it, and nobody can choose to. Who shares one gets up to twice the rate at most.
 * Of an IPv6 address the first 64 bits count, since who has one has all of those.
 *
 * Owner: the node. Any thread may ask at any time; nobody waits for another. Memory: itself, 1 MiB,
 * whatever the number of addresses. To fill all places takes 65,536 times the rate.
 */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define ADDRESS_RATE_ROWS   2u
#define ADDRESS_RATE_PLACES 65536u

struct address_rate {
    uint64_t seed;                                                   /* random */
    _Atomic uint64_t places[ADDRESS_RATE_ROWS][ADDRESS_RATE_PLACES]; /* as in rate.h */
};

/* NULL: no memory. */
struct address_rate *address_rate_create(uint64_t seed);
void address_rate_destroy(struct address_rate *r); /* NULL is fine */

/* How many bytes of an address are one client's: all of IPv4's, half of IPv6's. */
static inline size_t address_network_bytes(const struct in6_addr *address)
{
    return IN6_IS_ADDR_V4MAPPED(address) ? sizeof *address : sizeof *address / 2;
}

/* One more connection of that address (IPv4 mapped); false: it has opened more than so many a
 * second, and this one does not count. per_second > 0. */
NODISCARD bool address_rate_take(struct address_rate *r, const struct in6_addr *address,
                                 uint32_t per_second, uint64_t now_ms);
