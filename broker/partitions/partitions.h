/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partitions: the partitions of client identifiers that this node has a replica of: each is a Raft
 * group (broker/groups) whose committed entries become records of the checkpoint, here as on each
 * other replica; and where this node leads, sessions besides.
 *
 *   ABSENT ── partition_serve() ─▶ FOLLOWS ── elected ─▶ REVIVES ── all sessions are there ─▶ LEADS
 *      ▲                            │  ▲                   │                                   │
 *      └────── partition_stop() ────┘  └─ another leader ──┴─ sessions are dropped, unsaid ────┘
 *
 *   events.applied ─▶ applier.h, a thread ─▶ store/apply.h ─▶ a batch, with the partition's place
 *                                                                │ on disk
 *   group_checkpointed() ◀───────────────────────────────────────┘
 *
 * The records are what was committed, whoever leads. Sessions of a leader are ahead of them, and
 * nothing of them but entries is ever written; so a leader that is none any more drops its sessions
 * at once, without a word to anybody, and is a follower already. To begin to lead is what a start
 * of the process is: all that was committed is written, and sessions are made of it, in parts,
 * while the shard runs (revive.c). Whoever was connected is not any more, by this node's clock.
 *
 * Owner of a partition: its home shard, node->partition_shard[p]; no call about one may come from
 * another thread, but where it says so. Memory: some 500 bytes a partition; while one is revived,
 * a part of its records of PARTITION_PART_BYTES; what the applier has (applier.h).
 * At the bound: a revival reads on when the shard has taken up what was read. Without memory for a
 * partition's sessions, or when an entry cannot be applied, the partition has failed here: it
 * stands still until the next start, and the others of its group go on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/groups/groups.h"
#include "broker/store/place.h"
#include "proto/node_meta.h"
#include "proto/nodiscard.h"

#define PARTITION_PART_BYTES  ((size_t)256 << 10)
#define PARTITION_SERVERS_MAX (2 * NODE_META_REPLICAS_MAX)

struct checkpoint;
struct message;
struct node;
struct session;
struct shard;

enum partition_err {
    PARTITION_OK = 0,
    PARTITION_NO_MEMORY,
    PARTITION_NO_DISK, /* nothing is kept, or not on disk */
    PARTITION_CORRUPT, /* what the journal, or the duty, has of it is none that is understood */
    PARTITION_STOPPED, /* what was promised in that incarnation is forgotten: not before the next
                          start */
    PARTITION_ERRS,
};

const char *partition_err_text(enum partition_err err);

enum partition_role {
    PARTITION_ABSENT,
    PARTITION_FOLLOWS,
    PARTITION_REVIVES, /* it is elected, and does not serve yet */
    PARTITION_LEADS,
    PARTITION_FAILED, /* until the next start */
};

const char *partition_role_text(enum partition_role role); /* "follows", … */

struct partition_conf {
    uint32_t incarnation; /* >= 1 */
    /* First those that it is a group of; behind them those that are to take over, and copy it
     * ahead. */
    struct groups_server servers[PARTITION_SERVERS_MAX];
    unsigned servers_count, newcomers_count;
    uint64_t self;    /* this node's number among them */
    uint64_t changed; /* index in META of the duty that this is by; kept with the partition */
    uint64_t begins;  /* partition_end() of the incarnation before, which it goes on from; 0: there
                       * was none, and what is here of one is erased */
    bool joins;       /* this node is one of those that are to take over */
    bool seal;        /* the incarnation is to end, when those can */
    uint64_t sealed;  /* partition_end(): it has ended there, as META has it; 0: not yet */
    uint64_t moved;   /* for hooks.held(); 0: nobody asks */
};

/* Opens the group, and follows from now on. That incarnation already: only what else is said there
 * is new. Another one: that ends here, and this goes on from it; where this node does not have all
 * of it, with a copy from the others. */
NODISCARD enum partition_err partition_serve(struct shard *s, unsigned number,
                                             const struct partition_conf *conf);

/* Closes the group, and erases what is here of the partition, when what was noted is on disk. */
void partition_stop(struct shard *s, unsigned number);

/* This node has gone by a duty of that index in META, also if it has nothing of the partition: it
 * is on disk some time after. */
void partition_note(struct shard *s, unsigned number, uint64_t changed);

/* > 0: it is led here in that term, its sessions are there, it serves. Any shard of this node's own
 * thread may ask for any partition: of another shard's it is of some moments ago. */
uint64_t partition_term(const struct shard *s, unsigned p);

/* That server, or, as 0, any is to lead; asked for once. false: nobody was. */
NODISCARD bool partition_transfer(struct shard *s, unsigned number, uint64_t to);

/* The highest op of that stream (below SERIAL_LOCAL_BELOW) that the partition has applied; 0: none
 * is known. From dispatch_run_lead() on, until dispatch_run_cease(). */
uint64_t partition_highest(const struct shard *s, unsigned p, uint64_t origin);

/* Is the session one of a partition that is being revived here? It stays until that is done. */
bool partition_revives(const struct session *session);

/* Is it an exchange, or a will, of a session that several nodes have, and has the partition, which
 * is led here, had it? Then it is not to be queued once more. If not, it has from now on. */
bool partition_is_repetition(struct shard *s, unsigned number, const struct message *m);

struct partition_state {
    enum partition_role role;
    uint32_t incarnation;  /* 0: none */
    uint64_t term, leader; /* leader: its number; 0: none is known. Of oneself, too */
    uint64_t applied;      /* index: committed, and known here */
    uint64_t checkpointed; /* index: on disk here */
    uint64_t changed;      /* see partition_conf */
    bool stands_still;     /* until it has a copy */
    uint64_t sealed;       /* partition_end(): the incarnation has ended; 0: it goes on */
    uint64_t sessions;     /* led here: kept ones */
    uint64_t queue_bytes;  /* of the applier, for all partitions */
    uint64_t tail_bytes;   /* of the group */
};
struct partition_state partition_state(const struct shard *s, unsigned number);

/* ---- What others do, when a partition changes hands here */

/* On the home shard; each may be NULL. */
struct partitions_hooks {
    /* dispatch_run_lead(), …_cease(), …_applied() (broker/dispatch/dispatch_run.h) */
    void (*lead)(struct shard *s, unsigned p, uint64_t term);
    void (*cease)(struct shard *s, unsigned p);
    void (*applied)(struct shard *s, unsigned p, uint64_t origin, uint64_t op);
    /* meta_run_report_sealed(), …_held() (broker/meta/meta_run.h) */
    void (*sealed)(struct shard *s, unsigned p, uint32_t incarnation, uint64_t end);
    void (*held)(struct shard *s, unsigned p, uint32_t incarnation, uint64_t moved);
};

struct partitions_conf {
    struct checkpoint *checkpoint;        /* borrowed until partitions_end() */
    struct groups_conf groups;            /* groups_conf_defaults(); all but `events` */
    const struct groups_events *meta;     /* of STORE_META's group; NULL: nobody asks */
    const struct partitions_hooks *hooks; /* NULL: those above */
    bool by_hand; /* there is no thread of the applier: partitions_work() is (tests) */
};

/* ---- The process */

/* Before the shards run, after what is on disk was read (node->places); node->replicas > 0. It
 * makes the groups (groups_create()), none of which is open. false: it has been logged. */
NODISCARD bool partitions_create(struct node *node, const struct partitions_conf *conf);

/* The shards have ended: what is applied is written, and the thread is gone. Fine without any. */
void partitions_end(struct node *node);
void partitions_destroy(struct node *node); /* the shards' sessions have gone; likewise */

/* by_hand: all that the applier has to do by now, which is due at partitions_work_ms(); but what
 * the checkpoint has not answered yet; and as by a crash, the checkpoint being closed: what is not
 * in it is lost. */
void partitions_work(struct node *node);
uint64_t partitions_work_ms(const struct node *node); /* 0: at once */
bool partitions_are_waiting(const struct node *node); /* the checkpoint has something to answer */
void partitions_crash(struct node *node);

/* ---- The loop */

void partitions_turn(struct shard *s);              /* behind groups_turn() */
uint64_t partitions_next_ms(const struct shard *s); /* when the next turn is due; 0: at once */

/* ---- Figures, of now; any thread */

enum partitions_gauge {
    PARTITIONS_LED,
    PARTITIONS_FOLLOWED,
    PARTITIONS_REVIVING,
    PARTITIONS_FAILED,
    PARTITIONS_SHOWN,
    PARTITIONS_QUEUE_BYTES = PARTITIONS_SHOWN, /* entries that wait for the applier */
    PARTITIONS_APPLIED,                        /* in all, as the following */
    PARTITIONS_BATCHES,
    PARTITIONS_BATCHES_FAILED,
    PARTITIONS_GAUGES,
};
uint64_t partitions_gauge(const struct node *node, enum partitions_gauge gauge);
