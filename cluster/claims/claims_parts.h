/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims_parts: what the files of claims have in common: claims.c, who is there, who owns what, and
 * time; holder.c, this node's clients; registry.c and owner.c, those that it owns; deputy.c, copies
 * of wills; feed.c, frames.
 * Not a public header.
 */
#pragma once

#include "cluster/claims/claims.h"
#include "cluster/claims/due.h"
#include "cluster/claims/list.h"
#include "cluster/table.h"

#define PEERS               (CLAIMS_PEERS_MAX + 1u) /* this node is the last one */
#define NOBODY              0xffu                   /* no peer */
#define PART_BIT(partition) (UINT64_C(1) << (partition))
#define PEER_BIT(peer)      (UINT64_C(1) << (peer))

/* ---- This node's clients */

struct hold_will {
    uint64_t delay_ms, gone_ms; /* GONE: when it was lost */
    struct list list;           /* of its partition: copies_due, copies_sent, copies; or in none */
    struct hold *hold;          /* NULL: it is over, and the deputy has to hear of that. Then: */
    uint64_t hash, serial, claim;
    uint32_t told;  /* part.copies_told when it was last told; 0: never */
    uint32_t frame; /* copies_sent: it went with that */
    uint32_t len;
    uint8_t bytes[];
};

struct hold {
    struct table_link link;
    struct list to_tell; /* in part.dirty, or part.sent, or in none: the owner knows */
    uint64_t serial, claim;
    struct hold_will *will; /* NULL: none */
    uint32_t frame;         /* part.sent: it went with that */
    uint16_t id_len;
    uint8_t kind; /* enum node_hold_kind, WANTS..ENDED */
    bool clean : 1;
    bool kicked : 1;
    uint8_t id[];
};

/* An ATTACH that is to be answered in time; it may have been. */
struct ask {
    struct list list;
    uint64_t due_ms;
    uint64_t hash, serial;
};

enum sync {
    SYNC_NEEDED = 0, /* the owner is to be told all, from BEGIN on */
    SYNC_WALKING,
    SYNC_ENDING, /* END has gone */
    SYNC_DONE,   /* what is in no list is known to it */
};

enum copies_sync {
    COPIES_NEEDED = 0, /* the deputy is to be told all, from COPIES_BEGIN on */
    COPIES_TELLING,
    COPIES_DONE,
};

/* ---- Those that this node owns */

enum record_state {
    RECORD_CLAIMING, /* wants to have it: in part.claiming */
    RECORD_CURRENT,  /* has it; while that is not heard, in a list of its peer */
    RECORD_KICKED,   /* is to be closed, in a list of its peer */
    RECORD_GONE,     /* its will is due later */
    RECORD_DONE,     /* its will is over, in a list of its peer */
    RECORD_COPY,     /* the will of a client whose holder owns it */
};

struct record_will {
    struct due due;
    struct record *record;
    struct claims_key whose;
    uint64_t delay_ms;
    uint64_t gone_due_ms; /* COPY: its client is lost, and that is its time; 0: it is there */
    uint32_t len;
    uint8_t bytes[];
};

/* What a holder has told of one client. */
struct record {
    struct table_link link;
    struct list list;
    uint64_t serial, claim;
    uint64_t since_ms;        /* CLAIMING: when it came */
    struct record_will *will; /* NULL: none */
    uint32_t round;           /* of the peer, when it was last told */
    uint16_t id_len;
    uint8_t peer;
    uint8_t former;       /* CURRENT: the peer that was kicked for it, or NOBODY */
    uint8_t state;        /* enum record_state */
    bool clean : 1;       /* it began a new session */
    bool unsure : 1;      /* CURRENT: see claims_grant */
    bool by_clean : 1;    /* KICKED: who has it now began a new session */
    bool was_current : 1; /* KICKED: it had been connected */
    uint8_t id[];
};

/* ---- A partition, from both sides */

struct part {
    uint8_t owner;     /* a peer, or CLAIMS_SELF */
    uint8_t appointed; /* likewise, or CLAIMS_BY_HASH */

    /* Holds, and what the owner knows of them. */
    struct table holds;
    struct list dirty, sent;
    enum sync sync;
    uint64_t told_generation; /* of which start, session and term of the owner that is */
    uint32_t told_session, told_term;
    uint64_t place, walk_hash, walk_serial; /* WALKING: up to there it is told */
    uint32_t end_frame;                     /* ENDING: END went with that */

    /* Wills of holds whose owner is this node, and what the deputy knows of them. */
    uint8_t deputy; /* a peer, or NOBODY */
    enum copies_sync copies_sync;
    uint32_t copies_told; /* how often all were to be told; from 1 on */
    struct list copies_due, copies_sent, copies;

    /* Records. */
    struct table records;
    uint32_t term;         /* another one each time that it comes to this node; 0: it is not here */
    uint64_t began_ms;     /* the term, or when the last of the peers came to live */
    uint64_t begun, ended; /* peers that have told all of theirs in this term: BEGIN, END */
    struct list claiming;  /* the eldest first */
    bool sweeping;         /* all records are to be looked at */
    uint64_t sweep_place;
};

struct peer {
    bool used, live, up, lost;
    struct node_uuid uuid;
    uint64_t generation; /* of its last connection; 0: none yet */
    uint64_t down_ms;    /* since when it is not up */

    /* It as a holder of what this node owns. A record is void if its round is too low: the peer was
     * lost after it, or has told all of the partition since, without it. */
    uint32_t round, lost_round;
    uint32_t begun_round[NODE_CLAIM_PARTITIONS], floor[NODE_CLAIM_PARTITIONS];
    uint32_t copies_begun[NODE_CLAIM_PARTITIONS], copies_floor[NODE_CLAIM_PARTITIONS];
    struct list owed, said; /* records: a word that is to be said; that was, and is not heard yet */
    bool owner_due;
    bool ack_due;
    uint32_t ack;

    /* It as the owner of what this node holds. */
    bool heard; /* on this connection */
    struct node_claim_owner words;
    uint32_t sent, acked; /* frames of holds and copies, on this connection */

    /* It as a deputy. */
    uint64_t copies_there, void_due; /* partitions: it has copies; and is to forget them */
};

struct claims {
    struct claims_conf conf;
    struct claims_events events;
    struct part parts[NODE_CLAIM_PARTITIONS];
    struct peer peers[PEERS];
    struct list asks, late_asks; /* of unreachable_ms; of answer_ms: by due_ms */
    size_t asks_count;
    uint64_t busy;    /* partitions that may have something to tell their owner */
    uint64_t copying; /* partitions that may have something to tell their deputy */
    uint64_t waiting; /* partitions that have claiming records */
    uint64_t stamp;
    uint32_t terms;
    uint64_t wall_ms;
    uint64_t retry_ms; /* 0: memory was there */
    struct dues dues;
    unsigned next_part; /* where the next frame of holds begins */
    struct claims_figures figures;
    uint8_t body[CLAIMS_BODY_MAX]; /* of the last claims_next() */
};

static inline struct part *part_of(struct claims *c, uint64_t hash)
{
    return &c->parts[node_claim_partition(hash)];
}

static inline unsigned part_number(const struct claims *c, const struct part *part)
{
    return (unsigned)(part - c->parts);
}

/* ---- claims.c */

/* Later than all that were heard of. */
uint64_t claims_stamp(struct claims *c);
void claims_heard(struct claims *c, uint64_t claim);

/* ---- holder.c */

void holder_fini(struct claims *c);

/* Can what there is of the partition be told to its owner now? */
bool holder_is_heard(struct claims *c, const struct part *part);

/* The owner is another one, or has forgotten: all is to be told anew. */
void holder_tell_all(struct claims *c, struct part *part);

/* The connection to the owner ended, or the owner says what it owns. */
void holder_interrupted(struct claims *c, struct part *part);
void holder_owner_is(struct claims *c, struct part *part, uint64_t generation, uint32_t session,
                     uint32_t term);

/* What there is to be told of it. */
void holder_item(const struct hold *h, uint64_t now_ms, struct node_hold *item);

/* The next item for the owner; false: none now. *hold is it, or NULL: BEGIN or END. Not `room`:
 * nothing has changed, and it comes again; else holder_told() is to follow. */
bool holder_next(struct claims *c, struct part *part, unsigned *steps, uint64_t now_ms,
                 struct node_hold *item, struct hold **hold);
void holder_told(struct part *part, struct hold *hold, uint8_t kind, uint32_t frame);
/* All that went up to that frame was taken. */
void holder_acked(struct claims *c, struct part *part, uint32_t frame);

/* What the owner says. */
void holder_word(struct claims *c, unsigned peer, const struct node_word *word);

/* Answers those that have waited for too long. */
void holder_turn(struct claims *c, uint64_t now_ms);

/* ---- registry.c: records, without a word of what they mean */

void registry_fini(struct claims *c);

/* What the peer has told under that serial; serials begin anew with each start, and what was lost
 * is over. */
struct record *registry_find(const struct claims *c, struct part *part, unsigned peer,
                             const struct node_hold *item);

/* The next record of the same id; NULL as `last`: the first. */
struct record *registry_next(struct part *part, uint64_t hash, struct bytes id,
                             const struct record *last);
struct record *registry_add(struct claims *c, struct part *part, unsigned peer,
                            const struct node_hold *item); /* NULL: no memory */
void registry_drop_will(struct claims *c, struct record *r);
void registry_remove(struct claims *c, struct part *part, struct record *r);

/* ---- owner.c */

enum claims_err owner_take(struct claims *c, unsigned peer, const struct node_hold *item,
                           uint64_t now_ms);

/* The next word for the peer; false: none. It has been said then. */
bool owner_word(struct claims *c, unsigned peer, struct node_word *word);

/* Does it count, and has its id? */
bool owner_has_id(const struct claims *c, const struct part *part, const struct record *r);

/* Its client is lost: its will is due later. */
void owner_gone(struct claims *c, struct record *r, uint64_t left_ms, uint64_t now_ms);
/* Its will is over: published, or cancelled. The record may be no more. */
void owner_will_over(struct claims *c, struct part *part, struct record *r, bool published);
/* `r` has the id no more: `by` has. */
void owner_supersede(struct claims *c, struct part *part, struct record *r,
                     const struct record *by);

void owner_term_begins(struct claims *c, struct part *part, uint64_t now_ms);
void owner_term_ends(struct claims *c, struct part *part);
void owner_lost(struct claims *c, unsigned peer); /* all that it had */
void owner_sweep(struct claims *c, struct part *part);
void owner_turn(struct claims *c, uint64_t now_ms);
uint64_t owner_next_ms(const struct claims *c);
bool owner_check(struct claims *c);

/* ---- deputy.c */

void deputy_part_init(struct part *part);
void deputy_part_fini(struct part *part); /* its holds are freed */

/* The hold has a will, and is there, or lost; that is over. */
void deputy_will(struct claims *c, struct part *part, struct hold *h);
void deputy_will_over(struct claims *c, struct part *part, struct hold *h);

void deputy_set(struct claims *c, struct part *part, unsigned deputy); /* or NOBODY */
void deputy_up(struct claims *c, unsigned peer);                       /* a connection has begun */

/* As holder_next(), holder_told(), holder_acked(). */
bool deputy_next(struct claims *c, struct part *part, uint64_t now_ms, struct node_hold *item,
                 struct hold_will **will);
void deputy_told(struct claims *c, struct part *part, struct hold_will *will, uint32_t frame);
void deputy_acked(struct claims *c, struct part *part, uint32_t frame);

/* An item of one of the kinds of copies has come. */
enum claims_err deputy_take(struct claims *c, unsigned peer, const struct node_hold *item,
                            uint64_t now_ms);

/* Of a COPY: it has not been told again; its holder is lost (false: it was removed); remove it. */
bool deputy_is_missing(const struct claims *c, const struct part *part, const struct record *r);
bool deputy_lose(struct claims *c, struct part *part, struct record *r, uint64_t now_ms);
void deputy_remove(struct claims *c, struct part *part, struct record *r);
