/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backlog: frames as bytes, in order and numbered, from when they are put in until they are
 * acknowledged; and how far they have been given to a connection.
 *
 *   head                                   tail
 *   [ · · a b c ] ──▶ [ d e f g ] ──▶ [ h i j · · · ]      chunks, whole frames in each
 *         first             cursor            next
 *
 * Owner: the link. Memory: chunks of BACKLOG_CHUNK_BYTES, made when there is nothing left of the
 * last one and freed when all in them is acknowledged; one is kept for the next time. So memory is
 * what is outstanding, and a steady flow allocates nothing. A frame that is larger has a chunk of
 * its own. At the bound: that is for the link to see (backlog.bytes).
 *
 * What backlog_take() gave is lent: its memory stays until backlog_give_back(), also when all of it
 * is acknowledged or discarded meanwhile, since the kernel may be reading it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define BACKLOG_CHUNK_BYTES 65536u

struct backlog_chunk;

/* To be read by others: first, next, bytes. */
struct backlog {
    uint64_t first; /* number of the oldest frame; next, if there is none */
    uint64_t next;  /* number that the next frame will have; from 1 on */
    size_t bytes;   /* of the frames first..next - 1 */

    struct backlog_chunk *head, *tail; /* NULL: none */
    struct backlog_chunk *spare;       /* NULL: none */
    struct backlog_chunk *lent;        /* of the last run that was taken; NULL: given back */
    struct backlog_chunk *orphan;      /* lent, and not in the list any more; NULL: none */
    struct backlog_chunk *cursor;      /* where frame cursor_seq is, or will be; NULL: not known */
    size_t cursor_at;
    uint64_t cursor_seq;
    size_t given_bytes; /* of the frames first..cursor_seq - 1 */
    size_t largest;     /* frame, in bytes, since there was none */
};

void backlog_init(struct backlog *b);
void backlog_fini(struct backlog *b); /* nothing is lent */

/* Room for the whole next frame, of `size` bytes; NULL: out of memory. It has to be written, with
 * its head, before any other call. */
NODISCARD uint8_t *backlog_add(struct backlog *b, size_t size);

/* All up to that number is done with; those before `first` are already. */
void backlog_acked(struct backlog *b, uint64_t seq);

/* The next frame to be given is the first. Nothing is lent. */
void backlog_rewind(struct backlog *b);

/*
 * The next whole frames that have not been given yet, as far as they lie together, of at most
 * bytes_max; or one, whatever its size, if `given_bytes` is 0. An empty run: none. Nothing else is
 * lent.
 */
NODISCARD struct bytes backlog_take(struct backlog *b, size_t bytes_max);
void backlog_give_back(struct backlog *b); /* fine when nothing is lent */

/* At least as large as each frame that is there; one that is not there any more may count. */
static inline size_t backlog_largest(const struct backlog *b)
{
    return b->first == b->next ? 0 : b->largest;
}

/* Drops all frames; how many. The numbering goes on. */
uint64_t backlog_discard(struct backlog *b);
