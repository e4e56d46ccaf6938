/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member: whose a member of a group is, which another shard has chosen.
 *
 * Owner: as an errand (shard/errand.h), of the member's shard. Memory: itself. It may have left.
 */
#pragma once

#include <stdint.h>

#include "broker/explain/facts.h"
#include "broker/shard/errand.h"
#include "proto/nodiscard.h"

struct explain_member {
    struct errand errand;
    char client_id[EXPLAIN_TEXT]; /* the answer; "": it has left */

    /* ---- its own */
    uint64_t subscription;
};

NODISCARD struct explain_member *explain_member_create(uint64_t subscription);
