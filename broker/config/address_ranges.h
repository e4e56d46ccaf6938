/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address_ranges: sets of addresses, as in "10.0.0.0/8, 192.168.1.7, fd00::/8".
 *
 * Owner: whoever parsed it; constant afterwards, so that any thread may ask. Memory: 17 bytes each.
 * At the bound: more than ADDRESS_RANGES_MAX are refused.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define ADDRESS_RANGES_MAX 64u

struct address_ranges {
    struct address_range {
        struct in6_addr address; /* IPv4 mapped */
        uint8_t bits;            /* of it that count, 0..128 */
    } all[ADDRESS_RANGES_MAX];
    unsigned count;
};

/* NULL: *out is written. Otherwise what is wrong and what would be right; a constant text. */
NODISCARD const char *address_ranges_parse(struct address_ranges *out, const char *text);

/* The same address with all that does not count set to 0. */
struct in6_addr address_range_cut(struct in6_addr address, unsigned bits);

/* address: IPv4 mapped. */
bool address_ranges_have(const struct address_ranges *r, const struct in6_addr *address);
