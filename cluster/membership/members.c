/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members: the table. A slot is in living[], or in dead[], or free; SELF is in neither. living[] is
 * the order in which members are probed: those before next_probe have had their turn, and a new one
 * gets a random place among those that have not.
 */
#include <assert.h>
#include <string.h>

#include "cluster/membership/core.h"

/* ---- By UUID */

static uint32_t hash(struct node_uuid node)
{
    uint64_t a, b;
    memcpy(&a, node.bytes, sizeof a);
    memcpy(&b, node.bytes + sizeof a, sizeof b);
    a = (a ^ b) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(a >> 32);
}

static uint32_t index_place(const struct membership *m, struct node_uuid node)
{
    uint32_t i = hash(node) & m->index_mask;
    while (m->index[i] != NO_SLOT && !node_uuid_equal(m->slots[m->index[i]].member.node, node)) {
        i = (i + 1) & m->index_mask; /* ends: half of it is empty */
    }
    return i;
}

struct slot *members_find(const struct membership *m, struct node_uuid node)
{
    const uint16_t slot = m->index[index_place(m, node)];
    return slot == NO_SLOT ? NULL : &m->slots[slot];
}

/* What stood behind it, and would not be found with a gap before it, moves up. */
static void index_remove(struct membership *m, struct node_uuid node)
{
    uint32_t gap = index_place(m, node);
    m->index[gap] = NO_SLOT;
    for (uint32_t i = (gap + 1) & m->index_mask; m->index[i] != NO_SLOT;
         i = (i + 1) & m->index_mask) {
        const uint32_t home = hash(m->slots[m->index[i]].member.node) & m->index_mask;
        if (((i - home) & m->index_mask) >= ((i - gap) & m->index_mask)) {
            m->index[gap] = m->index[i];
            m->index[i] = NO_SLOT;
            gap = i;
        }
    }
}

/* ---- Lists */

static void place(struct membership *m, uint16_t *list, uint32_t at, uint16_t slot)
{
    list[at] = slot;
    m->slots[slot].at = (uint16_t)at;
}

static void living_add(struct membership *m, uint16_t slot)
{
    const uint32_t last = m->living_count++;
    const uint32_t at = m->next_probe + core_below(m, last - m->next_probe + 1);
    if (at < last) {
        place(m, m->living, last, m->living[at]);
    }
    place(m, m->living, at, slot);
}

/* Nobody changes sides: who has had a turn, and who has not. */
static void living_remove(struct membership *m, uint32_t at)
{
    if (at < m->next_probe) {
        m->next_probe--;
        place(m, m->living, at, m->living[m->next_probe]);
        at = m->next_probe;
    }
    m->living_count--;
    if (at < m->living_count) {
        place(m, m->living, at, m->living[m->living_count]);
    }
}

static void dead_remove(struct membership *m, uint32_t at)
{
    m->dead_count--;
    if (at < m->dead_count) {
        place(m, m->dead, at, m->dead[m->dead_count]);
    }
}

static void suspects_add(struct membership *m, struct slot *s)
{
    s->suspect_at = (uint16_t)m->suspects_count;
    m->suspects[m->suspects_count++] = core_slot_of(m, s);
}

static void suspects_remove(struct membership *m, struct slot *s)
{
    const uint16_t last = m->suspects[--m->suspects_count];
    m->suspects[s->suspect_at] = last;
    m->slots[last].suspect_at = s->suspect_at;
    s->suspect_at = NO_SLOT;
}

static void unlist(struct membership *m, struct slot *s)
{
    if (s->suspect_at != NO_SLOT) {
        suspects_remove(m, s);
    }
    if (s->at != NO_SLOT) {
        if (core_is_living(s)) {
            living_remove(m, s->at);
        } else {
            dead_remove(m, s->at);
        }
        s->at = NO_SLOT;
    }
}

/* ---- Slots */

void members_remove(struct membership *m, struct slot *s)
{
    const uint16_t slot = core_slot_of(m, s);
    assert(slot != SELF);

    rumours_drop(m, s);
    unlist(m, s);
    index_remove(m, s->member.node);
    memset(s, 0, sizeof *s);
    s->at = NO_SLOT;
    s->suspect_at = NO_SLOT;
    m->free_slots[m->free_count++] = slot;
}

/* Makes room among the dead: the one that has been there for longest goes. */
static void evict(struct membership *m)
{
    struct slot *oldest = &m->slots[m->dead[0]];
    for (uint32_t i = 1; i < m->dead_count; i++) {
        struct slot *const s = &m->slots[m->dead[i]];
        if (s->forget_ms < oldest->forget_ms) {
            oldest = s;
        }
    }
    m->counters.tombstones_evicted++;
    core_event(m, MEMBERSHIP_FORGOTTEN, oldest);
    members_remove(m, oldest);
}

static bool living_is_full(const struct membership *m)
{
    return core_members(m) >= m->conf.members_max;
}

struct slot *members_add(struct membership *m, struct node_uuid node, bool living)
{
    if (living ? living_is_full(m) : m->dead_count >= m->conf.tombstones_max) {
        m->counters.members_refused += living;
        return NULL;
    }
    assert(m->free_count > 0); /* there is a slot for each that fits in the two lists */
    const uint16_t slot = m->free_slots[--m->free_count];
    struct slot *const s = &m->slots[slot];
    s->member.node = node;
    s->at = NO_SLOT;
    s->suspect_at = NO_SLOT;
    m->index[index_place(m, node)] = slot;
    return s;
}

bool members_set_state(struct membership *m, struct slot *s, enum member_state state,
                       uint64_t now_ms)
{
    const bool lived = s->at != NO_SLOT && core_is_living(s);
    const bool lives = member_state_lives(state);
    if (lives && !lived && living_is_full(m)) {
        m->counters.members_refused++;
        return false;
    }
    if (s->member.state != state || s->at == NO_SLOT) {
        s->member.since_ms = now_ms;
        s->forget_ms = now_ms + m->conf.tombstone_ms;
    }
    if (lives != lived || s->at == NO_SLOT) {
        unlist(m, s);
        if (!lives && m->dead_count >= m->conf.tombstones_max) {
            evict(m);
        }
        if (lives) {
            living_add(m, core_slot_of(m, s));
        } else {
            place(m, m->dead, m->dead_count++, core_slot_of(m, s));
        }
    } else if (s->suspect_at != NO_SLOT) {
        suspects_remove(m, s);
    }
    s->member.state = state;
    s->member.gone = s->member.gone && state == MEMBER_LEFT;
    if (state == MEMBER_SUSPECT) {
        suspects_add(m, s);
    }
    return true;
}

/* ---- Choosing */

static bool is_in(const uint16_t *list, uint32_t count, uint16_t slot)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] == slot) {
            return true;
        }
    }
    return false;
}

/* So many tries, as a look at all of them each time would cost more than to find one fewer. */
uint32_t members_pick(struct membership *m, uint16_t *out, uint32_t max, uint16_t but, bool alive)
{
    uint32_t count = 0;
    for (uint32_t tries = 3 * (m->living_count < 16 ? 16 : m->living_count);
         tries > 0 && m->living_count > 0 && count < max && count < m->living_count; tries--) {
        const uint16_t slot = m->living[core_below(m, m->living_count)];
        if (slot != but && !is_in(out, count, slot) &&
            (!alive || m->slots[slot].member.state == MEMBER_ALIVE)) {
            out[count++] = slot;
        }
    }
    return count;
}
