/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard: one thread's world: its ring, connections, sessions, timers, and mail to the other shards.
 *
 * Owner: the shard's thread; while that sleeps, whoever has laid claim to the shard, who leaves
 * `io` and `awake` alone (shard/visit.h). Besides, others touch the mailboxes (each has one
 * producer), the claim, and read the metrics. What several modules of the shard use stands here;
 * what the loop does with it, in broker/shard/loop.h.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/auth/acl_file.h"
#include "broker/config/config.h"
#include "broker/fifo.h"
#include "broker/histogram.h"
#include "broker/image.h"
#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/recorder/recorder.h"
#include "broker/route/busy_topics.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/will.h"
#include "broker/shard/claim.h"
#include "broker/shard/errand.h"
#include "broker/shard/latency.h"
#include "broker/shard/post.h"
#include "broker/shard/wheel.h"
#include "broker/store/difference.h"
#include "broker/store/format.h"
#include "broker/tally.h"
#include "broker/transport/transport.h"
#include "cluster/table.h"

struct ban_list;
struct capture;
struct conn;
struct dispatching;
struct flapping;
struct shard_groups;
struct inquiry;
struct io;
struct ledger;
struct match_cache;
struct message;
struct ownership;
struct password_file;
struct publication;
struct relays;
struct remote;
struct retained;
struct store;
struct token_keys;

/* A FIFO of connections, through one of their links. */
struct conn_list {
    struct conn *first, *last;
};

/* A message that the shard itself has to route: a will, or a shared delivery without a member. */
struct due {
    struct due *next;
    struct message *message; /* a reference */
    uint64_t group_id;       /* to a member of this group only; 0: to all that match */
    uint64_t except;         /* not to this subscription_id */
    unsigned hidden;         /* from so many members of the group, as they may not see it */
    uint64_t publisher_hash;
};

/* Scratch of one delivery (route/deliver.c). */
struct deliver_scratch {
    struct recipient *recipients;
    size_t count, capacity;
};

struct shard {
    struct node *node;
    unsigned id; /* also its thread number for the index and its reclamation */
    struct io *io;
    struct wheel *wheel;
    struct metrics metrics;
    struct tally tally;
    struct histograms histograms;
    struct latency latency;
    struct recorder recorder;
    struct busy_topics busy_topics;
    uint64_t busiest_ms; /* when all clients were last looked at (session/busiest.h); 0: never */

    uint64_t now_ms;             /* as of this turn */
    uint64_t began_us;           /* when this turn began, with what came first; 0: it has not */
    const struct config *config; /* as of this turn */
    bool awake;                  /* online for reclamation, now_ms fresh; see shard_enter() */
    bool leaving;          /* nobody comes in any more, and clients are told to go, by and by */
    bool ending;           /* clients were told; the loop ends when all are gone */
    bool cut_off;          /* clients that did not go by themselves were */
    uint64_t ending_by_ms; /* then what is left is cut off */
    uint64_t expire_retained_ms; /* next time */
    unsigned lookup_positions; /* that look-ups of retained messages may still walk in this turn */
    struct listening {
        int fd;
        uint8_t paused; /* enum shard_paused, or'ed */
        bool accepting; /* as the io has it */
    } listening[CONFIG_LISTENERS_MAX];
    unsigned listener_count;
    bool paced;                /* one connection is accepted at a time (guard/pace.h) */
    struct timer accept_again; /* when there is room under connections_per_second again */
    unsigned hellos; /* in `costly` and `returning`; with many no TLS connection is accepted */
    bool tls_paused;
    bool memory_full; /* message_memory_max was reached when this turn began */
    /* What has been done since the start, about, in steps of some tens of nanoseconds: levels and
     * filters matched, deliveries, filters subscribed to. Who causes much has to let others go on.
     */
    uint64_t work;
    /* What unread input, unsent output, and subscriptions may each take here: of all shards
     * together a quarter of message_memory_max. */
    uint64_t memory_share;
    uint64_t random_state[4];

    struct table sessions;       /* by client identifier */
    struct table filters;        /* struct local_filter by name, and id */
    struct table subscriptions;  /* those with a record, by session and filter */
    uint64_t subscription_bytes; /* of filters and subscriptions, about; <= memory_share */
    _Atomic uint64_t subscribed; /* subscriptions, and of them shared ones; read by all, relaxed */
    _Atomic uint64_t subscribed_shared;
    struct table members;      /* struct share_member by subscription_id */
    struct table replays;      /* those under way, by session and filter */
    struct retained *retained; /* of the index parts that this shard writes */
    uint64_t next_serial;      /* sessions and shared subscriptions; unique over all shards */

    struct conn_list all;       /* every connection */
    struct conn_list dirty;     /* with output to be sent at the end of the turn */
    struct conn_list ready;     /* with input or work that can go on */
    struct conn_list stalled;   /* publishers waiting for room */
    struct conn_list silent;    /* at a handshake, their turn; the one longest so first */
    struct conn_list costly;    /* whose TLS hello waits for its answer, which takes long */
    struct conn_list returning; /* the same, of clients that come back: not as long */
    struct conn_list unread;    /* that hold much input; the one longest without a packet first */
    uint64_t trust_generation;  /* node->trust_generation that connections are held against; */
    struct conn *trust_next;    /* the next one to be; NULL: all are */
    uint64_t unread_bytes;      /* held by all connections; <= memory_share, or a single one's */
    uint64_t unsent_bytes;      /* likewise; from memory_share on each may have little */
    struct due *due_first, *due_last;

    struct match match; /* scratch of one publish */
    struct match_cache *match_cache;
    struct deliver_scratch deliver;
    unsigned deliver_to; /* route/deliver.h: of partitions that others have, too, 1 + which */
    struct transport_scratch scratch;    /* of what a transport has decoded */
    struct image image;                  /* of the message that is being delivered to many */
    const struct password_file *users;   /* as of this turn; NULL: none are asked for */
    const struct token_keys *token_keys; /* likewise; NULL: tokens mean nothing */
    uint64_t users_generation;    /* node->users_generation that connections were held against */
    struct acl_file *acl;         /* as of this turn; NULL: there is none */
    uint64_t acl_generation;      /* of it, or of one before */
    uint64_t acl_bytes;           /* of views and clients' own rules; <= memory_share */
    struct acl_picked acl_picked; /* scratch (conn/access.c) */
    const struct ban_list *bans;  /* as of this turn; NULL: nobody is banned */
    uint64_t bans_generation;     /* node->bans_generation that connections were held against */
    struct flapping *flapping;    /* NULL: nobody was looked after yet */
    _Atomic(struct inquiry *) answers; /* the last one first; put there by login_answer() */

    /* What is kept on disk. Without a directory for it store and capture are NULL, and the rest is
     * at rest. */
    struct store *store;
    struct capture *capture;
    _Atomic bool disk_congested; /* store's: entries wait for room, and the disk works; read by any
                                    shard, relaxed: it may hear of it a turn later */
    struct difference difference;
    struct keeping keeping;
    struct backlogs backlogs;
    struct ledger *ledger; /* positions of journal and groups; NULL: the journal's alone */
    bool late_proposals;   /* the ledger's: much waits for groups */
    uint64_t settled;      /* ledger_kept() when it was last looked who waits for it */
    struct fifo promises;  /* route/promise.h's */
    uint64_t promised_set; /* shards, 1 << id, that have a ticket of this turn: */
    uint64_t promised[INDEX_SHARDS_MAX];
    struct fifo replies, receipts, received; /* conn/owed.h's, and: */
    struct fifo receipts_due;                /* complete, and about to be given */
    uint32_t receipts_remote;                /* in both: those that other nodes are waited for */
    uint32_t receipts_pass;
    bool receipts_news; /* a target has kept something since they were looked through */
    struct publication *publications; /* route/publication.h's: what waits to be kept */
    struct wills wills;
    uint64_t kept_by[INDEX_TARGETS_MAX]; /* the ticket up to which that target has kept all */
    uint64_t ticket;                     /* of the last message that a target had to keep */
    uint64_t route_waits; /* targets, 1 << id, that have to keep what publish_route() routed last */
    uint8_t
        route_reason;    /* enum mqtt_reason; of that: why it is not to be acknowledged; 0: it is */
    uint64_t route_ends; /* shards, 1 << id, to be told the ticket behind all records of it */
    bool route_several;  /* there may be several for a shard */
    const struct route_spares *route_spares; /* NULL but while store/revive.c routes */

    struct remote
        *remote; /* the other nodes, as far as this shard is concerned; NULL: a node alone */
    struct ownership *ownership;     /* of client identifiers in the cluster; NULL: a node alone */
    struct relays *relays;           /* connections that are here in part; NULL: a node alone */
    struct shard_groups *groups;     /* Raft groups; NULL: a node alone */
    struct dispatching *dispatching; /* to partitions of others; NULL: there are no replicas */
    struct post post;                /* mail to and from the other shards */
    struct errands errands;          /* of threads that are no shards */

    /* Where things are kept: by a part of a filter's id, how many kept sessions subscribe to such
     * filters (local_keeps()). NULL: nothing is kept. Read by all; release, acquire. */
    _Atomic uint32_t *kept_filters;
    _Atomic uint64_t checkpoint_ms;   /* when the newest that is on disk began; 0: there is none */
    _Atomic uint64_t unkept_since_ms; /* the oldest entry that is not on disk; UINT64_MAX: none */
    /* Written by the owner (release), read by those who finish a checkpoint (acquire); UINT64_MAX:
     * none. When the oldest began that is not over, on disk: exchange (owed.h), will (will.h). */
    _Alignas(64) _Atomic uint64_t exchanges_oldest_ms, wills_oldest_ms;

    _Alignas(64) struct claim claim; /* whose the shard is while its thread sleeps */
};

extern _Thread_local struct shard *shard_self; /* of the running thread */

#define ASSERT_OWNED(shard) assert((shard) == shard_self)

/* To be called first in whatever the kernel or another thread sets off. */
void shard_enter(struct shard *s);

/* Takes up what main may have replaced: config, users, tokens' keys, rules, bans. What they were
 * may be gone whenever the shard has passed a quiescent point. */
void shard_look(struct shard *s);

/* Accepts on the socket from now on, as that listener, which is the next one; before the shard
 * runs, or on its thread. Pausing, for whatever reason, leaves who comes in the kernel's backlog.
 */
enum shard_paused { PAUSED_HELLOS = 1, PAUSED_RATE = 2, PAUSED_ENDING = 4 };
void shard_listen(struct shard *s, unsigned listener, int fd);
void shard_pause(struct shard *s, unsigned listener, enum shard_paused why, bool paused);

/* The one connection was accepted that a paced shard had asked for: for the next one now, or when
 * PAUSED_RATE is over. */
void shard_accepted(struct shard *s, unsigned listener, bool over_rate);
void shard_set_paced(struct shard *s, bool paced);

uint64_t shard_random(struct shard *s); /* xoshiro256**, seeded by the kernel; not for secrets */

/* A number that no other session or shared subscription of this process has or had. */
static inline uint64_t shard_serial(struct shard *s)
{
    return s->next_serial++ * STORE_JOURNALS_MAX + s->id;
}

static inline void shard_count(struct shard *s, enum metric metric)
{
    metrics_add(&s->metrics, metric, 1);
}

/* A delivery, or a message that was published, goes no further. Whose it would have been, or was,
 * and its topic; empty where nobody knows. */
void shard_drop(struct shard *s, enum metric reason, struct bytes client_id, struct bytes topic);

/* Leaves a message to be routed in this turn, by the layer above (broker/route). Takes the
 * reference. */
void shard_due(struct shard *s, struct message *message, uint64_t group_id, uint64_t except,
               uint64_t publisher_hash);

/* The same, of a message that was hidden from so many of the group's members. */
void shard_due_again(struct shard *s, struct message *message, uint64_t group_id, uint64_t except,
                     uint64_t publisher_hash, unsigned hidden);

static inline bool shard_disk_is_congested(const struct shard *s)
{
    return atomic_load_explicit(&s->disk_congested, memory_order_relaxed);
}

/* Is there so much mail waiting, or so much to be written, that publishers have to wait? */
static inline bool shard_congested(const struct shard *s)
{
    return s->post.overflowed > 0 || shard_disk_is_congested(s) || s->late_proposals;
}
