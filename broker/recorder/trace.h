/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: what somebody watches while it happens: packets, beginnings, ends and drops of the clients
 * that he asked for, on all shards.
 *
 *   tracing_begin(), on each shard ─▶ tracing_whose(): who of them watches? ─▶ tracing_put() ─▶ a
 *                                     mailbox of each shard ─▶ trace_next(), of who watches
 *   trace_end(): a shard lets go of it in tracing_end(), or when it next puts something
 *
 * Owner: struct tracing is its shard's. A trace has a holder more for each shard that has it, and
 * is freed by the last one. One thread watches. Memory: TRACE_BYTES for a trace, all shards
 * together; with very many TRACE_SHARD_BYTES_MIN for each. At the bound: what there is no room for
 * is not kept, and counted. A shard never waits.
 */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/address_ranges.h"
#include "broker/recorder/recorder.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define TRACES_MAX            4u /* of a node, hence of a shard */
#define TRACE_BYTES           (2u << 20)
#define TRACE_SHARD_BYTES_MIN (64u << 10)

/* What an event has of each; more is cut off. */
#define TRACE_CLIENT_ID_MAX 256u
#define TRACE_TOPIC_MAX     1024u
#define TRACE_HEAD_MAX      1024u
#define TRACE_PAYLOAD_MAX   1024u

/* Which events: those that are all of what is set. */
struct trace_wanted {
    struct bytes client_id;    /* with * and ? (listing_matches()); at NULL: any, also none */
    struct bytes topic_filter; /* plain and valid; PUBLISH packets and drops of topics that it
                                  matches; at NULL: any event */
    bool has_address;
    struct address_range address; /* cut; not those by a Unix socket, or with no known client */
    bool payload;                 /* the first bytes of it */
};

/* Whose it is; the address is 0 where it is not known, or there is none. */
struct trace_party {
    const struct note_peer *peer; /* NULL: nobody's that is known */
    bool local;                   /* by a Unix socket */
    struct bytes client_id;       /* empty: it is not known yet */
};

struct trace_event {
    uint64_t at_us;      /* the node's clock, now: what comes first on another shard has less */
    enum note_kind kind; /* what `code` and `length` mean follows from it */
    uint16_t code;
    uint8_t version;      /* enum mqtt_version, of the connection */
    uint32_t length;      /* of a packet, all of it */
    struct bytes head;    /* packet_head() of a packet; or of what is none */
    struct bytes topic;   /* of a PUBLISH, whole where an alias stands for it, or a drop */
    struct bytes payload; /* of a PUBLISH */
};

/* The same, as it lies in the mailbox: client identifier, topic, head and payload, as far as they
 * were kept, stand behind it. */
struct trace_record {
    struct in6_addr address;
    uint64_t at_us;
    uint32_t length, payload_bytes; /* whole */
    uint16_t client_id_len, topic_len, head_len, payload_len;
    uint16_t topic_bytes; /* whole */
    uint16_t port, code;
    uint8_t kind, version, listener;
    bool has_peer, local;
    uint8_t text[];
};

struct trace;

/* The texts are copied. NULL: no memory. The caller is a holder. */
NODISCARD struct trace *trace_create(const struct trace_wanted *wanted, unsigned shards);
void trace_take(struct trace *t); /* a holder more; */
void trace_put(struct trace *t);  /* or less; any thread */
void trace_end(struct trace *t);  /* shards put nothing any more; any thread */
const struct trace_wanted *trace_wants(const struct trace *t);

/* The next one, of all shards' the oldest that there is; valid until the next call. *shard: whose.
 * NULL: none at the moment. */
const struct trace_record *trace_next(struct trace *t, unsigned *shard);

/* How many were not kept for want of room, since it was asked last. */
uint64_t trace_not_kept(struct trace *t);

/* ---- the shard's side */

struct tracing {
    struct trace *traces[TRACES_MAX]; /* NULL: a free place */
    unsigned shard;
};

/* Sets r->tracing. false: no memory, or no place. */
NODISCARD bool tracing_begin(struct recorder *r, unsigned shard, struct trace *t);
void tracing_end(struct recorder *r, const struct trace *t); /* if it has it */
void tracing_fini(struct recorder *r);                       /* all of them */

/* Those, 1 << place, that watch whoever this is. While r->tracing_generation stays they are the
 * same. */
uint8_t tracing_whose(const struct recorder *r, const struct trace_party *party);

/* For those of them that want such an event. Those that are over go; r->tracing may be NULL then.
 * Returns for how many there was no room. */
unsigned tracing_put(struct recorder *r, uint8_t whose, const struct trace_party *party,
                     const struct trace_event *event);
