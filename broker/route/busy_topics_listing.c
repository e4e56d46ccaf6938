/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/busy_topics_listing.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "cluster/table.h"

static struct busy_topics_listing *listing_of(struct errand *e)
{
    return table_object(e, struct busy_topics_listing, errand);
}

static void destroy(struct errand *e)
{
    free(listing_of(e));
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct busy_topics_listing *const l = listing_of(e);
    const struct busy_topics *const b = &s->busy_topics;
    ASSERT_OWNED(s);
    busy_topics_turn(&s->busy_topics, s->now_ms);
    for (unsigned i = 0; i < 2; i++) {
        const struct busy_sketch *const from = &b->windows[(b->current + i) % 2].sketches[l->by];
        memcpy(&l->sketches[i], from,
               offsetof(struct busy_sketch, all) + from->used * sizeof from->all[0]);
    }
    l->ms = busy_topics_ms(b, s->now_ms);
    return ERRAND_DONE;
}

struct busy_topics_listing *busy_topics_listing_create(enum busy_by by)
{
    struct busy_topics_listing *const l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->errand = (struct errand){.run = run, .destroy = destroy};
        l->by = by;
    }
    return l;
}
