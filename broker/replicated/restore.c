/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on disk, into the replica, before the shards run. A message and a grave of one topic are
 * of different journals (the topic's shard's, and shard 0's), one of which may have ended sooner:
 * the newer version counts. A message without a version is of before the node was in a cluster, or
 * of a start without one: it gets the lowest that there is, and has it from now on.
 */
#include <stdlib.h>

#include "broker/conn/publishable.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/replicated/replicated_parts.h"
#include "broker/route/retained.h"
#include "broker/store/difference.h"

struct restoring {
    struct replicated *r;
    struct shard *s; /* whose messages these are */
    bool failed;
    struct message **buried; /* of s, to be deleted */
    size_t count, capacity;
};

static void delete_later(struct restoring *to, struct message *m)
{
    if (to->count == to->capacity) {
        const size_t capacity = to->capacity == 0 ? 64 : 2 * to->capacity;
        struct message **const at = realloc(to->buried, capacity * sizeof(struct message *));
        if (at == NULL) {
            to->failed = true;
            return;
        }
        to->buried = at;
        to->capacity = capacity;
    }
    to->buried[to->count++] = message_take(m, 1);
}

/* NULL: no memory. */
static struct message *stamp(struct restoring *to, struct message *bare)
{
    const struct retained_version version = {
        .stamp = REPLICA_UNSTAMPED, .origin = to->r->self, .generation = to->r->generation};
    struct message *const m = message_with_version(message_take(bare, 1));
    bool was_new;
    if (m == NULL) {
        message_put(bare); /* what was taken */
        return NULL;
    }
    message_set_version(m, &version);
    const bool set = retained_set(to->s->retained, m, &was_new) == RETAINED_OK;
    message_put(m); /* the tree has it */
    if (set && to->s->store != NULL) {
        difference_topic(to->s, message_topic(m), m->topic_hash);
    }
    return set ? m : NULL;
}

static void on_message(void *context, struct message *m)
{
    struct restoring *const to = context;
    if (to->failed || publishable_is_own(message_topic(m))) {
        return;
    }
    m = m->versioned ? m : stamp(to, m);
    if (m == NULL) {
        to->failed = true;
        return;
    }
    const struct retained_version version = message_version(m);
    const struct grave *const grave = graves_find(&to->r->node->graves, message_topic(m));
    if (grave != NULL && retained_version_compare(&grave->version, &version) >= 0) {
        delete_later(to, m);
        return;
    }
    const uint64_t handle = (uint64_t)(uintptr_t)message_take(m, 1);
    to->failed =
        replica_restore(to->r->replica, message_topic(m), &version, false, handle) != REPLICA_OK;
}

static void delete_buried(struct restoring *to)
{
    for (size_t i = 0; i < to->count; i++) {
        struct message *const m = to->buried[i];
        (void)retained_delete(to->s->retained, message_topic(m));
        atomic_fetch_sub_explicit(&to->s->node->retained, 1, memory_order_relaxed);
        if (to->s->store != NULL) {
            difference_topic(to->s, message_topic(m), m->topic_hash);
        }
        message_put(m);
    }
    free(to->buried);
}

/* What has a message is newer, and the grave's record is to go. */
static bool bury(struct replicated *r, const struct grave *grave)
{
    struct shard *const s = r->node->shards[0];
    struct retained_version version;
    bool gone;
    if (!replica_look(r->replica, grave_topic(grave), &version, &gone)) {
        return replica_restore(r->replica, grave_topic(grave), &grave->version, true, 0) ==
               REPLICA_OK;
    }
    if (s->store != NULL) {
        difference_grave(s, grave_topic(grave), grave->link.hash);
    }
    return true;
}

bool restore_all(struct replicated *r)
{
    struct node *const node = r->node;
    bool failed = false;
    for (unsigned i = 0; i < node->shard_count && !failed; i++) {
        struct restoring to = {.r = r, .s = node->shards[i]};
        retained_each(to.s->retained, on_message, &to);
        delete_buried(&to);
        failed = to.failed;
    }
    size_t cursor = 0;
    for (struct grave *grave; !failed && (grave = graves_take(&node->graves, &cursor)) != NULL;) {
        failed = !bury(r, grave);
        free(grave);
    }
    if (!failed && node->graves.floor > 0) {
        replica_restore_floor(r->replica, node->graves.floor);
    }
    graves_fini(&node->graves);
    return !failed;
}
