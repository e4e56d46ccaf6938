/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changed_topics: the topics whose retained message is another one than in the checkpoint, each
 * once, in the order in which they first changed.
 *
 * Owner: one shard. Memory: each topic and 40 bytes; changed_topics_bytes() tells, the bound is the
 * caller's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct changed_topic {
    struct table_link by_name;
    struct changed_topic *next;
    uint16_t len;
    uint8_t name[];
};

struct changed_topics {
    struct table table;
    struct changed_topic *first, *last;
    size_t bytes;
};

NODISCARD bool changed_topics_init(struct changed_topics *c); /* false: no memory */
void changed_topics_fini(struct changed_topics *c);

/* topic_hash: XXH3 of the topic (message.h). false: no memory, and it is not in. */
NODISCARD bool changed_topics_add(struct changed_topics *c, struct bytes topic,
                                  uint64_t topic_hash);

/* The one that changed first, or NULL; changed_topics_drop() takes it out. */
static inline const struct changed_topic *changed_topics_first(const struct changed_topics *c)
{
    return c->first;
}

static inline struct bytes changed_topic_name(const struct changed_topic *t)
{
    return bytes_of(t->name, t->len);
}

void changed_topics_drop(struct changed_topics *c); /* the first: there is one */

static inline size_t changed_topics_count(const struct changed_topics *c)
{
    return c->table.count;
}

static inline size_t changed_topics_bytes(const struct changed_topics *c)
{
    return c->bytes;
}
