/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is applied, and not in the checkpoint; and a snapshot's data:
 *
 *    0  u64  index that the checkpoint has
 *    8       of each entry behind it: u64 index, u32 length, its bytes
 */
#include <stdlib.h>
#include <string.h>

#include "broker/groups/groups_parts.h"
#include "proto/node_field.h"

#define ENTRY_HEAD_BYTES 12u

void group_tail_add(struct group *g, uint64_t index, struct bytes entry)
{
    struct tail_entry *const e = malloc(sizeof *e + entry.len);
    if (e == NULL) {
        store_out_of_memory();
    }
    *e = (struct tail_entry){.index = index, .len = entry.len};
    if (entry.len > 0) {
        memcpy(e->bytes, entry.at, entry.len);
    }
    if (g->tail_last == NULL) {
        g->tail_first = e;
    } else {
        g->tail_last->next = e;
    }
    g->tail_last = e;
    g->tail_bytes += sizeof *e + entry.len;
}

void group_tail_drop(struct group *g, uint64_t index)
{
    struct tail_entry *e;
    while ((e = g->tail_first) != NULL && e->index <= index) {
        g->tail_first = e->next;
        if (e->next == NULL) {
            g->tail_last = NULL;
        }
        g->tail_bytes -= sizeof *e + e->len;
        free(e);
    }
}

bool group_tail_snapshot(const struct group *g, struct bytes *data)
{
    size_t len = GROUP_TAIL_HEAD_BYTES;
    for (const struct tail_entry *e = g->tail_first; e != NULL; e = e->next) {
        len += ENTRY_HEAD_BYTES + e->len;
    }
    uint8_t *const out = len > g->shard->groups->conf.snapshot_bytes_max ? NULL : malloc(len);
    if (out == NULL) {
        return false; /* when the checkpoint has come further, it will be shorter */
    }
    struct sink s = node_sink(out);
    node_put_u64(&s, g->checkpointed);
    for (const struct tail_entry *e = g->tail_first; e != NULL; e = e->next) {
        node_put_u64(&s, e->index);
        node_put_u32(&s, (uint32_t)e->len);
        sink_bytes(&s, bytes_of(e->bytes, e->len));
    }
    assert(s.len == len);
    *data = bytes_of(out, len);
    return true;
}

bool group_tail_next(struct bytes *rest, uint64_t *index, struct bytes *entry)
{
    struct cursor c = node_cursor(*rest);
    uint32_t len;
    if (!node_u64(&c, index) || !node_u32(&c, &len) || !cursor_bytes(&c, len, entry)) {
        return false;
    }
    *rest = cursor_rest(&c);
    return true;
}

bool group_tail_checkpoint_of(struct bytes data, uint64_t *index)
{
    struct cursor c = node_cursor(data);
    if (!node_u64(&c, index)) {
        return false;
    }
    struct bytes rest = cursor_rest(&c), entry;
    uint64_t before = 0, at;
    while (rest.len > 0) {
        if (!group_tail_next(&rest, &at, &entry) || at <= before) {
            return false;
        }
        before = at;
    }
    return true;
}
