/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads say to the shards: a list for each, the last one first, that anybody may add
 * to and the shard takes whole. */
#include "broker/peers/peers_parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/node.h"
#include "broker/shard/shard.h"

static struct word *word_create(enum word_kind kind, unsigned number, struct bytes read)
{
    struct word *const w = malloc(sizeof *w + read.len);
    if (w != NULL) {
        *w = (struct word){.kind = kind, .facts.number = number, .fd = -1, .len = read.len};
        if (read.len > 0) {
            memcpy(w->read, read.at, read.len);
        }
    }
    return w;
}

static struct word *word_needed(enum word_kind kind, unsigned number)
{
    struct word *const w = word_create(kind, number, bytes_of(NULL, 0));
    if (w == NULL) {
        fputs("dunlin: out of memory for what shards are told of other nodes\n", stderr);
        abort();
    }
    return w;
}

void word_free(struct word *w)
{
    if (w != NULL && w->fd >= 0) {
        close(w->fd);
    }
    free(w);
}

/* Whoever finds the list empty wakes the shard; who comes after that finds it about to look. */
static void say(struct peers *p, unsigned shard, struct word *w)
{
    struct shard_peers *const sp = p->of[shard];
    struct word *first = atomic_load_explicit(&sp->come, memory_order_relaxed);
    do {
        w->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&sp->come, &first, w, memory_order_release,
                                                    memory_order_relaxed));
    if (first == NULL) {
        io_wake_external(p->conf.node->shards[shard]->io);
    }
}

struct word *words_take(struct shard_peers *sp)
{
    if (atomic_load_explicit(&sp->come, memory_order_relaxed) == NULL) {
        return NULL;
    }
    struct word *w = atomic_exchange_explicit(&sp->come, NULL, memory_order_acquire);
    struct word *in_order = NULL;
    while (w != NULL) {
        struct word *const next = w->next;
        w->next = in_order;
        in_order = w;
        w = next;
    }
    return in_order;
}

void peers_tell(struct peers *p, const struct peer_facts *facts)
{
    assert(facts->number < PEERS_MAX);
    assert(facts->lanes >= 1);
    assert(facts->lanes <= p->shard_count);

    for (unsigned i = 0; i < p->shard_count; i++) {
        struct word *const w = word_needed(WORD_FACTS, facts->number);
        w->facts = *facts;
        say(p, i, w);
    }
}

void peers_arrived(struct peers *p, unsigned number, unsigned lane, int fd, struct bytes read)
{
    assert(number < PEERS_MAX);
    assert(fd >= 0);

    struct word *const w = lane < p->shard_count ? word_create(WORD_ARRIVED, number, read) : NULL;
    if (w == NULL) {
        lane_refuse(fd, lane < p->shard_count ? NODE_CLOSE_NO_MEMORY : NODE_CLOSE_MALFORMED);
        return;
    }
    w->fd = fd;
    say(p, lane, w);
}

void peers_dialed(struct peers *p, unsigned number, unsigned lane, int fd)
{
    assert(number < PEERS_MAX);
    assert(lane < p->shard_count);

    struct word *const w = word_needed(WORD_DIALED, number);
    w->fd = fd;
    say(p, lane, w);
}
