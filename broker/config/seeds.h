/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seeds: where nodes of the cluster may be found, as cluster.seeds has it: HOST:PORT,
 * [IPv6]:PORT, or srv:NAME, separated by commas.
 *
 * Owner: the caller; a plain value. No name is looked up. At the bound: SEEDS_MAX; more are
 * refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define SEEDS_MAX       16u
#define SEED_HOST_BYTES 254u /* a name of DNS has 253 characters at most */

struct seed {
    bool srv;                   /* host is the name of SRV records, which have the ports */
    uint16_t port;              /* 0: srv */
    char host[SEED_HOST_BYTES]; /* a name, or an address without brackets */
};

struct seeds {
    unsigned count;
    struct seed at[SEEDS_MAX];
};

/* NULL: *out is written; "" are none. Otherwise what is wrong; a constant text. */
NODISCARD const char *seeds_parse(struct seeds *out, const char *text);
