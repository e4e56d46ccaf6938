/* SPDX-License-Identifier: Apache-2.0 */
/* records_sound: is each body there that a delivery has, and as often as is counted? For tests and
 * fuzzers. NULL, or what is wrong. */
#pragma once

#include "broker/store/records_memory.h"
#include "broker/store/session_record.h"

static inline uint64_t records_referring(const struct records_memory *m, uint64_t body)
{
    uint64_t count = 0;
    const struct key_node *node = key_map_from(&m->all, bytes_text("q"));
    for (; node != NULL && node->key.at[0] == 'q'; node = key_map_next(node)) {
        struct delivery_record r;
        count += delivery_record_read(key_node_value(node), &r) && r.body == body;
    }
    return count;
}

static inline const char *records_sound(const struct records_memory *m)
{
    for (const struct key_node *node = m->all.first[0]; node != NULL; node = key_map_next(node)) {
        const struct bytes key = record_key_bytes(&node->key);
        struct delivery_record r;
        if (key.at[0] == 'b' &&
            (uint64_t)node->count != records_referring(m, record_key_number(key, 1))) {
            return "a wrong count";
        }
        if (key.at[0] == 'q' && (!delivery_record_read(key_node_value(node), &r) ||
                                 (r.body != 0 && records_memory_references(m, r.body) == 0))) {
            return "a delivery without its body";
        }
    }
    return m->miscounted > 0 ? "references to what is not there" : NULL;
}
