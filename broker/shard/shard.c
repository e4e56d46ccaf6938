/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/shard.h"

#include "broker/io/io.h"

#include <stdlib.h>
#include <string.h>

#include "broker/conn/traced.h"
#include "broker/message.h"
#include "broker/shard/quiescence.h"

_Thread_local struct shard *shard_self;

void shard_enter(struct shard *s)
{
    ASSERT_OWNED(s);
    if (s->began_us != 0) {
        return;
    }
    const bool was_asleep = !s->awake;
    if (was_asleep) {
        claim_take(&s->claim);
        s->awake = true;
        quiescence_online(s->node->quiescence, s->id);
        shard_look(s);
    }
    s->began_us = s->node->clock_us();
    s->now_ms = s->began_us / 1000;
    busy_topics_turn(&s->busy_topics, s->now_ms);
    if (was_asleep) {
        latency_awake(s, s->began_us);
    }
}

void shard_look(struct shard *s)
{
    s->config = atomic_load_explicit(&s->node->config, memory_order_acquire);
    s->users = atomic_load_explicit(&s->node->users, memory_order_acquire);
    s->token_keys = atomic_load_explicit(&s->node->token_keys, memory_order_acquire);
    /* In this order: what is found out by newer rules is found out again, never the reverse. */
    s->acl_generation = atomic_load_explicit(&s->node->acl_generation, memory_order_acquire);
    s->acl = atomic_load_explicit(&s->node->acl, memory_order_acquire);
    s->bans = atomic_load_explicit(&s->node->bans, memory_order_acquire);
}

void shard_drop(struct shard *s, enum metric reason, struct bytes client_id, struct bytes topic)
{
    uint8_t both[NOTE_TEXT_MAX];
    shard_count(s, reason);
    if (s->recorder.tracing != NULL) {
        traced_drop(s, reason, client_id, topic);
    }
    if (!recorder_may(&s->recorder)) {
        return;
    }
    const size_t len = client_id.len < sizeof both ? client_id.len : sizeof both - 1;
    if (len > 0) {
        memcpy(both, client_id.at, len);
    }
    both[len] = '\0';
    recorder_write(&s->recorder, NOTE_DROPPED, (uint16_t)reason, NULL, 0, bytes_of(both, len + 1),
                   topic);
}

static uint64_t rotated(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

/* Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018. */
uint64_t shard_random(struct shard *s)
{
    uint64_t *x = s->random_state;
    const uint64_t result = rotated(x[1] * 5, 7) * 9;
    const uint64_t shifted = x[1] << 17;
    x[2] ^= x[0];
    x[3] ^= x[1];
    x[1] ^= x[2];
    x[0] ^= x[3];
    x[2] ^= shifted;
    x[3] = rotated(x[3], 45);
    return result;
}

void shard_due(struct shard *s, struct message *message, uint64_t group_id, uint64_t except,
               uint64_t publisher_hash)
{
    shard_due_again(s, message, group_id, except, publisher_hash, 0);
}

void shard_due_again(struct shard *s, struct message *message, uint64_t group_id, uint64_t except,
                     uint64_t publisher_hash, unsigned hidden)
{
    struct due *due = malloc(sizeof *due);
    if (due == NULL) {
        shard_drop(s, METRIC_drop_no_memory, bytes_of(NULL, 0), message_topic(message));
        message_put(message);
        return;
    }
    *due = (struct due){.message = message,
                        .group_id = group_id,
                        .except = except,
                        .publisher_hash = publisher_hash,
                        .hidden = hidden};
    if (s->due_last == NULL) {
        s->due_first = due;
    } else {
        s->due_last->next = due;
    }
    s->due_last = due;
}

/* ---- listeners */

static void adjust(struct shard *s, unsigned listener)
{
    struct listening *const l = &s->listening[listener];
    const bool wanted = l->paused == 0;
    if (wanted == l->accepting) {
        return;
    }
    l->accepting = wanted;
    if (!wanted) {
        io_listen_stop(s->io, listener);
    } else if (s->paced) {
        io_listen_once(s->io, listener, l->fd);
    } else {
        io_listen(s->io, listener, l->fd);
    }
}

void shard_listen(struct shard *s, unsigned listener, int fd)
{
    s->listening[listener] = (struct listening){.fd = fd};
    s->listener_count = listener + 1;
    adjust(s, listener);
}

void shard_pause(struct shard *s, unsigned listener, enum shard_paused why, bool paused)
{
    struct listening *const l = &s->listening[listener];
    l->paused = (uint8_t)(paused ? l->paused | why : l->paused & ~(unsigned)why);
    adjust(s, listener);
}

void shard_accepted(struct shard *s, unsigned listener, bool over_rate)
{
    struct listening *const l = &s->listening[listener];
    assert(s->paced);
    l->accepting = false; /* whichever accept it was of: io.h */
    if (over_rate) {
        l->paused |= PAUSED_RATE;
    }
    adjust(s, listener);
}

void shard_set_paced(struct shard *s, bool paced)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (s->listening[i].accepting) {
            s->listening[i].accepting = false;
            io_listen_stop(s->io, i);
        }
    }
    s->paced = paced;
    for (unsigned i = 0; i < s->listener_count; i++) {
        adjust(s, i);
    }
}
