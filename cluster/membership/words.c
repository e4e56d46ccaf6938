/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words: what is said about members, and what follows. Of two words about a member the one of the
 * higher incarnation counts; of one incarnation the stronger: alive, suspect, dead, left, gone. So
 * all nodes come to the same in whatever order words arrive, and an old one changes nothing.
 *
 * Two exceptions, both for the sake of who is accused:
 *   - of what comes by exchange, "dead" counts as "suspect" for who lives here: one confused node
 *     must not kill others, and those have time to refute (memberlist does so, too);
 *   - a suspicion of a start (generation) that is not known here is passed over: its address is
 *     not known either. The word that it lives is under way.
 */
#include <assert.h>
#include <string.h>

#include "cluster/membership/core.h"

/* ---- About this node */

static void conflict(struct membership *m)
{
    core_event(m, MEMBERSHIP_CONFLICT, &m->slots[SELF]);
}

bool words_renew_self(struct membership *m, uint32_t above, uint64_t now_ms)
{
    struct slot *const self = &m->slots[SELF];
    if (above == UINT32_MAX) {
        return false;
    }
    self->member.incarnation.version = above + 1;
    rumours_add(m, self, now_ms);
    return true;
}

static bool says_the_same(const struct member *self, const struct gossip_word *word)
{
    return node_address_equal(&self->address, &word->address) &&
           bytes_equal(bytes_of(self->name, self->name_len), word->name) &&
           bytes_equal(bytes_of(self->data, self->data_len), word->data);
}

static void refute(struct membership *m, const struct gossip_word *word, uint64_t now_ms)
{
    struct slot *const self = &m->slots[SELF];
    const struct incarnation own = self->member.incarnation;
    if (word->incarnation.generation > own.generation) {
        conflict(m);
        return;
    }
    if (incarnation_compare(word->incarnation, own) < 0) {
        /* Refuted already, or an earlier start's: whoever says so has not heard it yet. */
        if (!self->is_rumour) {
            rumours_add(m, self, now_ms);
        }
        return;
    }
    if (!words_renew_self(m, word->incarnation.version, now_ms)) {
        conflict(m);
        return;
    }
    m->counters.refutations++;
    probe_awareness(m, 1);
}

static void about_self(struct membership *m, uint64_t now_ms, const struct gossip_word *word)
{
    const struct member *const self = &m->slots[SELF].member;
    const int order = incarnation_compare(word->incarnation, self->incarnation);
    if (word->incarnation.generation > m->generation_heard) {
        m->generation_heard = word->incarnation.generation;
    }
    if (word->kind == GOSSIP_LEFT && m->leaving) {
        return; /* it said so itself */
    }
    if (word->kind != GOSSIP_ALIVE || order > 0) {
        refute(m, word, now_ms);
    } else if (order == 0 && !says_the_same(self, word)) {
        conflict(m); /* a copy of this node's volume has been started */
    }
}

/* ---- About others */

/* false: they were the same. */
static bool take_attributes(struct slot *s, const struct gossip_word *word)
{
    struct member *const member = &s->member;
    s->attributes = word->incarnation;
    if (says_the_same(member, word)) {
        return false;
    }
    member->address = word->address;
    member->name_len = (uint8_t)word->name.len;
    memcpy(member->name, word->name.at, word->name.len);
    member->data_len = (uint8_t)word->data.len;
    if (word->data.len > 0) {
        memcpy(member->data, word->data.at, word->data.len);
    }
    return true;
}

static void news(struct membership *m, struct slot *s, uint64_t now_ms)
{
    m->counters.words_new++;
    rumours_add(m, s, now_ms);
}

static void join(struct membership *m, uint64_t now_ms, const struct gossip_word *word)
{
    struct slot *const s = members_add(m, word->node, true);
    if (s == NULL) {
        return;
    }
    s->member.incarnation = word->incarnation;
    take_attributes(s, word);
    const bool placed = members_set_state(m, s, MEMBER_ALIVE, now_ms);
    assert(placed); /* members_add() has looked */
    news(m, s, now_ms);
    core_event(m, MEMBERSHIP_JOINED, s);
}

/* It was heard to be suspect, or dead, of an incarnation before what that one says of itself. */
static void catch_up(struct membership *m, struct slot *s, const struct gossip_word *word)
{
    if (incarnation_compare(word->incarnation, s->attributes) > 0 && take_attributes(s, word) &&
        core_is_living(s)) {
        core_event(m, MEMBERSHIP_UPDATED, s);
    }
}

static void alive(struct membership *m, uint64_t now_ms, const struct gossip_word *word)
{
    struct slot *const s = members_find(m, word->node);
    if (s == NULL) {
        join(m, now_ms, word);
        return;
    }
    if (incarnation_compare(word->incarnation, s->member.incarnation) <= 0) {
        catch_up(m, s, word);
        return;
    }
    const enum member_state was = s->member.state;
    const bool restarted = word->incarnation.generation > s->member.incarnation.generation;
    if (!members_set_state(m, s, MEMBER_ALIVE, now_ms)) {
        return;
    }
    s->member.incarnation = word->incarnation;
    const bool changed = take_attributes(s, word);
    news(m, s, now_ms);
    if (was == MEMBER_DEAD || was == MEMBER_LEFT) {
        core_event(m, MEMBERSHIP_JOINED, s);
    } else if (restarted) {
        core_event(m, MEMBERSHIP_RESTARTED, s);
    } else if (was == MEMBER_SUSPECT) {
        core_event(m, MEMBERSHIP_REFUTED, s);
    }
    if (changed && was != MEMBER_DEAD && was != MEMBER_LEFT) {
        core_event(m, MEMBERSHIP_UPDATED, s);
    }
}

/* ---- Suspicion */

static bool has_accused(const struct slot *s, struct node_uuid accuser)
{
    for (unsigned i = 0; i < s->accusers_count; i++) {
        if (node_uuid_equal(s->accusers[i], accuser)) {
            return true;
        }
    }
    return false;
}

static void begin_suspicion(struct membership *m, struct slot *s, struct node_uuid accuser,
                            uint64_t now_ms)
{
    const bool was_living = members_set_state(m, s, MEMBER_SUSPECT, now_ms);
    assert(was_living); /* so there is room */
    s->time = suspicion_time(core_members(m), m->conf.suspicion_mult, m->conf.suspicion_max_mult,
                             m->conf.probe_interval_ms);
    s->accusers_count = 1;
    s->accusers[0] = accuser;
    s->accuser = accuser;
    s->suspected_ms = now_ms;
    s->deadline_ms = now_ms + suspicion_timeout_ms(&s->time, 0);
    m->counters.suspicions++;
    news(m, s, now_ms);
    core_event(m, MEMBERSHIP_SUSPECTED, s);
}

static void confirm(struct membership *m, struct slot *s, struct node_uuid accuser, uint64_t now_ms)
{
    if (s->accusers_count > s->time.confirmations || s->accusers_count >= ACCUSERS_MAX ||
        has_accused(s, accuser)) {
        return;
    }
    s->accusers[s->accusers_count++] = accuser;
    s->accuser = accuser;
    s->deadline_ms = s->suspected_ms + suspicion_timeout_ms(&s->time, s->accusers_count - 1u);
    news(m, s, now_ms); /* that another one suspects it, too, is for all to hear */
}

void words_suspect(struct membership *m, struct slot *s, struct node_uuid accuser, uint64_t now_ms)
{
    if (s->member.state == MEMBER_ALIVE) {
        begin_suspicion(m, s, accuser, now_ms);
    } else if (s->member.state == MEMBER_SUSPECT) {
        confirm(m, s, accuser, now_ms);
    }
}

static void suspect(struct membership *m, uint64_t now_ms, const struct gossip_word *word,
                    struct node_uuid accuser)
{
    struct slot *const s = members_find(m, word->node);
    if (s == NULL || !core_is_living(s) ||
        incarnation_compare(word->incarnation, s->member.incarnation) < 0 ||
        word->incarnation.generation > s->member.incarnation.generation) {
        return;
    }
    if (incarnation_compare(word->incarnation, s->member.incarnation) > 0) {
        /* It has refuted, which has not come here yet, and is suspected once more: a new time. */
        s->member.incarnation = word->incarnation;
        begin_suspicion(m, s, accuser, now_ms);
    } else {
        words_suspect(m, s, accuser, now_ms);
    }
}

/* ---- Death */

static void end(struct membership *m, struct slot *s, enum member_state state, uint64_t now_ms)
{
    const bool placed = members_set_state(m, s, state, now_ms);
    assert(placed); /* among the dead there always is room */
    news(m, s, now_ms);
    core_event(m, state == MEMBER_LEFT ? MEMBERSHIP_LEFT : MEMBERSHIP_DIED, s);
}

static void dead(struct membership *m, uint64_t now_ms, const struct gossip_word *word,
                 struct node_uuid accuser)
{
    struct slot *const s = members_find(m, word->node);
    if (s == NULL || incarnation_compare(word->incarnation, s->member.incarnation) < 0) {
        return;
    }
    if (core_is_living(s)) {
        s->member.incarnation = word->incarnation;
        s->accuser = accuser;
        end(m, s, MEMBER_DEAD, now_ms);
    } else if (incarnation_compare(word->incarnation, s->member.incarnation) > 0) {
        s->member.incarnation = word->incarnation; /* it lived again meanwhile, and died again */
        s->member.state = MEMBER_DEAD;
        s->member.gone = false;
        s->accuser = accuser;
    }
}

static void left(struct membership *m, uint64_t now_ms, const struct gossip_word *word)
{
    struct slot *const s = members_find(m, word->node);
    if (s == NULL || incarnation_compare(word->incarnation, s->member.incarnation) < 0) {
        return;
    }
    const bool later = incarnation_compare(word->incarnation, s->member.incarnation) > 0;
    const bool known = s->member.state == MEMBER_LEFT && (s->member.gone || !word->gone);
    s->member.incarnation = word->incarnation;
    s->member.gone = word->gone || (s->member.gone && !later);
    if (!known) {
        end(m, s, MEMBER_LEFT, now_ms);
    }
}

void words_gone(struct membership *m, struct slot *s, uint64_t now_ms)
{
    if (!s->member.gone) {
        s->member.gone = true;
        end(m, s, MEMBER_LEFT, now_ms);
    }
}

void words_suspects_due(struct membership *m, uint64_t now_ms)
{
    for (uint32_t i = 0; i < m->suspects_count;) {
        struct slot *const s = &m->slots[m->suspects[i]];
        if (s->deadline_ms > now_ms) {
            i++;
            continue;
        }
        s->accuser = m->slots[SELF].member.node;
        m->counters.deaths++;
        end(m, s, MEMBER_DEAD, now_ms); /* another one is at i now */
    }
}

uint64_t words_suspects_next(const struct membership *m)
{
    uint64_t next = NEVER;
    for (uint32_t i = 0; i < m->suspects_count; i++) {
        next = core_least(next, m->slots[m->suspects[i]].deadline_ms);
    }
    return next;
}

/* ---- All that a node knows of a member */

/* It was dead before this node heard of it, and is so for as long as it has been for the others. */
static void bury(struct membership *m, uint64_t now_ms, const struct gossip_word *word,
                 struct node_uuid sender)
{
    const uint64_t age_ms = word->age_s * (uint64_t)1000;
    if (age_ms >= m->conf.tombstone_ms) {
        return;
    }
    struct slot *const s = members_add(m, word->node, false);
    if (s == NULL) {
        return;
    }
    s->member.incarnation = word->incarnation;
    s->member.gone = word->gone;
    s->accuser = sender;
    take_attributes(s, word);
    const bool placed =
        members_set_state(m, s, word->kind == GOSSIP_LEFT ? MEMBER_LEFT : MEMBER_DEAD, now_ms);
    assert(placed);
    s->member.since_ms = now_ms > age_ms ? now_ms - age_ms : 0;
    s->forget_ms = now_ms + m->conf.tombstone_ms - age_ms;
}

static void whole(struct membership *m, uint64_t now_ms, const struct gossip_word *word,
                  struct node_uuid sender)
{
    const struct slot *const s = members_find(m, word->node);
    const bool lives = s != NULL && core_is_living(s);
    switch (word->kind) {
    case GOSSIP_ALIVE:
        alive(m, now_ms, word);
        break;
    case GOSSIP_SUSPECT:
        alive(m, now_ms, word); /* it was, of that incarnation */
        suspect(m, now_ms, word, sender);
        break;
    case GOSSIP_DEAD:
        if (lives) {
            alive(m, now_ms, word);
            suspect(m, now_ms, word, sender);
        } else if (s == NULL) {
            bury(m, now_ms, word, sender);
        } else {
            dead(m, now_ms, word, sender);
        }
        break;
    case GOSSIP_LEFT:
        if (s == NULL) {
            bury(m, now_ms, word, sender);
        } else {
            left(m, now_ms, word);
        }
        break;
    }
}

void words_apply(struct membership *m, uint64_t now_ms, const struct gossip_word *word,
                 struct node_uuid sender)
{
    m->counters.words++;
    if (node_uuid_equal(word->node, m->slots[SELF].member.node)) {
        about_self(m, now_ms, word);
        return;
    }
    if (word->whole) {
        whole(m, now_ms, word, sender);
        return;
    }
    switch (word->kind) {
    case GOSSIP_ALIVE:
        alive(m, now_ms, word);
        break;
    case GOSSIP_SUSPECT:
        suspect(m, now_ms, word, word->accuser);
        break;
    case GOSSIP_DEAD:
        dead(m, now_ms, word, word->accuser);
        break;
    case GOSSIP_LEFT:
        left(m, now_ms, word);
        break;
    }
}
