/* SPDX-License-Identifier: Apache-2.0 */
/* consensus_parts: what its files have in common. Not for others. */
#pragma once

#include <raft.h>

#include "cluster/consensus/consensus.h"

/* What libraft has asked for and is not told the end of yet. It is told in consensus_turn() and the
 * other calls, never while it asks. */
enum waiting_kind {
    WAITING_SEND,
    WAITING_APPEND,
    WAITING_SNAPSHOT_PUT,
    WAITING_SNAPSHOT_GET,
};

struct waiting {
    struct waiting *next;
    enum waiting_kind kind;
    uint64_t after; /* so many records have to be durable */
    void *request;
    void (*told)(void); /* of the kind's type */
};

/* A message on its way out. */
struct outgoing {
    struct outgoing *next;
    uint64_t after;
    uint64_t to;
    size_t len;
    uint8_t bytes[];
};

/* An entry as the records have it. */
struct stored_entry {
    uint64_t term;
    uint8_t type;
    uint8_t *data; /* [len]; its own */
    size_t len;
};

struct stored_snapshot {
    uint64_t index, term, configuration_index; /* 0: there is none */
    uint8_t *configuration;                    /* node_server items */
    size_t configuration_len;
    uint8_t *data;
    size_t len;
};

/* What the records come to. Of entries only until the start, when libraft takes them. */
struct stored {
    uint64_t term, vote;
    struct stored_snapshot snapshot;
    uint64_t first; /* index of entries[0] */
    struct stored_entry *entries;
    size_t count, room;
};

/* Of who follows: when it was sent, by this server's clock, what it has last said to have heard. */
struct answered {
    uint64_t id, sent_ms;
};

struct proposal {
    struct proposal *next;
    uint64_t ticket;
    size_t len;
    uint8_t bytes[];
};

/* Those that libraft has: entries first .. first + count - 1, of which `done` have been applied. */
struct batch {
    struct raft_apply request;
    struct proposal *first_left; /* not applied yet; NULL: there is no batch */
    uint64_t next;               /* the index of that */
    uint64_t term;
};

struct consensus {
    struct consensus_conf conf;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb close;
    uint64_t now_ms, tick_ms; /* tick_ms: the next one */
    uint64_t random;
    bool started, failed;
    bool telling; /* libraft is told an end right now */

    struct stored stored;
    uint64_t next; /* index of the entry that is written next */
    uint64_t written, durable;
    uint64_t snapshot_written; /* the record of the last snapshot */
    uint64_t fenced; /* that of the last term or vote: no message leaves before it is durable */
    uint64_t matched_term, matched; /* in that term the log is its leader's, up to there */

    struct waiting *first_waiting, **last_waiting;
    struct outgoing *first_outgoing, **last_outgoing;
    size_t outgoing_bytes;

    struct proposal *first_proposal, **last_proposal; /* that wait for a batch */
    size_t proposals_bytes;
    struct batch batch;
    struct raft_barrier barrier; /* a leader's first entry */
    bool barrier_waits;
    uint64_t barrier_term; /* that of the last one */
    struct raft_transfer transfer;
    bool transferring;
    struct raft_change change;
    bool changing;

    /* Of the lease (lease.c): this server follows, and has heard that of the leader of that term;
     * it leads that term, and has heard from those; it has asked another one to lead in that term.
     */
    uint64_t heard_from, heard_term, heard_ms;
    uint64_t answered_term;
    struct answered answered[CONSENSUS_SERVERS_MAX];
    uint64_t given_away_term;
    uint64_t started_ms;

    uint64_t snapshots, restored, sent, dropped;
};

/* consensus.c: time goes on. Is there somebody to tell? */
NODISCARD bool consensus_is_running(struct consensus *c, uint64_t now_ms);
enum consensus_err consensus_err_of(int raft_err);

/* stored.c: records */
void stored_fini(struct stored *s);
void stored_drop_entries(struct stored *s);
NODISCARD enum consensus_err stored_read(struct stored *s, struct bytes record);
/* Write one. false: no memory. */
NODISCARD bool stored_write_term(struct consensus *c, uint64_t term);
NODISCARD bool stored_write_vote(struct consensus *c, uint64_t vote);
NODISCARD bool stored_write_entries(struct consensus *c, uint64_t first,
                                    const struct raft_entry *entries, unsigned count);
NODISCARD bool stored_write_truncate(struct consensus *c, uint64_t index);
NODISCARD bool stored_write_snapshot(struct consensus *c, unsigned trailing,
                                     const struct raft_snapshot *snapshot);
/* A log that begins behind that snapshot; texts are borrowed. */
NODISCARD bool stored_write_begin(struct consensus *c, const struct stored_snapshot *snapshot);
NODISCARD bool stored_write_again(struct consensus *c); /* all that the records come to */

/* words.c: messages and configurations, to and from libraft's */
NODISCARD bool words_configuration(struct raft_configuration *to, struct bytes servers);
/* The parts of one as libraft writes it: u8 1, u64 count, then of each server u64 id, its address
 * and a NUL, u8 role. */
struct cursor;
NODISCARD bool words_written_head(struct cursor *c, uint64_t *count);
NODISCARD bool words_written_server(struct cursor *c, uint64_t *id, uint8_t *role);
size_t words_servers(uint8_t *out, const struct raft_configuration *from); /* NULL: counted */
struct node_entry words_entry(const struct raft_entry *from);
NODISCARD bool words_queue(struct consensus *c, const struct raft_message *message);
NODISCARD enum consensus_err words_receive(struct consensus *c, uint64_t from,
                                           const struct node_consensus *message);
#define ADDRESS_BYTES 24u
void words_address(char out[ADDRESS_BYTES], uint64_t id);

/* lease.c */
void lease_heard(struct consensus *c, uint64_t from, const struct node_consensus *append);
void lease_answered(struct consensus *c, uint64_t from, const struct node_consensus *appended);
uint64_t lease_echo(const struct consensus *c, uint64_t to); /* for an APPENDED */
bool lease_forbids_vote(const struct consensus *c, const struct node_consensus *vote);

/* servers.c: Is it the only voter, as far as the records say? */
bool servers_only_self(const struct stored *s, uint64_t self);
/* Before entries that replace others, as this message has: those of the servers that go
 * with them. false: no memory. */
NODISCARD bool servers_roll_back(struct consensus *c, const struct node_consensus *message);

/* batch.c: proposals */
void batch_applied(struct consensus *c, uint64_t index); /* before or after: once each */
void batch_go_on(struct consensus *c);                   /* the next one, or the end of all */
void batch_end(struct consensus *c);                     /* of all, unknown */

/* io.c: what libraft calls */
void io_init(struct consensus *c);
void io_settle(struct consensus *c); /* tells libraft what has ended, and sends what may go */
bool io_is_appending(const struct consensus *c);
void io_cancel(struct consensus *c); /* tells it that nothing ends well */
