/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox: records from one thread to one other, in order; a ring of bytes without locks.
 *
 * Owner: one producer thread and one consumer thread, each with its own functions.
 * Memory: one allocation, in mailbox_create(). A record lies in one piece, aligned to 16.
 * At the bound: mailbox_reserve() answers NULL; the producer keeps the record (shard/post.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct mailbox;

struct mailbox *mailbox_create(size_t bytes); /* a power of two, >= 256; NULL: no memory */
void mailbox_destroy(struct mailbox *m);

/* ---- the producer */
size_t mailbox_record_max(const struct mailbox *m);   /* a quarter of the ring */
void *mailbox_reserve(struct mailbox *m, size_t len); /* one at a time; NULL when full */
void mailbox_commit(struct mailbox *m); /* the reserved record is complete; not yet to be seen */
bool mailbox_publish(
    struct mailbox *m); /* shows all that was committed; false: there was nothing new */

/* ---- the consumer */
const void *mailbox_peek(struct mailbox *m, size_t *len); /* NULL when empty; valid until release */
void mailbox_release(struct mailbox *m);                  /* done with the record last peeked */

/* Has all been released that was shown? Any thread may ask. */
bool mailbox_is_empty(const struct mailbox *m);
