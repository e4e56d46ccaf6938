/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core: what a membership is made of, for the files of this folder; others have membership.h.
 *
 *   members.c   the table: slots, who lives and who does not, by UUID
 *   rumours.c   what is to be told, and how often it was
 *   words.c     what is said about members, and what follows from it: all rules are there
 *   probe.c     pings, answers, pings for others, awareness of itself
 *   exchange.c  all that is known, by a stream; the dead are tried once more
 */
#pragma once

#include "cluster/membership/membership.h"
#include "cluster/membership/suspicion.h"
#include "cluster/splitmix.h"

#define NO_SLOT      UINT16_MAX
#define SELF         0u /* its slot */
#define ACCUSERS_MAX 8u /* that are kept of a suspicion; suspicion_mult - 1 at most */
#define TELLINGS_MAX 64u
#define NEVER        UINT64_MAX

/* A member, and what only this folder looks at. */
struct slot {
    struct member member; /* first: a slot is found by its member */
    struct incarnation
        attributes;      /* whose address, name and data there are: of that one, or an earlier,
                          * as "suspect", "dead" and "left" say who, and nothing else */
    uint16_t at;         /* in living[] or dead[]; NO_SLOT: it is free, or SELF */
    uint16_t suspect_at; /* in suspects[]; NO_SLOT: it is not one */

    uint16_t before, after; /* in the list of rumours of its tier; NO_SLOT */
    uint8_t told;           /* how often: its tier */
    bool is_rumour;

    uint8_t accusers_count;                  /* the first, and those who confirmed */
    struct node_uuid accuser;                /* the last: told with the rumour */
    struct node_uuid accusers[ACCUSERS_MAX]; /* [accusers_count] */
    struct suspicion_time time;              /* of a suspect */
    uint64_t suspected_ms, deadline_ms;      /* the same */
    uint64_t forget_ms;                      /* of a dead one, or one that left */
};

struct tier {
    uint16_t first, last;
};

struct probe {
    bool active;
    bool indirect; /* others have been asked */
    uint16_t slot;
    struct node_uuid node; /* the slot may be somebody else's by then */
    uint32_t seq;
    uint32_t nacks_wanted, nacks;
    uint64_t timeout_ms, deadline_ms;
};

/* A ping for somebody else. */
struct relay {
    uint32_t seq; /* ours; 0: free */
    uint32_t asked_seq;
    struct node_uuid asker;
    struct membership_via via;
    uint64_t nack_ms, end_ms;
    bool nacked;
};

struct membership {
    struct membership_conf conf;
    struct membership_shell shell;
    uint64_t random;
    struct membership_counters counters;

    struct slot *slots; /* [slots_count]; SELF first */
    uint32_t slots_count;
    uint16_t *free_slots; /* [free_count] */
    uint32_t free_count;
    uint16_t *index; /* [index_mask + 1]: slot, or NO_SLOT; linear probing */
    uint32_t index_mask;
    uint16_t *living; /* [living_count]: alive or suspect, but not SELF; the order of probes */
    uint32_t living_count;
    uint32_t next_probe; /* in living[]; <= living_count */
    uint16_t *dead;      /* [dead_count]: dead or left, in no order */
    uint32_t dead_count;
    uint16_t *suspects; /* [suspects_count] */
    uint32_t suspects_count;

    struct tier tiers[TELLINGS_MAX];
    uint32_t rumours_count;

    struct probe probe;
    struct relay relays[MEMBERSHIP_RELAYS_MAX];
    uint32_t relays_count;
    uint32_t seq;
    uint32_t awareness;
    bool leaving;
    uint64_t generation_heard; /* of this node, said by anybody; 0: none was */

    uint64_t probe_ms, gossip_ms, exchange_ms, reconnect_ms, tombstones_ms; /* next; or NEVER */
    uint64_t gossiped_ms;                                                   /* last */
};

/* The ways of the random. */
static inline uint64_t core_random(struct membership *m)
{
    return splitmix_next(&m->random);
}

static inline uint32_t core_below(struct membership *m, uint32_t bound)
{
    return (uint32_t)((core_random(m) >> 32) * bound >> 32);
}

static inline uint16_t core_slot_of(const struct membership *m, const struct slot *s)
{
    return (uint16_t)(s - m->slots);
}

/* That live, this node among them. */
static inline uint32_t core_members(const struct membership *m)
{
    return m->living_count + 1;
}

static inline bool core_is_living(const struct slot *s)
{
    return member_state_lives(s->member.state);
}

static inline uint64_t core_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* members.c */
struct slot *members_find(const struct membership *m, struct node_uuid node); /* NULL: none */
/* In no list yet, all but node being zero; NULL: there is no room for another in that state. */
struct slot *members_add(struct membership *m, struct node_uuid node, bool living);
/* false: there is no room among the living, and nothing has changed. */
NODISCARD bool members_set_state(struct membership *m, struct slot *s, enum member_state state,
                                 uint64_t now_ms);
void members_remove(struct membership *m, struct slot *s);
/* Random ones that live, not SELF nor `but`, each once; with `alive`, no suspects. How many. */
uint32_t members_pick(struct membership *m, uint16_t *out, uint32_t max, uint16_t but, bool alive);

/* rumours.c */
void rumours_add(struct membership *m, struct slot *s, uint64_t now_ms);
void rumours_drop(struct membership *m, struct slot *s);
struct gossip_word rumours_word(const struct slot *s);
/* As many as there is room for, those that were told the least first; each is told once more, and
 * so is the one that is in it already (NO_SLOT: none is). */
void rumours_fill(struct membership *m, struct gossip_writer *w, uint16_t put_already);
void rumours_gossip(struct membership *m, uint64_t now_ms);

/* words.c */
void words_apply(struct membership *m, uint64_t now_ms, const struct gossip_word *word,
                 struct node_uuid sender);
void words_suspect(struct membership *m, struct slot *s, struct node_uuid accuser, uint64_t now_ms);
void words_gone(struct membership *m, struct slot *s, uint64_t now_ms); /* a dead one, for good */
void words_suspects_due(struct membership *m, uint64_t now_ms);
uint64_t words_suspects_next(const struct membership *m);
/* This node counts its version up, and says so; false: it cannot. */
bool words_renew_self(struct membership *m, uint32_t above, uint64_t now_ms);

/* probe.c */
void probe_tick(struct membership *m, uint64_t now_ms);
uint64_t probe_next(const struct membership *m);
void probe_on_ping(struct membership *m, const struct membership_via *via, struct node_uuid sender,
                   const struct gossip *message);
void probe_on_ping_request(struct membership *m, uint64_t now_ms, const struct membership_via *via,
                           struct node_uuid sender, const struct gossip *message);
void probe_on_ack(struct membership *m, const struct membership_via *via, struct node_uuid sender,
                  const struct gossip *message);
void probe_on_nack(struct membership *m, const struct gossip *message);
void probe_awareness(struct membership *m, int32_t by);
void probe_stalled(struct membership *m, uint64_t late_ms);

/* exchange.c */
void exchange_send(struct membership *m, const struct membership_via *via, struct node_uuid to,
                   bool wants_state, uint64_t now_ms);
void exchange_tick(struct membership *m, uint64_t now_ms);
uint64_t exchange_interval_ms(const struct membership *m);
uint64_t exchange_reconnect_ms(struct membership *m);

/* membership.c */
void core_send(struct membership *m, const struct membership_via *via, struct node_uuid to,
               const struct gossip_writer *w);
void core_event(struct membership *m, enum membership_event event, const struct slot *s);
