/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rumours: what is to be told of members. A member is a rumour at most once: what is told is what
 * is known of it at that moment. They are listed by how often they were told, the newest first.
 */
#include <assert.h>

#include "cluster/membership/core.h"

#define WORDS_MAX   32u /* of one message: the smallest has 31 bytes */
#define MISFITS_MAX 4u  /* that were too long for what room is left, before it is left empty */

static void list_remove(struct membership *m, struct slot *s)
{
    struct tier *const tier = &m->tiers[s->told];
    if (s->before == NO_SLOT) {
        tier->first = s->after;
    } else {
        m->slots[s->before].after = s->after;
    }
    if (s->after == NO_SLOT) {
        tier->last = s->before;
    } else {
        m->slots[s->after].before = s->before;
    }
    m->rumours_count--;
    s->is_rumour = false;
}

static void list_add(struct membership *m, struct slot *s, uint8_t told)
{
    struct tier *const tier = &m->tiers[told];
    const uint16_t slot = core_slot_of(m, s);
    s->told = told;
    s->before = NO_SLOT;
    s->after = tier->first;
    if (tier->first == NO_SLOT) {
        tier->last = slot;
    } else {
        m->slots[tier->first].before = slot;
    }
    tier->first = slot;
    m->rumours_count++;
    s->is_rumour = true;
}

void rumours_drop(struct membership *m, struct slot *s)
{
    if (s->is_rumour) {
        list_remove(m, s);
    }
}

void rumours_add(struct membership *m, struct slot *s, uint64_t now_ms)
{
    rumours_drop(m, s);
    list_add(m, s, 0);
    if (m->gossip_ms == NEVER) {
        const uint64_t next = m->gossiped_ms + m->conf.gossip_interval_ms;
        m->gossip_ms = next > now_ms ? next : now_ms;
    }
}

static uint32_t tellings(const struct membership *m)
{
    const uint32_t n = suspicion_retransmits(core_members(m), m->conf.retransmit_mult);
    return n < TELLINGS_MAX ? n : TELLINGS_MAX;
}

struct gossip_word rumours_word(const struct slot *s)
{
    const struct member *const member = &s->member;
    return (struct gossip_word){.kind = (enum gossip_word_kind)member->state,
                                .gone = member->gone,
                                .node = member->node,
                                .incarnation = member->incarnation,
                                .accuser = s->accuser,
                                .address = member->address,
                                .name = bytes_of(member->name, member->name_len),
                                .data = bytes_of(member->data, member->data_len)};
}

static void count_telling(struct membership *m, struct slot *s, uint32_t limit)
{
    const uint8_t told = (uint8_t)(s->told + 1);
    list_remove(m, s);
    if (told < limit) {
        list_add(m, s, told);
    }
}

void rumours_fill(struct membership *m, struct gossip_writer *w, uint16_t put_already)
{
    uint16_t put[WORDS_MAX];
    uint32_t count = 0, misfits = 0;
    for (uint32_t told = 0; told < TELLINGS_MAX; told++) {
        for (uint16_t at = m->tiers[told].first;
             at != NO_SLOT && count < WORDS_MAX && misfits < MISFITS_MAX; at = m->slots[at].after) {
            if (at == put_already) {
                continue;
            }
            const struct gossip_word word = rumours_word(&m->slots[at]);
            if (gossip_put_word(w, &word)) {
                put[count++] = at;
            } else {
                misfits++;
            }
        }
    }
    const uint32_t limit = tellings(m);
    if (put_already != NO_SLOT && m->slots[put_already].is_rumour) {
        count_telling(m, &m->slots[put_already], limit);
    }
    for (uint32_t i = 0; i < count; i++) {
        count_telling(m, &m->slots[put[i]], limit);
    }
}

/* A dead one that may still be listening, if chance has it; NO_SLOT: none. */
static uint16_t pick_dead(struct membership *m, uint64_t now_ms)
{
    uint32_t fresh = 0;
    uint16_t chosen = NO_SLOT;
    for (uint32_t i = 0; i < m->dead_count; i++) {
        const struct slot *const s = &m->slots[m->dead[i]];
        if (s->member.state == MEMBER_DEAD &&
            now_ms - s->member.since_ms < m->conf.gossip_to_dead_ms &&
            core_below(m, ++fresh) == 0) {
            chosen = m->dead[i];
        }
    }
    return core_below(m, m->living_count + fresh + 1) < fresh * m->conf.gossip_nodes ? chosen
                                                                                     : NO_SLOT;
}

static void tell(struct membership *m, uint16_t slot)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    const struct slot *const s = &m->slots[slot];
    gossip_begin(&w, out, sizeof out, GOSSIP_RUMOURS);
    const size_t empty = w.len;
    uint16_t accused = NO_SLOT;
    if (s->member.state == MEMBER_DEAD) { /* what it is to refute, if it can */
        const struct gossip_word word = rumours_word(s);
        accused = gossip_put_word(&w, &word) ? slot : NO_SLOT;
    }
    rumours_fill(m, &w, accused);
    if (w.len > empty) {
        const struct membership_via via = {.carrier = MEMBERSHIP_DATAGRAM,
                                           .address = s->member.address};
        core_send(m, &via, s->member.node, &w);
    }
}

/* There is nobody to tell: the first who comes gets it all by exchange. */
static void forget_all(struct membership *m)
{
    for (uint32_t told = 0; told < TELLINGS_MAX; told++) {
        while (m->tiers[told].first != NO_SLOT) {
            list_remove(m, &m->slots[m->tiers[told].first]);
        }
    }
}

void rumours_gossip(struct membership *m, uint64_t now_ms)
{
    uint16_t to[8];
    const uint32_t max = m->conf.gossip_nodes < 8 ? m->conf.gossip_nodes : 8;
    const uint16_t dead = pick_dead(m, now_ms);
    uint32_t count = members_pick(m, to, dead == NO_SLOT ? max : max - 1, NO_SLOT, false);
    if (dead != NO_SLOT) {
        to[count++] = dead;
    }
    for (uint32_t i = 0; i < count && m->rumours_count > 0; i++) {
        tell(m, to[i]);
    }
    m->gossiped_ms = now_ms;
    if (count == 0) {
        forget_all(m);
    }
    m->gossip_ms = m->rumours_count > 0 ? now_ms + m->conf.gossip_interval_ms : NEVER;
}
