/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Until when no other server can lead. Each APPEND has the time at which the leader has sent it,
 * and an APPENDED has that of the latest that its sender has taken: from then on the sender votes
 * for nobody for election_ms, by a clock that began no sooner. Any majority that would elect
 * another leader has one of those in it.
 */
#include <string.h>

#include "cluster/consensus/consensus_parts.h"

/* Of election_ms, for clocks that do not run equally fast. */
#define MARGIN(election_ms) ((election_ms) / 8)

/* libraft takes it, as its term is not over. */
void lease_heard(struct consensus *c, uint64_t from, const struct node_consensus *append)
{
    if (append->term >= c->raft.current_term) {
        c->heard_from = from;
        c->heard_term = append->term;
        c->heard_ms = append->sent_ms;
    }
}

uint64_t lease_echo(const struct consensus *c, uint64_t to)
{
    return c->heard_from == to && c->heard_term == c->raft.current_term ? c->heard_ms : 0;
}

/* The place of that server; NULL: there are too many. */
static struct answered *place_of(struct consensus *c, uint64_t id)
{
    for (unsigned i = 0; i < CONSENSUS_SERVERS_MAX; i++) {
        if (c->answered[i].id == id || c->answered[i].id == 0) {
            return &c->answered[i];
        }
    }
    return NULL;
}

void lease_answered(struct consensus *c, uint64_t from, const struct node_consensus *appended)
{
    const uint64_t term = c->raft.current_term;
    if (c->raft.state != RAFT_LEADER || appended->term != term || appended->sent_ms > c->now_ms) {
        return;
    }
    if (c->answered_term != term) {
        memset(c->answered, 0, sizeof c->answered);
        c->answered_term = term;
    }
    struct answered *const a = place_of(c, from);
    if (a != NULL && appended->sent_ms >= a->sent_ms) {
        *a = (struct answered){.id = from, .sent_ms = appended->sent_ms};
    }
}

static uint64_t heard_of(const struct consensus *c, uint64_t id)
{
    if (id == c->conf.self) {
        return c->now_ms;
    }
    for (unsigned i = 0; c->answered_term == c->raft.current_term && i < CONSENSUS_SERVERS_MAX;
         i++) {
        if (c->answered[i].id == id) {
            return c->answered[i].sent_ms;
        }
    }
    return 0;
}

/* How many of those that vote have heard something that was sent at that time or later? */
static unsigned heard_since(const struct consensus *c, uint64_t sent_ms)
{
    const struct raft_configuration *const all = &c->raft.configuration;
    unsigned n = 0;
    for (unsigned i = 0; i < all->n; i++) {
        n += all->servers[i].role == RAFT_VOTER && heard_of(c, all->servers[i].id) >= sent_ms;
    }
    return n;
}

uint64_t consensus_lease_ms(const struct consensus *c)
{
    const struct raft_configuration *const all = &c->raft.configuration;
    if (!consensus_leads(c) || c->given_away_term == c->raft.current_term) {
        return 0;
    }
    unsigned voters = 0;
    for (unsigned i = 0; i < all->n; i++) {
        voters += all->servers[i].role == RAFT_VOTER;
    }
    uint64_t since = 0;
    for (unsigned i = 0; i < all->n; i++) {
        const uint64_t heard = heard_of(c, all->servers[i].id);
        if (all->servers[i].role == RAFT_VOTER && heard > since &&
            heard_since(c, heard) > voters / 2) {
            since = heard;
        }
    }
    return since == 0 ? 0 : since + c->conf.election_ms - MARGIN(c->conf.election_ms);
}

/* Before its start this server may have heard from a leader, which counts on it. */
bool lease_forbids_vote(const struct consensus *c, const struct node_consensus *vote)
{
    return vote->kind == NODE_VOTE && (vote->flags & NODE_CONSENSUS_DISRUPT) == 0 &&
           c->now_ms < c->started_ms + c->conf.election_ms;
}
