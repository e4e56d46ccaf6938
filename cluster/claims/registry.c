/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/claims/claims_parts.h"

static struct bytes id_of(const struct record *r)
{
    return bytes_of(r->id, r->id_len);
}

static size_t record_bytes(size_t id_len)
{
    return offsetof(struct record, id) + id_len;
}

struct record *registry_find(const struct claims *c, struct part *part, unsigned peer,
                             const struct node_hold *item)
{
    for (struct table_link *l = table_find(&part->records, item->hash); l != NULL;
         l = table_find_next(l)) {
        struct record *const r = table_object(l, struct record, link);
        if (r->peer == peer && r->serial == item->serial && r->round >= c->peers[peer].lost_round) {
            return r;
        }
    }
    return NULL;
}

struct record *registry_next(struct part *part, uint64_t hash, struct bytes id,
                             const struct record *last)
{
    struct table_link *l =
        last == NULL ? table_find(&part->records, hash) : table_find_next(&last->link);
    for (; l != NULL; l = table_find_next(l)) {
        struct record *const r = table_object(l, struct record, link);
        if (bytes_equal(id_of(r), id)) {
            return r;
        }
    }
    return NULL;
}

static bool will_set(struct claims *c, struct record *r, const struct node_hold *item)
{
    if (!dues_reserve(&c->dues, c->figures.wills + 1)) {
        return false;
    }
    struct record_will *const w = calloc(1, offsetof(struct record_will, bytes) + item->will.len);
    if (w == NULL) {
        return false;
    }
    const struct peer *const p = &c->peers[r->peer];
    w->record = r;
    w->whose = (struct claims_key){p->uuid, p->generation, r->serial};
    w->delay_ms = item->delay_ms;
    w->len = (uint32_t)item->will.len;
    memcpy(w->bytes, item->will.at, item->will.len);
    r->will = w;
    c->figures.wills++;
    c->figures.bytes += offsetof(struct record_will, bytes) + w->len;
    return true;
}

struct record *registry_add(struct claims *c, struct part *part, unsigned peer,
                            const struct node_hold *item)
{
    struct record *const r = calloc(1, record_bytes(item->id.len));
    if (r == NULL) {
        return NULL;
    }
    r->serial = item->serial;
    r->claim = item->claim;
    r->peer = (uint8_t)peer;
    r->former = NOBODY;
    r->clean = (item->flags & NODE_HOLD_CLEAN) != 0;
    r->id_len = (uint16_t)item->id.len;
    if (item->id.len > 0) {
        memcpy(r->id, item->id.at, item->id.len);
    }
    if (item->will.len > 0 && !will_set(c, r, item)) {
        free(r);
        return NULL;
    }
    table_insert(&part->records, &r->link, item->hash);
    c->figures.records++;
    c->figures.bytes += record_bytes(r->id_len);
    return r;
}

void registry_drop_will(struct claims *c, struct record *r)
{
    if (r->will != NULL) {
        dues_unset(&c->dues, &r->will->due);
        c->figures.wills--;
        c->figures.bytes -= offsetof(struct record_will, bytes) + r->will->len;
        free(r->will);
        r->will = NULL;
    }
}

void registry_remove(struct claims *c, struct part *part, struct record *r)
{
    registry_drop_will(c, r);
    list_remove(&r->list);
    table_remove(&part->records, &r->link);
    c->figures.records--;
    c->figures.bytes -= record_bytes(r->id_len);
    free(r);
}

void registry_fini(struct claims *c)
{
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        struct part *const part = &c->parts[i];
        size_t cursor = 0;
        for (struct table_link *l = table_any(&part->records, &cursor); l != NULL;
             l = table_any(&part->records, &cursor)) {
            registry_remove(c, part, table_object(l, struct record, link));
        }
        table_fini(&part->records);
    }
    dues_fini(&c->dues);
}
