/* SPDX-License-Identifier: Apache-2.0 */
/*
 * errand: something that a thread which is no shard wants of one: to be looked up or done on the
 * shard's thread, a short step in each of its turns, while somebody waits for it for so long and no
 * longer.
 *
 *   errand_do() ─▶ s->errands ─▶ errands_turn(): run(), a step ─ ERRAND_MORE ─▶ behind the others
 *        │                                         ├ ERRAND_LATER ─▶ rests until is_ready()
 *        │                                         └ ERRAND_DONE ─▶ who waits
 *        └─ the time is over: the errand is the shard's alone, which drops it
 *
 * Owner: it has two holders, who waits and the shard; the last one destroys it. Until errand_do()
 * comes back it is the shard's; after ERRAND_ANSWERED, the waiter's.
 * Memory: on the heap, the caller's to make; what it carries belongs to it.
 * At the bound: ERRANDS_MAX of a shard, those nobody waits for any longer among them:
 * ERRAND_BUSY.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct shard;

#define ERRANDS_MAX 32u

enum errand_step {
    ERRAND_DONE,
    ERRAND_MORE,  /* again in the next turn, which comes at once */
    ERRAND_LATER, /* again when is_ready(), which is asked once a turn */
};

struct errand {
    /* On the shard's thread. Not called any more once nobody waits. */
    enum errand_step (*run)(struct shard *s, struct errand *e);
    bool (*is_ready)(const struct shard *s, const struct errand *e); /* after ERRAND_LATER */
    void (*destroy)(struct errand *e);                               /* frees it; any thread */

    /* ---- errand.c's own */
    struct errand *next;
    sem_t told;
    _Atomic bool answered;  /* by the shard (release), read by who waits (acquire) */
    _Atomic bool abandoned; /* the other way; relaxed: it may be run in vain */
    _Atomic unsigned holders;
};

/* Of a shard. */
struct errands {
    _Atomic(struct errand *) come; /* the last one first; put there by any thread */
    struct errand *first, *last;   /* the shard's: those that are under way */
    struct errand *resting;        /* likewise, that wait for something else */
    _Atomic unsigned count;        /* all that the shard holds */
};

enum errand_result {
    ERRAND_ANSWERED,
    ERRAND_BUSY, /* the shard has too many, or runs no more */
    ERRAND_LATE, /* it has not come to it in time */
};

/* One holder more: what the errand has set in motion points to it. */
void errand_take(struct errand *e);

/* run and destroy are set. Any thread but a shard's: it waits, `within_ms` at most. It is the
 * caller's to errand_put() afterwards, whatever came of it; and to read after ERRAND_ANSWERED only.
 */
NODISCARD enum errand_result errand_do(struct shard *s, struct errand *e, unsigned within_ms);
void errand_put(struct errand *e);

/* ---- the shard's side */

void errands_turn(struct shard *s);   /* a step, of one */
void errands_settle(struct shard *s); /* at the end of a turn: are those ready that rest? */
bool errands_are_waiting(const struct shard *s);
void errands_close(struct shard *s); /* the shard runs no more; further ones are refused */
