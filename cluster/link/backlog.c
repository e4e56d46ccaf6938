/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/link/backlog.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/little_endian.h"
#include "proto/node_frame.h"

struct backlog_chunk {
    struct backlog_chunk *next;
    size_t begin;    /* of the oldest frame in it */
    size_t len;      /* behind the youngest */
    size_t capacity; /* of bytes[] */
    uint8_t bytes[];
};

void backlog_init(struct backlog *b)
{
    *b = (struct backlog){.first = 1, .next = 1, .cursor_seq = 1};
}

void backlog_fini(struct backlog *b)
{
    assert(b->lent == NULL);

    backlog_discard(b);
    free(b->spare);
    b->spare = NULL;
}

static size_t frame_size(const struct backlog_chunk *chunk, size_t at)
{
    return NODE_FRAME_HEAD_BYTES + get_u32(chunk->bytes + at);
}

/* ---- chunks */

static struct backlog_chunk *chunk_make(struct backlog *b, size_t size)
{
    struct backlog_chunk *chunk = b->spare;
    if (chunk != NULL && size <= BACKLOG_CHUNK_BYTES) {
        b->spare = NULL;
    } else {
        const size_t capacity = size > BACKLOG_CHUNK_BYTES ? size : BACKLOG_CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->capacity = capacity;
    }
    chunk->next = NULL;
    chunk->begin = 0;
    chunk->len = 0;
    return chunk;
}

static void chunk_drop(struct backlog *b, struct backlog_chunk *chunk)
{
    if (b->spare == NULL && chunk->capacity == BACKLOG_CHUNK_BYTES) {
        b->spare = chunk;
    } else {
        free(chunk);
    }
}

/* The head has no frame any more. */
static void head_pop(struct backlog *b)
{
    struct backlog_chunk *const head = b->head;
    if (b->cursor == head) {
        b->cursor = head->next;
        b->cursor_at = 0;
    }
    b->head = head->next;
    if (b->head == NULL) {
        b->tail = NULL;
    }
    if (head == b->lent) {
        assert(b->orphan == NULL);
        b->orphan = head;
    } else {
        chunk_drop(b, head);
    }
}

/* ---- */

uint8_t *backlog_add(struct backlog *b, size_t size)
{
    assert(size >= NODE_FRAME_HEAD_BYTES);

    struct backlog_chunk *chunk = b->tail;
    if (chunk == NULL || chunk->capacity - chunk->len < size) {
        chunk = chunk_make(b, size);
        if (chunk == NULL) {
            return NULL;
        }
        if (b->tail != NULL) {
            b->tail->next = chunk;
        } else {
            b->head = chunk;
        }
        b->tail = chunk;
    }
    if (b->cursor == NULL && b->cursor_seq == b->next) {
        b->cursor = chunk;
        b->cursor_at = chunk->len;
    }
    uint8_t *const at = chunk->bytes + chunk->len;
    b->largest = size > backlog_largest(b) ? size : b->largest;
    chunk->len += size;
    b->bytes += size;
    b->next++;
    return at;
}

/* The oldest frame goes. */
static void first_pop(struct backlog *b)
{
    struct backlog_chunk *const head = b->head;
    const size_t size = frame_size(head, head->begin);
    if (b->cursor_seq == b->first) { /* acknowledged, but not given: by an earlier connection */
        b->cursor_seq++;
        b->cursor_at += size;
    } else {
        b->given_bytes -= size;
    }
    head->begin += size;
    b->bytes -= size;
    b->first++;
    if (head->begin == head->len) {
        head_pop(b);
    }
}

void backlog_acked(struct backlog *b, uint64_t seq)
{
    assert(seq < b->next);

    while (b->first <= seq) {
        first_pop(b);
    }
}

uint64_t backlog_discard(struct backlog *b)
{
    const uint64_t count = b->next - b->first;
    if (count > 0) {
        backlog_acked(b, b->next - 1);
    }
    assert(b->head == NULL);
    assert(b->bytes == 0);
    return count;
}

void backlog_rewind(struct backlog *b)
{
    assert(b->lent == NULL);

    b->cursor = b->head;
    b->cursor_at = b->head == NULL ? 0 : b->head->begin;
    b->cursor_seq = b->first;
    b->given_bytes = 0;
}

/* Behind the last frame of a chunk, where the next one went to another. */
static void cursor_settle(struct backlog *b)
{
    if (b->cursor != NULL && b->cursor_at == b->cursor->len && b->cursor->next != NULL) {
        b->cursor = b->cursor->next;
        b->cursor_at = 0;
    }
}

struct bytes backlog_take(struct backlog *b, size_t bytes_max)
{
    assert(b->lent == NULL);

    cursor_settle(b);
    struct backlog_chunk *const chunk = b->cursor;
    const size_t begin = b->cursor_at;
    size_t end = begin;
    if (chunk == NULL) {
        return bytes_of(NULL, 0);
    }
    while (end < chunk->len) {
        const size_t size = frame_size(chunk, end);
        if (size > bytes_max - (end - begin) && (end > begin || b->given_bytes > 0)) {
            break;
        }
        end += size;
        b->cursor_seq++;
        if (end - begin >= bytes_max) {
            break;
        }
    }
    if (end == begin) {
        return bytes_of(NULL, 0);
    }
    b->given_bytes += end - begin;
    b->cursor_at = end;
    b->lent = chunk;
    return bytes_of(chunk->bytes + begin, end - begin);
}

void backlog_give_back(struct backlog *b)
{
    if (b->orphan != NULL) {
        chunk_drop(b, b->orphan);
        b->orphan = NULL;
    }
    b->lent = NULL;
}
