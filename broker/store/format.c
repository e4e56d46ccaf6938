/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/format.h"

#include <string.h>

struct segment_owner format_owner(const uint8_t id[CHECKPOINT_ID_BYTES], uint32_t shard)
{
    struct segment_owner owner = {.shard = shard, .entries_format = STORE_FORMAT};
    _Static_assert(sizeof owner.store_id == CHECKPOINT_ID_BYTES, "one id for both");
    memcpy(owner.store_id, id, sizeof owner.store_id);
    return owner;
}
