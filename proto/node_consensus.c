/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_consensus.h"

#include <assert.h>
#include <string.h>

#include "proto/node_field.h"

/* ---- Items */

size_t node_entry_encode(uint8_t *out, const struct node_entry *entry)
{
    assert(entry->data.len <= UINT32_MAX);

    put_u64(out, entry->term);
    out[8] = entry->type;
    memset(out + 9, 0, 3);
    put_u32(out + 12, (uint32_t)entry->data.len);
    if (entry->data.len > 0) {
        memcpy(out + NODE_ENTRY_BYTES, entry->data.at, entry->data.len);
    }
    return NODE_ENTRY_BYTES + entry->data.len;
}

bool node_entry_next(struct bytes *rest, struct node_entry *entry)
{
    struct cursor c = node_cursor(*rest);
    struct bytes nothing;
    struct node_entry e;
    uint32_t len;
    if (!node_u64(&c, &e.term) || e.term == 0 || !cursor_u8(&c, &e.type) || e.type == 0 ||
        e.type > NODE_ENTRY_TYPES || !cursor_bytes(&c, 3, &nothing) || !node_u32(&c, &len) ||
        !cursor_bytes(&c, len, &e.data)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *entry = e;
    return true;
}

bool node_entries_check(struct bytes entries, uint32_t *count)
{
    struct node_entry entry;
    *count = 0;
    while (entries.len > 0) {
        if (!node_entry_next(&entries, &entry)) {
            return false;
        }
        (*count)++;
    }
    return true;
}

size_t node_server_encode(uint8_t *out, const struct node_server *server)
{
    put_u64(out, server->id);
    out[8] = server->role;
    return NODE_SERVER_BYTES;
}

bool node_server_next(struct bytes *rest, struct node_server *server)
{
    struct cursor c = node_cursor(*rest);
    struct node_server s;
    if (!node_u64(&c, &s.id) || s.id == 0 || !cursor_u8(&c, &s.role) ||
        s.role >= NODE_SERVER_ROLES) {
        return false;
    }
    *rest = cursor_rest(&c);
    *server = s;
    return true;
}

static bool has_id(struct bytes servers, uint64_t id)
{
    struct node_server server;
    while (node_server_next(&servers, &server)) {
        if (server.id == id) {
            return true;
        }
    }
    return false;
}

bool node_servers_check(struct bytes servers, uint32_t *count)
{
    struct node_server server;
    *count = 0;
    while (servers.len > 0) {
        if (!node_server_next(&servers, &server) || has_id(servers, server.id)) {
            return false; /* none, or twice */
        }
        (*count)++;
    }
    return true;
}

/* ---- Messages */

#define HEAD_BYTES (2 + 6 * sizeof(uint64_t))

static size_t items_len(const struct node_consensus *m)
{
    return m->kind == NODE_INSTALL ? sizeof(uint32_t) + m->configuration.len + m->data.len
                                   : m->data.len;
}

size_t node_consensus_encode(uint8_t *out, const struct node_consensus *message)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, HEAD_BYTES);
    sink_u8(&s, message->kind);
    sink_u8(&s, message->flags);
    node_put_u64(&s, message->group);
    node_put_u64(&s, message->term);
    node_put_u64(&s, message->index);
    node_put_u64(&s, message->index_term);
    node_put_u64(&s, message->other);
    node_put_u64(&s, message->sent_ms);
    node_put_head(&s, NODE_TAG_ITEMS, items_len(message));
    if (message->kind == NODE_INSTALL) {
        node_put_u32(&s, (uint32_t)message->configuration.len);
        sink_bytes(&s, message->configuration);
    }
    sink_bytes(&s, message->data);
    assert(s.len <= NODE_CONSENSUS_HEAD_MAX + message->configuration.len + message->data.len);
    return s.len;
}

/* What follows the head is what that kind of message has. */
static bool items_are_fair(struct node_consensus *m, struct bytes items)
{
    struct cursor c = node_cursor(items);
    uint32_t count;
    switch (m->kind) {
    case NODE_APPEND:
        m->data = items;
        return node_entries_check(items, &count) && m->index <= UINT64_MAX - count;
    case NODE_INSTALL:
        if (m->index == 0 || !node_u32(&c, &count) || !cursor_bytes(&c, count, &m->configuration)) {
            return false;
        }
        m->data = cursor_rest(&c);
        return node_servers_check(m->configuration, &count) && count > 0;
    case NODE_APPENDED:
    case NODE_VOTE:
    case NODE_VOTED:
    case NODE_TIMEOUT_NOW:
        return items.len == 0;
    default:
        return false;
    }
}

enum node_err node_consensus_decode(struct node_consensus *message, struct bytes body)
{
    struct bytes head, items;
    const enum node_err err = node_fields_head_items(&head, &items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    struct node_consensus m = {.kind = 0};
    if (!cursor_u8(&c, &m.kind) || !cursor_u8(&c, &m.flags) || !node_u64(&c, &m.group) ||
        !node_u64(&c, &m.term) || m.term == 0 || !node_u64(&c, &m.index) ||
        !node_u64(&c, &m.index_term) || !node_u64(&c, &m.other) || !node_u64(&c, &m.sent_ms) ||
        !items_are_fair(&m, items)) {
        return NODE_MALFORMED;
    }
    *message = m;
    return NODE_OK;
}
