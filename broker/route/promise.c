/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/promise.h"

#include "broker/conn/owed.h"
#include "broker/partitions/ledger.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"

struct promise {
    uint64_t position;
    uint64_t ticket;        /* when there is no job */
    struct retain_job *job; /* NULL: a ticket */
    uint8_t from;
    uint8_t result; /* enum retain_result, of the job */
};

struct post_kept {
    struct post_head head;
    uint64_t ticket;
};

static void add(struct shard *s, const struct promise *p)
{
    s->promises.item = sizeof *p;
    if (!fifo_push(&s->promises, p)) {
        store_out_of_memory();
    }
}

uint64_t promise_wait_for(struct shard *s, unsigned target)
{
    if (s->route_waits == 0) {
        s->ticket++;
    }
    s->route_waits |= UINT64_C(1) << target;
    return s->ticket;
}

void promise_ticket(struct shard *s, unsigned from, uint64_t ticket)
{
    s->promised[from] = ticket;
    s->promised_set |= 1ull << from;
}

void promise_retain(struct shard *s, unsigned from, struct retain_job *job,
                    enum retain_result result)
{
    const struct promise p = {
        .position = ledger_last(s), .job = job, .from = (uint8_t)from, .result = (uint8_t)result};
    s->store->wanted = true; /* it may have no entry, and hang on one that nobody waits for */
    add(s, &p);
}

/* What a message under a ticket became is waited for, if it became anything. */
void promise_end_turn(struct shard *s)
{
    for (; s->promised_set != 0; s->promised_set &= s->promised_set - 1) {
        const unsigned from = (unsigned)__builtin_ctzll(s->promised_set);
        const struct promise p = {
            .position = ledger_last_waited(s), .ticket = s->promised[from], .from = (uint8_t)from};
        add(s, &p);
    }
}

static void tell(struct shard *s, const struct promise *p)
{
    if (p->job != NULL) {
        publish_retain_kept(s, p->from, p->job, (enum retain_result)p->result);
    } else if (p->from == s->id) {
        owed_kept(s, s->id, p->ticket);
    } else {
        struct post_kept *const post = post_reserve(s, p->from, POST_KEPT, sizeof *post);
        post->ticket = p->ticket;
        post_commit(s, p->from);
    }
}

void promise_settle(struct shard *s)
{
    if (s->promises.count == 0) {
        return;
    }
    const uint64_t kept = s->store == NULL ? UINT64_MAX : ledger_kept(s); /* NULL: all ends */
    for (const struct promise *p; (p = fifo_first(&s->promises)) != NULL && p->position <= kept;) {
        const struct promise true_now = *p;
        fifo_pop(&s->promises); /* before it is told: that may promise more */
        tell(s, &true_now);
    }
}

bool promise_is_none(const struct shard *s)
{
    return s->promised_set == 0 && s->promises.count == 0;
}

void promise_on_kept(struct shard *s, unsigned from, const struct post_head *record)
{
    owed_kept(s, from, ((const struct post_kept *)(const void *)record)->ticket);
}
