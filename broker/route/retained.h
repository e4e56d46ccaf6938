/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained: the retained messages of the index parts that one shard owns, in order of their topics
 * ('/' sorts before every other character), so that a wildcard lookup seeks instead of scanning.
 *
 * Owner: one shard. Memory: a reference to each message, and the tree's nodes. The bound on their
 * number is the caller's (retained_count()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct message;
struct retained;

struct retained *retained_create(void);    /* NULL when out of memory */
void retained_destroy(struct retained *r); /* gives the references back */

enum retained_err {
    RETAINED_OK = 0,
    RETAINED_NO_MEMORY,
};

/* Takes a reference of its own; replaces and gives back the topic's former one. *was_new: the topic
 * had none. */
NODISCARD enum retained_err retained_set(struct retained *r, struct message *message,
                                         bool *was_new);
bool retained_delete(struct retained *r, struct bytes topic); /* false: there was none */
struct message *retained_get(const struct retained *r, struct bytes topic); /* borrowed, or NULL */

/*
 * The next message, in order, whose topic matches the (valid, plain) filter and comes after the
 * topic `after` (empty: from the beginning). Looks at no more than *budget tree positions and
 * counts them off. RETAINED_FOUND: *message is borrowed; go on with its topic. RETAINED_PAUSED: the
 * budget is used up; go on later with *resume as `after` (copied into resume_buffer, 65535 bytes).
 * RETAINED_END: no more.
 */
enum retained_next { RETAINED_FOUND, RETAINED_PAUSED, RETAINED_END };
enum retained_next retained_next(const struct retained *r, struct bytes filter, struct bytes after,
                                 unsigned *budget, struct message **message, uint8_t *resume_buffer,
                                 size_t *resume_len);

size_t retained_count(const struct retained *r);

/* All of them, in order. `each` may replace the message by one of the same topic, and no more. */
typedef void retained_each_fn(void *context, struct message *message);
void retained_each(const struct retained *r, retained_each_fn *each, void *context);

/* Walks on a few steps each call and drops what has expired, each of which is shown first; returns
 * how many it dropped. */
typedef void retained_expired_fn(void *context, struct message *message);
unsigned retained_expire(struct retained *r, uint64_t now_ms, unsigned steps,
                         retained_expired_fn *expired, void *context);
