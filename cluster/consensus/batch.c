/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/consensus/consensus_parts.h"

#define BATCH_MAX 256u /* entries */

static void end_first(struct consensus *c, struct proposal **at, enum consensus_end end)
{
    struct proposal *const p = *at;
    *at = p->next;
    c->conf.events.proposed(c->conf.events.context, p->ticket, end);
    free(p);
}

static bool leads_as_then(const struct consensus *c)
{
    return c->raft.state == RAFT_LEADER && c->raft.current_term == c->batch.term;
}

/* An entry of the batch's place is of the batch, as long as this server leads in the same term. */
void batch_applied(struct consensus *c, uint64_t index)
{
    if (c->batch.first_left != NULL && c->batch.next == index && leads_as_then(c)) {
        c->batch.next++;
        end_first(c, &c->batch.first_left, CONSENSUS_COMMITTED);
    }
}

static void end_batch(struct consensus *c)
{
    while (c->batch.first_left != NULL) {
        end_first(c, &c->batch.first_left, CONSENSUS_UNKNOWN);
    }
}

void batch_end(struct consensus *c)
{
    end_batch(c);
    while (c->first_proposal != NULL) {
        end_first(c, &c->first_proposal, CONSENSUS_UNKNOWN);
    }
    c->last_proposal = &c->first_proposal;
    c->proposals_bytes = 0;
}

/* libraft tells of the first entry alone, so what it says is not looked at: batch_applied() does,
 * and whether this server still leads. */
static void on_first(struct raft_apply *request, int status, void *result)
{
    (void)request;
    (void)status;
    (void)result;
}

/* The first of those that wait, as many as go into a message. false: no memory; they wait on. */
static bool copy_some(struct consensus *c, struct raft_buffer bufs[BATCH_MAX], unsigned *n)
{
    size_t len = 0;
    *n = 0;
    for (struct proposal *p = c->first_proposal; p != NULL && *n < BATCH_MAX; p = p->next) {
        if (*n > 0 && len + NODE_ENTRY_BYTES + p->len > c->conf.message_bytes_max) {
            break;
        }
        bufs[*n] =
            (struct raft_buffer){.base = raft_malloc(p->len == 0 ? 1 : p->len), .len = p->len};
        if (bufs[*n].base == NULL) {
            return false;
        }
        memcpy(bufs[*n].base, p->bytes, p->len);
        len += NODE_ENTRY_BYTES + p->len;
        (*n)++;
    }
    return true;
}

/* The first n become the batch. */
static void take(struct consensus *c, unsigned n)
{
    struct proposal **last = &c->first_proposal;
    c->batch.first_left = c->first_proposal;
    for (unsigned i = 0; i < n; i++) {
        c->proposals_bytes -= (*last)->len;
        last = &(*last)->next;
    }
    c->first_proposal = *last;
    *last = NULL;
    if (c->first_proposal == NULL) {
        c->last_proposal = &c->first_proposal;
    }
}

static void begin(struct consensus *c)
{
    struct raft_buffer bufs[BATCH_MAX];
    unsigned n;
    const uint64_t next = raft_last_index(&c->raft) + 1;
    if (!copy_some(c, bufs, &n) ||
        raft_apply(&c->raft, &c->batch.request, bufs, n, on_first) != 0) {
        for (unsigned i = 0; i < n; i++) {
            raft_free(bufs[i].base);
        }
        return; /* the next turn tries again */
    }
    c->batch.next = next;
    c->batch.term = c->raft.current_term;
    take(c, n);
}

static void on_barrier(struct raft_barrier *request, int status)
{
    struct consensus *const c = request->data;
    (void)status;
    c->barrier_waits = false;
}

/* What earlier leaders have left is committed by an entry of this one's, so it begins with one that
 * says nothing. libraft (0.15) does not. */
static void begin_term(struct consensus *c)
{
    if (c->barrier_waits || c->barrier_term == c->raft.current_term) {
        return;
    }
    c->barrier.data = c;
    c->barrier_waits = raft_barrier(&c->raft, &c->barrier, on_barrier) == 0;
    if (c->barrier_waits) {
        c->barrier_term = c->raft.current_term;
    } /* else the next turn tries again */
}

void batch_go_on(struct consensus *c)
{
    if (consensus_leads(c)) {
        begin_term(c);
    }
    if (c->batch.first_left != NULL && !leads_as_then(c)) {
        end_batch(c);
    }
    if (!consensus_leads(c)) {
        batch_end(c);
    } else if (c->batch.first_left == NULL && c->first_proposal != NULL) {
        begin(c);
    }
}
