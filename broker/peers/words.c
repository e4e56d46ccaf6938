/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads say to the shards: a list for each, the last one first, that anybody may add
 * to and the shard takes whole. */
#include "broker/peers/peers_parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/node.h"
#include "broker/shard/shard.h"
#include "broker/transport/tls_context.h"

static struct word *word_create(enum word_kind kind, unsigned number, struct bytes read)
{
    struct word *const w = malloc(sizeof *w + read.len);
    if (w != NULL) {
        *w = (struct word){
            .kind = kind, .facts.number = number, .wire = PEER_WIRE_NONE, .len = read.len};
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
    if (w != NULL) {
        peer_wire_close(w->wire);
        tls_context_put(w->trust);
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

void peers_arrived(struct peers *p, unsigned number, unsigned lane, struct peer_wire wire,
                   struct bytes read)
{
    assert(number < PEERS_MAX);
    assert(wire.fd >= 0);

    struct word *const w = lane < p->shard_count ? word_create(WORD_ARRIVED, number, read) : NULL;
    if (w == NULL) {
        peer_wire_refuse(wire, lane < p->shard_count ? NODE_CLOSE_NO_MEMORY : NODE_CLOSE_MALFORMED);
        return;
    }
    w->wire = wire;
    say(p, lane, w);
}

void peers_dialed(struct peers *p, unsigned number, unsigned lane, struct peer_wire wire)
{
    assert(number < PEERS_MAX);
    assert(lane < p->shard_count);

    struct word *const w = word_needed(WORD_DIALED, number);
    w->wire = wire;
    say(p, lane, w);
}

void peers_trust(struct peers *p, struct tls_context *now)
{
    for (unsigned i = 0; i < p->shard_count; i++) {
        struct word *const w = word_needed(WORD_TRUST, 0);
        w->trust = tls_context_take(now);
        say(p, i, w);
    }
}
