/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node: what all shards of the process share.
 *
 * Owner: the main thread, which makes it before the shards run and unmakes it after. Meanwhile the
 * shards read it; the fields that change are atomic and say who writes them.
 */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/io/io.h"
#include "broker/replicated/graves.h"
#include "broker/route/index.h"
#include "broker/store/place.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define PARTITIONS                                                                                 \
    64u /* of the client identifiers; each belongs to one shard (design: a session's home) */

struct acl_file;
struct address_rate;
struct ban_list;
struct callbacks;
struct key_server;
struct config;
struct gate;
struct gossiper;
struct group_records;
struct leaders;
struct listener;
struct meta_run;
struct partitions;
struct password_file;
struct peers;
struct quiescence;
struct replicated;
struct scram_server;
struct shard;
struct sys_topics;
struct token_keys;

struct node {
    unsigned shard_count;
    struct shard *shards[INDEX_SHARDS_MAX];
    struct index *index;
    uint64_t seed;                 /* of the tables that clients choose the keys of; random */
    struct quiescence *quiescence; /* shard n is thread n of it, main is thread shard_count */
    uint64_t (*clock_ms)(void);    /* monotonic */
    uint64_t (*clock_us)(void);    /* the same, finer: clock_ms() is its thousandth part */
    uint32_t packet_bytes_kept;    /* the largest packet that fits into what is kept; 0: any does */
    int64_t wall_offset_ms; /* clock on the wall (since 1970) less clock_ms, as of the start */
    pthread_t main;         /* the thread that made it */
    struct address_rate *arrivals_by_address;
    uint8_t partition_shard[PARTITIONS];

    /* This node's number among the cluster's members; 0: it is none yet. META's to write, relaxed.
     */
    _Atomic uint32_t member;
    struct leaders *leaders;     /* of partitions (broker/dispatch); NULL: there are no replicas */
    struct cluster_uuid cluster; /* before the shards run; none: there is no cluster */

    /* Where each partition has its home: broker/relay's; by any thread, relaxed. */
    _Atomic uint8_t relay_home[PARTITIONS];

    /* Written by main (release), read by the shards once a turn (acquire). */
    _Atomic(const struct config *) config;
    _Atomic(struct password_file *) users;   /* NULL: nobody is asked for a password */
    _Atomic(struct token_keys *) token_keys; /* NULL: nobody is asked for a token */
    _Atomic uint64_t users_generation;       /* counts both of the above, after them */
    _Atomic(struct acl_file *) acl;          /* NULL: what clients may do is not limited */
    _Atomic uint64_t acl_generation;         /* counts the above, after it; 0: there was none */
    _Atomic uint64_t trust_generation; /* counts listeners' other client_ca and crl, after them */
    _Atomic(struct ban_list *) bans;   /* NULL: nobody is banned */
    _Atomic uint64_t bans_generation;  /* counts the above, after it */
    _Atomic bool serving;              /* the shards run; until then files are read */
    _Atomic uint32_t
        unheard; /* nodes, 1 << number, whose subscriptions are to come; shard 0's, relaxed */
    _Atomic int64_t clock_ahead_ms; /* of the other nodes' clocks, if far; shard 0's, relaxed */
    _Atomic uint32_t
        members_absent;       /* that are dead, and have no number; the gossip thread's, relaxed */
    _Atomic bool joining;     /* the cluster has not been found yet; the gossip thread's, relaxed */
    _Atomic int drain;        /* enum drain_phase; from DRAIN_LEAVING on shards let nobody in */
    _Atomic int drain_wanted; /* enum drain_wanted; set by anybody, who then wakes main */
    _Atomic uint32_t
        drain_rate; /* clients a second, of the drain that is wanted; 0: as configured */
    _Atomic bool leave_for_good; /* with the end of that drain; the others forget this node then */
    _Atomic bool drain_fixed;    /* main's: a signal has begun it, and nothing stops it */
    _Atomic uint32_t drain_per_second; /* main's: as it is in force */
    _Atomic bool ending;               /* shards say goodbye to their clients and stop */
    /* Of cluster/claims; shard 0's, relaxed. Identifiers of this node's clients; those that it
     * owns; of these, with wills; what both take. */
    _Atomic uint64_t claims_held, claims_owned, claims_wills, claims_bytes;
    _Atomic uint64_t message_memory_max, connections_max; /* limits in force, as figures */
    _Atomic uint32_t connections_per_second;              /* likewise; 0: any number */
    /* Unix time; 0: there is none. Main's to write: */
    _Atomic int64_t certificates_end_s; /* of the first of the listeners' to end */
    _Atomic int64_t cluster_certificate_end_s;

    /* Of a drain. Main adds those who may be told to go, shards take one away for each whom they
     * tell; relaxed. And how many shards do not look at their listeners any more (release). */
    _Atomic int64_t farewells;
    _Atomic unsigned deaf;
    _Atomic bool elsewhere; /* main's: there are other nodes, which take clients */

    /* The same of clients that are more than this node's share; set anew each second. */
    _Atomic int64_t sheds;

    _Atomic unsigned running; /* shards that still have connections; each counts itself out */

    /* Of the listeners that the shards' numbers of them mean; main's, before the shards run. */
    struct listener *listeners; /* [CONFIG_LISTENERS_MAX]; zeros: plain */
    unsigned listener_count;
    struct gate *gate;         /* judges passwords and tokens; NULL: there is nothing to judge by */
    struct gossiper *gossiper; /* knows the cluster; NULL: there is none */
    struct callbacks *callbacks;   /* asks a server; NULL: there is none */
    struct key_server *key_server; /* has tokens' keys; NULL: there is none */
    struct sys_topics *sys_topics; /* one shard's */
    struct scram_server *scram;    /* of the exchanges of all shards; NULL as `users` */
    struct peers *peers;           /* the other nodes; peers_create() sets it; NULL: no cluster */
    struct replicated *replicated; /* shard 0's, as all nodes have the retained ones; likewise */
    struct group_records *group_records; /* what the journals have; NULL: nothing is kept */
    unsigned replicas; /* of each partition of kept sessions; 0: this node has them alone.
                          node_create()'s, as configured */
    struct partition_place places[PARTITIONS]; /* as of the start; main's */
    struct partitions *partitions;             /* partitions_create() sets it; NULL as `replicas` */
    struct meta_run *meta_run;                 /* shard 0's; NULL as `replicas` */
    struct graves graves;                      /* of the start, until that has them; main's */

    /* Counted by all shards, relaxed, when a client comes or goes. */
    _Alignas(64) _Atomic int64_t connections; /* accepted and not yet closed */
    _Alignas(64) _Atomic int64_t handshakes;  /* connections that are at one */
    _Alignas(64) _Atomic int64_t clients;     /* CONNECT accepted */
    _Alignas(64) _Atomic int64_t sessions;
    _Alignas(64) _Atomic int64_t relays_near, relays_far; /* broker/relay; both are connections */
    _Alignas(64) _Atomic uint64_t arrivals;               /* of connections; as in guard/rate.h */
    _Alignas(64) _Atomic int64_t retained;
    _Alignas(64) _Atomic int64_t acl_bytes; /* of views and clients' own rules */
    _Atomic uint64_t heap_bytes;            /* sys_topics_tell_heap()'s; 0: not known */
    _Alignas(64) _Atomic int64_t kept_sessions;
    _Atomic int64_t deliveries_on_disk; /* that are nowhere else */
    _Alignas(64) _Atomic int64_t answers_owed;
    _Alignas(64) _Atomic int64_t wills_open; /* session/will.h */
    _Alignas(64) _Atomic int64_t journal_segments;
    _Alignas(64) _Atomic uint64_t api_requests; /* counted by admin's threads, relaxed */
    _Atomic uint64_t api_denied, api_busy;
    _Atomic int64_t traces; /* under way (recorder/trace.h); admin's threads, relaxed */
    _Alignas(64) _Atomic int disk_troubles; /* shards whose disk takes nothing now; why: */
    _Atomic int disk_error;                 /* errno of the last that has come to that */
};

struct node_conf {
    unsigned shard_count; /* 1..INDEX_SHARDS_MAX */
    uint64_t (*clock_ms)(void);
    uint64_t (*clock_us)(void);
    const struct config *config; /* borrowed until replaced */
    /* Makes a shard's io; tests have their own. */
    enum io_err (*create_io)(struct io **out, const struct io_handlers *handlers, void *context,
                             int *sys_errno);
};

/* Makes the node and its shards; nothing runs yet. IO_OK, or why not (also IO_NO_MEMORY). */
NODISCARD enum io_err node_create(struct node **out, const struct node_conf *conf, int *sys_errno);

/* No shard runs any more. Sessions, messages, everything goes. NULL is fine. */
void node_destroy(struct node *node);

/* All shards, which nobody else runs, until no mail is under way between them. */
void node_settle(struct node *node);

/* After a change that they are to see: each looks in its next turn, which comes at once. */
void node_wake_shards(struct node *node);

/* Something is there for main to take up. Any thread. It comes as a signal, which main waits for
 * anyway, and which is blocked everywhere. */
#define NODE_WAKE_SIGNAL SIGUSR2
void node_wake_main(const struct node *node);

/* The shard that a client identifier's session lives on. */
static inline unsigned node_shard_of(const struct node *node, uint64_t client_hash)
{
    return node->partition_shard[client_hash % PARTITIONS];
}
