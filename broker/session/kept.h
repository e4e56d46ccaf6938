/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept: a session that outlives the process. Each change of it that must not be forgotten is
 * written as an entry of its partition (broker/store/entry.h) when it happens, and is told to
 * anybody only when the entry is kept: its client's packets are answered after that (conn/owed.h),
 * and a QoS 2 message that was queued leaves after that (kept_may_send()), since its packet
 * identifier is the place it has in a queue that the next process has to have too. QoS 1 need not
 * wait: the worst is that it comes again.
 *
 *   session.c, on_*.c ── kept_…() ─▶ entry ─▶ store_append()      what is to be written now,
 *                               │         └──▶ partition_append()  where several nodes have it
 *                               └──▶ store/difference.h           what the checkpoint lacks
 *
 * Nothing here does anything for a session that is not kept: `kept` is NULL then.
 *
 * Owner: the session's shard. Memory: 64 bytes for each kept session, and as many while its client
 * is there; entries that gather (keeping) are bounded by what one turn does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/entry.h"
#include "broker/store/fields.h"
#include "broker/store/kept_link.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct backlog;
struct delivery;
struct local_filter;
struct message;
struct session;
struct shard;
struct subscribe_options;

/* So many deliveries of a session may be done, and not on disk as such, while new ones are sent:
 * the next process has all that was sent among the first ones of the queue. */
#define KEPT_DONE_AHEAD_MAX 1024u

/* What may be sent to a client that is there. Shut when it comes, as what was queued and done while
 * it was away may not be on disk yet. */
struct kept_gate {
    struct kept_link link; /* in keeping.gated: it has something to send that is not kept yet */
    struct session *session;

    uint64_t sendable; /* QoS 2 below that number is kept */
    uint64_t number;   /* … and below that one, when */
    uint64_t position; /* ledger_kept() is there; UINT64_MAX: the entry is still gathering */

    uint32_t done_new, done_old; /* deliveries that are done, and perhaps not on disk as such; */
    uint64_t done_position; /* done_old are, when ledger_kept() is there; UINT64_MAX: likewise */
};

struct kept {
    struct session *session;
    struct kept_link changed; /* in a list of difference.h */
    uint64_t stored_end;      /* the checkpoint has what is queued below that number */
    struct backlog *backlog;  /* owned; NULL: all of the queue is in memory (session/backlog.h) */
    struct kept_gate *gate;   /* owned; NULL: its client is away */
    uint64_t exchange;    /* of the last QoS 2 message that was received from the client for good */
    uint32_t spill_place; /* capture.c's: in the list of those to be spilled, plus 1; 0: not */
    bool filters_changed; /* it has others than the session's */
    bool is_over;         /* while its partition is revived: it is to end when that is done */
};

/* A shard's entries that are still gathering: one message for many, many acknowledgements. */
struct keeping {
    struct kept_link gated;        /* struct kept_gate: head */
    struct message *message;       /* that is being queued; a reference; NULL: none is */
    struct field_writer stored;    /* it, as bytes */
    uint64_t queued_set, done_set; /* partitions, 1 << number, whose writers have something */
    struct field_writer queued[64], done[64];
    struct field_writer entry;  /* scratch */
    uint64_t queued_count;      /* deliveries in all so far */
    size_t queued_head[64];     /* of queued[]: what stands before the recipients */
    uint64_t stream, operation; /* kept_operation() */
};

void keeping_init(struct keeping *k);
void keeping_fini(struct keeping *k);

/* ---- a session becomes one that is kept, or stops being one */

NODISCARD bool kept_begin(struct session *session);  /* false: no memory */
NODISCARD bool kept_attach(struct session *session); /* its client comes; false: no memory */
void kept_opened(struct session *session);           /* its client is connected; with its will */
void kept_closed(struct session *session);           /* not any more */
void kept_end(struct session *session);              /* it ends, or will not outlive the process */

/* It goes from memory, as another node has it now; nothing is written. */
void kept_vanish(struct session *session);
void kept_forget_gathered(struct shard *s, unsigned partition); /* what is not an entry yet */

/* ---- what changes in it */

void kept_subscribed(struct session *session, struct bytes filter,
                     const struct subscribe_options *options);
void kept_unsubscribed(struct session *session, struct bytes filter);
void kept_queued(struct session *session, const struct delivery *d); /* it is in the queue */

/* What is queued from now on is that operation of that source, which a partition that others have,
 * too, takes once (store/origins.h); 0: of none. */
void kept_operation(struct shard *s, uint64_t stream, uint64_t operation);

/* Of an exchange of QoS 2 with the client, or of the session's will: higher than all before it. */
uint64_t kept_number(struct session *session);

void kept_done(struct session *session, const struct delivery *d); /* about to go from there */
void kept_done_on_disk(struct session *session,
                       uint64_t number); /* likewise, from backlog.h's part */
void kept_released(struct session *session, const struct delivery *d); /* about to be */
/* Where others have the session, too: the client's QoS 2 message is about to be given to those who
 * want it, as that exchange. When that is kept it may be, and not before: the next leader has to
 * know, should the client send it again. false: no memory. */
NODISCARD bool kept_begun(struct session *session, uint16_t packet_id, uint64_t exchange);
/* The same of an earlier process, or leader; without an entry. */
NODISCARD bool kept_begun_before(struct session *session, uint16_t packet_id, uint64_t exchange);
/* As which exchange it was begun, and not received; 0: it was not. */
uint64_t kept_exchange_begun(const struct session *session, uint16_t packet_id);
void kept_received(struct session *session, uint16_t packet_id, uint64_t exchange);
void kept_freed(struct session *session, uint16_t packet_id);

/* ---- its will, on the way to those who get it (session/will.h); the session may have ended */

void kept_will_due(struct session *session, const struct message *m);
void kept_will_retained(struct shard *s, const struct message *m); /* of any other: nothing */
void kept_will_gone(struct shard *s, uint64_t serial, uint64_t client_hash, uint64_t number);

/* Does nobody wait for that shard to have the message on disk? If its disk is too slow for all that
 * comes, somebody does: a publisher that is answered at once would not hear of it. */
bool kept_hurries(const struct shard *keeper, const struct message *m);

/* ---- retained messages */

void kept_retained(struct shard *s, struct message *message);
void kept_unretained(struct shard *s, const struct message *message); /* by that one */

/* On the shard that has the cluster's: a topic has none, as of that version. */
void kept_buried(struct shard *s, struct bytes topic, uint64_t topic_hash,
                 const struct retained_version *version, bool waited_for);

/* ---- a shard's turn */

/* May this delivery leave? Otherwise the session is looked at again when it may. */
bool kept_may_send(struct session *session, const struct delivery *d);

void kept_flush(struct shard *s);          /* what gathered becomes entries */
bool kept_has_news(const struct shard *s); /* something has to be written that is not being */
void kept_settle(struct shard *s);         /* sessions whose turn has come may send */

/* For the disk; it points into scratch of the shard. */
void kept_delivery_of(const struct session *session, const struct delivery *d,
                      struct stored_delivery *stored);

/* The other way, with the message, whose reference it takes; NULL: it was released. of_group: the
 * group's name is still its hash. false: no memory. */
NODISCARD bool kept_delivery_make(struct message *message, const struct stored_delivery *stored,
                                  struct delivery *d);

/* A message as bytes, into `w` that is begun, with its time as the clock on the wall has it. */
void kept_message_write(const struct shard *s, struct field_writer *w, const struct message *m);

/* The other way; qos, retain and expiry too. NULL: no memory. */
struct message *kept_message_make(const struct shard *s, struct bytes in);

/* This time, by the clock on the wall, since 1970; and the other way. UINT64_MAX stays. */
uint64_t kept_wall_ms(const struct shard *s, uint64_t ms);
uint64_t kept_clock_ms(const struct shard *s, uint64_t wall_ms);
