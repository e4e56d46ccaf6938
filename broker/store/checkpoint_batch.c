/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/checkpoint_batch.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/format.h"

#define CHUNK_BYTES ((size_t)65536 - 64) /* with the allocator's own, and ours, 64 KiB */

struct change_chunk {
    struct change_chunk *next;
    size_t used, capacity;
    _Alignas(8) uint8_t bytes[];
};

struct checkpoint_batch *checkpoint_batch_create(void)
{
    return calloc(1, sizeof(struct checkpoint_batch));
}

void checkpoint_batch_destroy(struct checkpoint_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    while (batch->first != NULL) {
        struct change_chunk *const chunk = batch->first;
        batch->first = chunk->next;
        free(chunk);
    }
    free(batch);
}

size_t checkpoint_batch_bytes(const struct checkpoint_batch *batch)
{
    return batch->bytes;
}

uint32_t checkpoint_batch_count(const struct checkpoint_batch *batch)
{
    return batch->count;
}

/* ---- making it */

static bool add_chunk(struct checkpoint_batch *batch, size_t bytes)
{
    const size_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    struct change_chunk *const chunk = malloc(sizeof *chunk + capacity);
    if (chunk == NULL) {
        return false;
    }
    *chunk = (struct change_chunk){.capacity = capacity};
    if (batch->last != NULL) {
        batch->last->next = chunk;
    } else {
        batch->first = chunk;
    }
    batch->last = chunk;
    batch->bytes += sizeof *chunk + capacity;
    return true;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static size_t change_bytes(const struct change *c)
{
    return rounded(sizeof *c + c->key_len + c->value_len);
}

bool checkpoint_reserve(struct checkpoint_batch *batch, uint32_t changes, size_t bytes)
{
    const size_t all = changes * (rounded(sizeof(struct change)) + 8) + bytes;
    return (batch->last != NULL && batch->last->capacity - batch->last->used >= all) ||
           add_chunk(batch, all);
}

static struct change *append(struct checkpoint_batch *batch, enum change_kind kind,
                             struct bytes key, struct bytes value)
{
    assert(key.at != NULL);
    assert(key.len >= 1);
    assert(key.len <= CHECKPOINT_KEY_BYTES_MAX);
    assert(value.len <= UINT32_MAX - 8);
    assert(value.at != NULL || value.len == 0);
    assert(batch->count < UINT32_MAX);

    const size_t bytes = rounded(sizeof(struct change) + key.len + value.len);
    if (batch->last == NULL || batch->last->capacity - batch->last->used < bytes) {
        if (!add_chunk(batch, bytes)) {
            batch->spoilt = true;
            return NULL;
        }
    }
    struct change *const c = (void *)(batch->last->bytes + batch->last->used);
    batch->last->used += bytes;
    batch->count++;
    *c = (struct change){
        .value_len = (uint32_t)value.len,
        .key_len = (uint16_t)key.len,
        .kind = (uint8_t)kind,
        .has_value = value.at != NULL,
    };
    memcpy(c->bytes, key.at, key.len);
    if (value.len > 0) {
        memcpy(c->bytes + key.len, value.at, value.len);
    }
    return c;
}

void checkpoint_put(struct checkpoint_batch *batch, struct bytes key, struct bytes value)
{
    (void)append(batch, CHANGE_PUT, key, value);
}

void checkpoint_delete(struct checkpoint_batch *batch, struct bytes key)
{
    (void)append(batch, CHANGE_DELETE, key, bytes_of(NULL, 0));
}

void checkpoint_delete_prefix(struct checkpoint_batch *batch, struct bytes prefix)
{
    (void)append(batch, CHANGE_DELETE_PREFIX, prefix, bytes_of(NULL, 0));
}

void checkpoint_add(struct checkpoint_batch *batch, struct bytes key, int64_t delta,
                    struct bytes if_new)
{
    struct change *const c = append(batch, CHANGE_ADD, key, if_new);
    if (c != NULL) {
        c->delta = delta;
    }
}

void checkpoint_put_meta(struct checkpoint_batch *batch, const char *name, struct bytes value)
{
    assert(strcmp(name, "format") != 0);
    assert(strcmp(name, "id") != 0);

    (void)append(batch, CHANGE_META, bytes_text(name), value);
}

void checkpoint_put_format(struct checkpoint_batch *batch)
{
    const uint32_t format = htole32(STORE_FORMAT);
    (void)append(batch, CHANGE_META, bytes_text("format"), bytes_of(&format, sizeof format));
}

struct change_place checkpoint_batch_begin(const struct checkpoint_batch *batch)
{
    return (struct change_place){.chunk = batch->first};
}

const struct change *checkpoint_batch_next(struct change_place *place)
{
    while (place->chunk != NULL && place->at == place->chunk->used) {
        *place = (struct change_place){.chunk = place->chunk->next};
    }
    if (place->chunk == NULL) {
        return NULL;
    }
    const struct change *const c = (const void *)(place->chunk->bytes + place->at);
    place->at += change_bytes(c);
    return c;
}

/* ---- in order */

bool plan_init(struct plan *plan, uint32_t capacity)
{
    *plan = (struct plan){.entries = malloc((size_t)capacity * sizeof plan->entries[0])};
    return plan->entries != NULL || capacity == 0;
}

void plan_fini(struct plan *plan)
{
    free(plan->entries);
    *plan = (struct plan){.entries = NULL};
}

static uint64_t head_of(const struct change *c)
{
    uint8_t head[8] = {0};
    memcpy(head, c->bytes, c->key_len < sizeof head ? c->key_len : sizeof head);
    uint64_t number;
    memcpy(&number, head, sizeof number);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(number) : number;
}

void plan_add(struct plan *plan, const struct checkpoint_batch *batch)
{
    struct change_place place = checkpoint_batch_begin(batch);
    for (const struct change *c; (c = checkpoint_batch_next(&place)) != NULL;) {
        if (c->kind != CHANGE_META) {
            plan->entries[plan->count] =
                (struct plan_entry){.head = head_of(c), .change = c, .order = plan->count};
            plan->count++;
        }
    }
}

/* LMDB's own order, which is that of the bytes, and of two that begin the same, the shorter first.
 */
static int compare_keys(const struct change *a, const struct change *b)
{
    const size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
    const int order = memcmp(a->bytes, b->bytes, len);
    return order != 0 ? order : (int)a->key_len - (int)b->key_len;
}

static int compare(const void *left, const void *right)
{
    const struct plan_entry *const a = left, *const b = right;
    if (a->head != b->head) {
        return a->head < b->head ? -1 : 1;
    }
    const int order = compare_keys(a->change, b->change);
    if (order != 0) {
        return order;
    }
    const bool a_all = a->change->kind == CHANGE_DELETE_PREFIX;
    const bool b_all = b->change->kind == CHANGE_DELETE_PREFIX;
    if (a_all != b_all) {
        return a_all ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

void plan_sort(struct plan *plan)
{
    for (uint32_t i = 1; i < plan->count; i++) {
        if (compare(&plan->entries[i - 1], &plan->entries[i]) > 0) {
            qsort(plan->entries, plan->count, sizeof plan->entries[0], compare);
            return;
        }
    }
}
