/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/meta/listing.h"

#include <stdlib.h>

#include "broker/meta/meta_parts.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

/* ---- members */

static struct members_listing *members_of(struct errand *e)
{
    return (struct members_listing *)(void *)((char *)e - offsetof(struct members_listing, errand));
}

static enum errand_step list_members(struct shard *s, struct errand *e)
{
    struct members_listing *const l = members_of(e);
    const struct meta_run *const r = s->node->meta_run;
    if (r != NULL) {
        l->number = meta_own_number(r);
        l->leader = r->leads ? l->number : r->leader;
        l->applied = r->applied;
        l->state = r->state;
    }
    return ERRAND_DONE;
}

static void free_members(struct errand *e)
{
    free(members_of(e));
}

struct members_listing *members_listing_create(void)
{
    struct members_listing *const l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->errand = (struct errand){.run = list_members, .destroy = free_members};
    }
    return l;
}

/* ---- partitions */

static struct partitions_listing *partitions_of(struct errand *e)
{
    return (struct partitions_listing *)(void *)((char *)e -
                                                 offsetof(struct partitions_listing, errand));
}

static enum errand_step list_partitions(struct shard *s, struct errand *e)
{
    struct partitions_listing *const l = partitions_of(e);
    for (unsigned p = 0; s->node->partitions != NULL && p < NODE_META_PARTITIONS; p++) {
        if (s->node->partition_shard[p] == s->id) {
            l->rows[l->count].partition = p;
            l->rows[l->count++].state = partition_state(s, p);
        }
    }
    return ERRAND_DONE;
}

static void free_partitions(struct errand *e)
{
    free(partitions_of(e));
}

struct partitions_listing *partitions_listing_create(void)
{
    struct partitions_listing *const l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->errand = (struct errand){.run = list_partitions, .destroy = free_partitions};
    }
    return l;
}
