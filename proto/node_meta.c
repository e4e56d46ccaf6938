/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_meta.h"

#include <assert.h>

#include "proto/node_field.h"

bool node_replicas_are_fair(const struct node_replicas *r)
{
    if (r->count == 0 || r->count > NODE_META_REPLICAS_MAX) {
        return false;
    }
    for (unsigned i = 0; i < r->count; i++) {
        if (r->at[i] == 0) {
            return false;
        }
        for (unsigned k = 0; k < i; k++) {
            if (r->at[k] == r->at[i]) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Nodes */

size_t node_meta_node_encode(uint8_t *out, const struct node_meta_node *node)
{
    assert(node->name.len <= NODE_NAME_MAX);
    assert(node->zone.len <= NODE_META_ZONE_MAX);

    struct sink s = node_sink(out);
    sink_bytes(&s, bytes_of(node->uuid.bytes, UUID_BYTES));
    node_put_u32(&s, node->features);
    sink_u8(&s, (uint8_t)node->name.len);
    sink_u8(&s, (uint8_t)node->zone.len);
    sink_bytes(&s, node->name);
    sink_bytes(&s, node->zone);
    return s.len;
}

bool node_meta_node_next(struct bytes *rest, struct node_meta_node *node)
{
    struct cursor c = node_cursor(*rest);
    struct node_meta_node n;
    uint8_t name_len, zone_len;
    if (!node_copy(&c, n.uuid.bytes, UUID_BYTES) || node_uuid_is_none(n.uuid) ||
        !node_u32(&c, &n.features) || !cursor_u8(&c, &name_len) || !cursor_u8(&c, &zone_len) ||
        zone_len > NODE_META_ZONE_MAX || !cursor_bytes(&c, name_len, &n.name) ||
        !node_name_is_valid(n.name) || !cursor_bytes(&c, zone_len, &n.zone)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *node = n;
    return true;
}

bool node_meta_nodes_check(struct bytes items, unsigned most, unsigned *count)
{
    struct node_uuid before = {{0}};
    struct node_meta_node node;
    *count = 0;
    while (items.len > 0) {
        if (*count == most || !node_meta_node_next(&items, &node) ||
            node_uuid_compare(node.uuid, before) <= 0) {
            return false;
        }
        before = node.uuid;
        (*count)++;
    }
    return true;
}

/* ---- Commands */

#define COMMAND_BYTES                                                                              \
    (2 + 2 * sizeof(uint32_t) + sizeof(uint64_t) + UUID_BYTES + 1 +                                \
     NODE_META_REPLICAS_MAX * sizeof(uint32_t))

size_t node_meta_command_encode(uint8_t *out, const struct node_meta_command *command)
{
    assert(command->replicas.count <= NODE_META_REPLICAS_MAX);

    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, COMMAND_BYTES);
    sink_u8(&s, command->kind);
    sink_u8(&s, command->value);
    node_put_u32(&s, command->number);
    node_put_u32(&s, command->incarnation);
    node_put_u64(&s, command->index);
    sink_bytes(&s, bytes_of(command->cluster.bytes, UUID_BYTES));
    sink_u8(&s, command->replicas.count);
    for (unsigned i = 0; i < NODE_META_REPLICAS_MAX; i++) {
        node_put_u32(&s, i < command->replicas.count ? command->replicas.at[i] : 0);
    }
    node_put_field(&s, NODE_TAG_ITEMS, command->items);
    assert(s.len <= NODE_META_HEAD_MAX + command->items.len);
    return s.len;
}

enum node_err node_meta_command_decode(struct node_meta_command *command, struct bytes body)
{
    struct bytes head, items;
    const enum node_err err = node_fields_head_items(&head, &items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    struct node_meta_command m = {.items = items};
    if (!cursor_u8(&c, &m.kind) || !cursor_u8(&c, &m.value) || !node_u32(&c, &m.number) ||
        !node_u32(&c, &m.incarnation) || !node_u64(&c, &m.index) ||
        !node_copy(&c, m.cluster.bytes, UUID_BYTES) || !cursor_u8(&c, &m.replicas.count) ||
        m.replicas.count > NODE_META_REPLICAS_MAX) {
        return NODE_MALFORMED;
    }
    for (unsigned i = 0; i < NODE_META_REPLICAS_MAX; i++) {
        uint32_t number;
        if (!node_u32(&c, &number)) {
            return NODE_MALFORMED;
        }
        m.replicas.at[i] = i < m.replicas.count ? number : 0;
    }
    *command = m;
    return NODE_OK;
}

/* ---- Formation */

#define FORM_BYTES (1 + sizeof(uint32_t) + UUID_BYTES)

size_t node_form_encode(uint8_t *out, const struct node_form *form)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, FORM_BYTES);
    sink_u8(&s, form->kind);
    node_put_u32(&s, form->number);
    sink_bytes(&s, bytes_of(form->cluster.bytes, UUID_BYTES));
    node_put_field(&s, NODE_TAG_ITEMS, form->items);
    return s.len;
}

enum node_err node_form_decode(struct node_form *form, struct bytes body)
{
    struct bytes head, items;
    unsigned count;
    const enum node_err err = node_fields_head_items(&head, &items, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    struct node_form m = {.items = items};
    if (!cursor_u8(&c, &m.kind) || m.kind == 0 || m.kind > NODE_FORM_WELCOME ||
        !node_u32(&c, &m.number) || (m.kind == NODE_FORM_WELCOME) != (m.number != 0) ||
        !node_copy(&c, m.cluster.bytes, UUID_BYTES) || cluster_uuid_is_none(m.cluster) ||
        !node_meta_nodes_check(items, NODE_META_FORM_MAX, &count) ||
        (m.kind == NODE_FORM_PROPOSE) != (count > 0)) {
        return NODE_MALFORMED;
    }
    *form = m;
    return NODE_OK;
}

/* ---- Reports */

size_t node_report_encode(uint8_t *out, const struct node_report *report)
{
    struct sink s = node_sink(out);
    sink_u8(&s, report->kind);
    sink_u8(&s, report->partition);
    node_put_u16(&s, 0);
    node_put_u32(&s, report->incarnation);
    node_put_u64(&s, report->index);
    return s.len;
}

bool node_report_next(struct bytes *rest, struct node_report *report)
{
    struct cursor c = node_cursor(*rest);
    struct node_report r;
    uint16_t nothing;
    if (!cursor_u8(&c, &r.kind) || !cursor_u8(&c, &r.partition) ||
        r.partition >= NODE_META_PARTITIONS || !node_u16(&c, &nothing) ||
        !node_u32(&c, &r.incarnation) || r.incarnation == 0 || !node_u64(&c, &r.index)) {
        return false;
    }
    *rest = cursor_rest(&c);
    *report = r;
    return true;
}

size_t node_reports_encode(uint8_t *out, struct bytes items)
{
    struct sink s = node_sink(out);
    node_put_field(&s, NODE_TAG_ITEMS, items);
    return s.len;
}

enum node_err node_reports_decode(struct bytes *items, struct bytes body)
{
    struct node_report report;
    struct bytes found;
    const enum node_err err = node_field_only(&found, body, NODE_TAG_ITEMS);
    if (err != NODE_OK) {
        return err;
    }
    for (struct bytes rest = found; rest.len > 0;) {
        if (!node_report_next(&rest, &report)) {
            return NODE_MALFORMED;
        }
    }
    *items = found;
    return NODE_OK;
}

/* ---- Who a node is */

#define MEMBER_BYTES (UUID_BYTES + 2 * sizeof(uint32_t))

size_t node_meta_member_encode(uint8_t *out, const struct node_meta_member *member)
{
    assert(member->zone.len <= NODE_META_ZONE_MAX);

    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, MEMBER_BYTES);
    sink_bytes(&s, bytes_of(member->cluster.bytes, UUID_BYTES));
    node_put_u32(&s, member->number);
    node_put_u32(&s, member->features);
    node_put_field(&s, NODE_TAG_ITEMS, member->zone);
    assert(s.len <= NODE_META_MEMBER_MAX);
    return s.len;
}

enum node_err node_meta_member_decode(struct node_meta_member *member, struct bytes body)
{
    struct bytes head;
    struct node_meta_member m = {.number = 0};
    const enum node_err err = node_fields_head_items(&head, &m.zone, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_copy(&c, m.cluster.bytes, UUID_BYTES) || !node_u32(&c, &m.number) ||
        !node_u32(&c, &m.features) || m.zone.len > NODE_META_ZONE_MAX ||
        cluster_uuid_is_none(m.cluster) != (m.number == 0)) {
        return NODE_MALFORMED;
    }
    *member = m;
    return NODE_OK;
}

/* ---- META's state */

#define COPY_BYTES (UUID_BYTES + sizeof(uint64_t))

size_t node_meta_copy_encode(uint8_t *out, const struct node_meta_copy *copy)
{
    struct sink s = node_sink(out);
    node_put_head(&s, NODE_TAG_HEAD, COPY_BYTES);
    sink_bytes(&s, bytes_of(copy->cluster.bytes, UUID_BYTES));
    node_put_u64(&s, copy->index);
    node_put_field(&s, NODE_TAG_ITEMS, copy->state);
    return s.len;
}

enum node_err node_meta_copy_decode(struct node_meta_copy *copy, struct bytes body)
{
    struct bytes head;
    struct node_meta_copy m = {.index = 0};
    const enum node_err err = node_fields_head_items(&head, &m.state, body);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(head);
    if (!node_copy(&c, m.cluster.bytes, UUID_BYTES) || cluster_uuid_is_none(m.cluster) ||
        !node_u64(&c, &m.index) || m.index == 0) {
        return NODE_MALFORMED;
    }
    *copy = m;
    return NODE_OK;
}
