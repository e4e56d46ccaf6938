/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consensus: one log that a few servers agree on: a Raft group (Ongaro, 2014), by libraft, which
 * gets a disk, a network and a clock here that wait for nobody.
 *
 *   consensus_propose() ─▶ entry ══▶ the others ══▶ committed ─▶ events.apply, on each
 *
 * The disk is a run of records that the caller puts behind each other (events.write), as into a
 * shard's journal, and says how far they are durable (consensus_durable()). A server's term and
 * vote are such records too. libraft takes for granted that they are durable when it is answered;
 * here they are on their way then, and no message leaves before they have arrived. Since nobody
 * else can tell the difference, nothing waits for the disk but who asked.
 *
 * After a start the records are read back, in order, from the first, or from where they were
 * written again (consensus_write_again()), which makes those before void (consensus_recover()).
 * What the disk lost at the end was never told to anybody.
 *
 * What it promises:
 *   - events.apply is called for the same entries, at the same indexes, on all servers, and once in
 *     a start, behind the snapshot that was restored
 *   - a proposal of which events.proposed says CONSENSUS_COMMITTED is in the log for good, as long
 *     as a majority keeps its records. Of any other it is not known: it may come yet
 *
 * Messages may be lost, doubled, or overtake each other. They must come from whom they say.
 *
 * Proposals are passed to libraft a batch at a time, the next one when all of the last one is
 * committed: libraft (0.15) commits only when a majority has all that the leader has, so that
 * nothing would be as long as something new comes. What comes meanwhile makes the next batch.
 *
 * Owner: one thread. events are called from within these functions, and call none of them.
 * Memory: libraft's: all entries behind the last snapshot but trailing_max. What waits to be sent:
 * waiting_bytes_max; proposals that wait: proposals_bytes_max. At the bound: a message is dropped,
 * as by the network; a proposal refused (CONSENSUS_BUSY). Without memory libraft gives up:
 * consensus_has_failed(), and the caller makes the group anew from its records.
 * Time: any clock that does not go back, in ms.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_consensus.h"
#include "proto/nodiscard.h"

#define CONSENSUS_SERVERS_MAX 16u /* of a group that have a lease to give; others have none */

struct consensus;

enum consensus_err {
    CONSENSUS_OK = 0,
    CONSENSUS_NO_MEMORY,
    CONSENSUS_MALFORMED,  /* a message, or a record */
    CONSENSUS_NOT_LEADER, /* consensus_leader() may know who is */
    CONSENSUS_BUSY,       /* one is under way, or proposals_bytes_max of them wait */
    CONSENSUS_FAILED,     /* the group is to be made anew */
    CONSENSUS_LEADS,      /* another one has to lead first */
};

/* What became of a proposal. */
enum consensus_end {
    CONSENSUS_COMMITTED, /* and applied here */
    CONSENSUS_UNKNOWN,   /* this server leads no more, or was unmade */
};

struct consensus_events {
    /* Goes behind those before it; record is good until this returns. */
    void (*write)(void *context, struct bytes record);
    /* A message of the group, for that server's consensus_received(). */
    void (*send)(void *context, uint64_t to, struct bytes message);
    void (*apply)(void *context, uint64_t index, struct bytes entry);
    /*
     * What entries up to the last that was applied have come to, in a few bytes, into
     * *data by malloc(); it is kept in memory, sent whole, and a record holds it: so large states
     * say here where they are. false: not now.
     */
    bool (*snapshot)(void *context, struct bytes *data);
    /* That is what they have come to. false: it cannot be had, and the group has failed. */
    bool (*restore)(void *context, struct bytes data);
    void (*proposed)(void *context, uint64_t ticket, enum consensus_end end);
    void *context;
};

struct consensus_conf {
    uint64_t group; /* is part of each message */
    uint64_t self;  /* this server's id in it, >= 1 */
    uint64_t seed;  /* of what it leaves to chance */
    struct consensus_events events;

    unsigned heartbeat_ms;
    unsigned election_ms;       /* without a leader; up to twice that */
    unsigned install_ms;        /* until a snapshot is sent again */
    unsigned snapshot_every;    /* entries */
    unsigned trailing_max;      /* of them, kept behind one, for who is a little late */
    size_t message_bytes_max;   /* of entries, and of a batch; one at least goes */
    size_t waiting_bytes_max;   /* of messages that wait for the disk */
    size_t proposals_bytes_max; /* that wait for a batch */
};

/* All but group, self, seed and events. */
struct consensus_conf consensus_conf_defaults(void);

NODISCARD struct consensus *consensus_create(const struct consensus_conf *conf); /* NULL: memory */
/* What was proposed is told of. NULL is fine. */
void consensus_destroy(struct consensus *c);

/* ---- The start: what the disk has, or what the group begins with; then consensus_start(). */

NODISCARD enum consensus_err consensus_recover(struct consensus *c, struct bytes record);

/* Before the start: the records have no servers, and this one has voted for nobody. So it is as if
 * there were none, also where a bootstrap was torn. */
bool consensus_is_blank(const struct consensus *c);

/* There was nothing, and this server is one of the first, who all say the same: node_server items.
 * One that is to be added by others, later, begins with nothing. */
NODISCARD enum consensus_err consensus_bootstrap(struct consensus *c, struct bytes servers);

/* As consensus_bootstrap(), where the log goes on from what another group has come to: its last
 * entry was at `index`, > 0, of `term`, > 0, and `data` is what a snapshot of it would be. Terms go
 * on from there, too. */
NODISCARD enum consensus_err consensus_bootstrap_behind(struct consensus *c, struct bytes servers,
                                                        uint64_t index, uint64_t term,
                                                        struct bytes data);

NODISCARD enum consensus_err consensus_start(struct consensus *c, uint64_t now_ms);

/* ---- The disk */

uint64_t consensus_written(const struct consensus *c); /* records, in this start */
void consensus_durable(struct consensus *c, uint64_t written, uint64_t now_ms);

/*
 * Writes what all records so far come to once more: they are void when these are durable, and only
 * then. CONSENSUS_BUSY: not now, as another server's snapshot is being taken. Any other error:
 * nothing of it counts, though some may have been written.
 */
NODISCARD enum consensus_err consensus_write_again(struct consensus *c);

/* Of the last snapshot that the records have; before the start too. Empty: there is none. */
struct bytes consensus_snapshot(const struct consensus *c);

/* ---- The others. Any bytes are fair input. */

NODISCARD enum consensus_err consensus_received(struct consensus *c, uint64_t from,
                                                const struct node_consensus *message,
                                                uint64_t now_ms);

/* ---- Proposals */

/* ticket: for events.proposed, which comes once if it is CONSENSUS_OK. */
NODISCARD enum consensus_err consensus_propose(struct consensus *c, struct bytes entry,
                                               uint64_t ticket, uint64_t now_ms);

/* That server, or, as 0, any, is to lead; it is asked for once. There is no lease from now on,
 * until there is another term. */
NODISCARD enum consensus_err consensus_transfer(struct consensus *c, uint64_t to, uint64_t now_ms);

/* ---- Who its servers are. One change at a time, each an entry of the log (Ongaro, 4.1). */

/*
 * That server is to have that role, NODE_SERVER_NONE: none any more. One that is not known comes in
 * as NODE_SERVER_SPARE, whatever was asked for, and is asked for again. A voter-to-be first gets
 * what it lacks. CONSENSUS_OK: it is under way, or is so already; whether it was, is in
 * consensus_servers() later: it may fail, and is then asked for again.
 * CONSENSUS_BUSY: another change is under way.
 */
NODISCARD enum consensus_err consensus_change(struct consensus *c, uint64_t id,
                                              enum node_server_role role, uint64_t now_ms);

/* Those that it goes by now, whether that is committed or not: node_server items, into `out`; the
 * length. NULL: only that. */
size_t consensus_servers(const struct consensus *c, uint8_t *out);

/* ---- Time */

void consensus_turn(struct consensus *c, uint64_t now_ms);
uint64_t consensus_next_ms(const struct consensus *c);

/* ---- Figures */

bool consensus_has_failed(const struct consensus *c);
bool consensus_leads(const struct consensus *c);
uint64_t consensus_leader(const struct consensus *c); /* 0: it is not known */

/*
 * Until that time no other server can have been elected, provided that this one leads: a majority
 * has heard from it in the last election_ms, and who has votes for nobody else that long, nor in
 * the first election_ms of a start. 0: that is not so. All clocks run equally fast, within a tenth.
 */
uint64_t consensus_lease_ms(const struct consensus *c);

struct consensus_figures {
    uint64_t term, last, committed, applied; /* indexes */
    uint64_t snapshots, restored;
    uint64_t sent, dropped; /* messages; dropped: at the bound */
};
struct consensus_figures consensus_figures(const struct consensus *c);
