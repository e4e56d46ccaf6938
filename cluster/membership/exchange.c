/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange: all that is known, told to one member, which answers with all that it knows. By a
 * stream, in as many messages as it takes; each is merged by itself, so that what is cut off has
 * still told something.
 */
#include <assert.h>

#include "cluster/membership/core.h"

#define LARGE_MEMBERS 32u /* from which on the interval grows */
#define PART_BYTES    4u

static struct gossip_word word_of(const struct membership *m, const struct slot *s, uint64_t now_ms)
{
    struct gossip_word word = rumours_word(s);
    word.whole = true;
    /* What is said of its address and data holds for that incarnation; of a later one that died
     * unheard of it would be false. */
    word.incarnation = core_slot_of(m, s) == SELF ? word.incarnation : s->attributes;
    if (!core_is_living(s) && s->forget_ms > now_ms) {
        const uint64_t left_ms = s->forget_ms - now_ms;
        word.age_s = left_ms < m->conf.tombstone_ms
                         ? (uint32_t)((m->conf.tombstone_ms - left_ms) / 1000)
                         : 0;
    }
    return word;
}

static void finish(struct membership *m, const struct membership_via *via, struct node_uuid to,
                   struct gossip_writer *w, bool wants_state, bool last)
{
    w->max += PART_BYTES;
    const bool fits = gossip_put_part(w, wants_state, last);
    assert(fits);
    core_send(m, via, to, w);
}

static void begin(struct gossip_writer *w, uint8_t out[GOSSIP_MESSAGE_MAX])
{
    gossip_begin(w, out, GOSSIP_MESSAGE_MAX - PART_BYTES, GOSSIP_STATE);
}

void exchange_send(struct membership *m, const struct membership_via *via, struct node_uuid to,
                   bool wants_state, uint64_t now_ms)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    begin(&w, out);
    for (size_t i = 0; i < 1 + (size_t)m->living_count + m->dead_count; i++) {
        const uint16_t slot = i == 0                 ? SELF
                              : i <= m->living_count ? m->living[i - 1]
                                                     : m->dead[i - 1 - m->living_count];
        const struct gossip_word word = word_of(m, &m->slots[slot], now_ms);
        if (!gossip_put_word(&w, &word)) {
            finish(m, via, to, &w, wants_state, false);
            begin(&w, out);
            const bool fits = gossip_put_word(&w, &word);
            assert(fits);
        }
    }
    finish(m, via, to, &w, wants_state, true);
}

/* Above 32 members: twice as long with each doubling's step, as memberlist has it. */
uint64_t exchange_interval_ms(const struct membership *m)
{
    uint64_t times = 1;
    for (uint32_t n = LARGE_MEMBERS; n < core_members(m); n *= 2) {
        times++;
    }
    return times * m->conf.exchange_interval_ms;
}

uint64_t exchange_reconnect_ms(struct membership *m)
{
    return m->conf.reconnect_least_ms +
           core_below(m, m->conf.reconnect_most_ms - m->conf.reconnect_least_ms + 1);
}

static void contact(struct membership *m, uint16_t slot, uint64_t now_ms)
{
    const struct member *const member = &m->slots[slot].member;
    const struct membership_via via = {.carrier = MEMBERSHIP_STREAM, .address = member->address};
    exchange_send(m, &via, member->node, true, now_ms);
}

/* One that has died, and not left; it may be behind a cut that has healed. */
static uint16_t pick_dead(struct membership *m)
{
    uint16_t chosen = NO_SLOT;
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->dead_count; i++) {
        if (m->slots[m->dead[i]].member.state == MEMBER_DEAD && core_below(m, ++count) == 0) {
            chosen = m->dead[i];
        }
    }
    return chosen;
}

void exchange_tick(struct membership *m, uint64_t now_ms)
{
    uint16_t slot;
    if (m->exchange_ms <= now_ms) {
        const uint64_t interval = exchange_interval_ms(m);
        m->exchange_ms = now_ms + interval * 3 / 4 + core_below(m, (uint32_t)(interval / 2) + 1);
        if (members_pick(m, &slot, 1, NO_SLOT, true) == 1) {
            contact(m, slot, now_ms);
        }
    }
    if (m->reconnect_ms <= now_ms) {
        m->reconnect_ms = now_ms + exchange_reconnect_ms(m);
        slot = pick_dead(m);
        if (slot != NO_SLOT) {
            contact(m, slot, now_ms);
        }
    }
}
