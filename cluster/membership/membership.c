/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/membership/membership.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/membership/core.h"

#define TOMBSTONES_EVERY_MS 60000u /* how often it is looked whose time is over */

struct membership_conf membership_lan(void)
{
    return (struct membership_conf){
        .members_max = MEMBERSHIP_MEMBERS_MAX,
        .tombstones_max = MEMBERSHIP_TOMBSTONES_MAX,
        .probe_interval_ms = 1000,
        .probe_timeout_ms = 300,
        .indirect_probes = 3,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .awareness_max = 8,
        .retransmit_mult = 4,
        .gossip_interval_ms = 200,
        .gossip_nodes = 3,
        .gossip_to_dead_ms = 60000,
        .exchange_interval_ms = 15000,
        .reconnect_least_ms = 10000,
        .reconnect_most_ms = 30000,
        .tombstone_ms = (uint64_t)24 * 3600 * 1000,
        .stall_ms = 500,
    };
}

/* ---- What the other files say through here */

void core_send(struct membership *m, const struct membership_via *via, struct node_uuid to,
               const struct gossip_writer *w)
{
    m->shell.send(m->shell.context, via, to, bytes_of(w->out, w->len));
}

void core_event(struct membership *m, enum membership_event event, const struct slot *s)
{
    m->shell.event(m->shell.context, event, &s->member);
}

/* ---- Life */

static bool allocate(struct membership *m)
{
    const uint32_t living = m->conf.members_max, dead = m->conf.tombstones_max;
    m->slots_count = living + dead;
    uint32_t places = 4;
    while (places < 2 * m->slots_count) {
        places *= 2;
    }
    m->index_mask = places - 1;
    m->slots = calloc(m->slots_count, sizeof m->slots[0]);
    m->free_slots = calloc(m->slots_count, sizeof m->free_slots[0]);
    m->index = calloc(places, sizeof m->index[0]);
    m->living = calloc(living, sizeof m->living[0]);
    m->dead = calloc(dead, sizeof m->dead[0]);
    m->suspects = calloc(living, sizeof m->suspects[0]);
    if (m->slots == NULL || m->free_slots == NULL || m->index == NULL || m->living == NULL ||
        m->dead == NULL || m->suspects == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < places; i++) {
        m->index[i] = NO_SLOT;
    }
    for (uint32_t i = 0; i < TELLINGS_MAX; i++) {
        m->tiers[i] = (struct tier){.first = NO_SLOT, .last = NO_SLOT};
    }
    for (uint32_t i = m->slots_count; i-- > 1;) { /* the lowest is taken first */
        m->slots[i].at = NO_SLOT;
        m->slots[i].suspect_at = NO_SLOT;
        m->free_slots[m->free_count++] = (uint16_t)i;
    }
    return true;
}

static void introduce_self(struct membership *m, uint64_t now_ms)
{
    const struct identity *const identity = &m->conf.identity;
    struct slot *const self = &m->slots[SELF];
    *self = (struct slot){.at = NO_SLOT, .suspect_at = NO_SLOT};
    self->member = (struct member){.node = identity->node,
                                   .incarnation = identity_incarnation(identity),
                                   .address = m->conf.address,
                                   .state = MEMBER_ALIVE,
                                   .since_ms = now_ms,
                                   .name_len = identity->name_len};
    memcpy(self->member.name, identity->name, identity->name_len);
    rumours_add(m, self, now_ms);
}

struct membership *membership_create(const struct membership_conf *conf,
                                     const struct membership_shell *shell, uint64_t now_ms)
{
    assert(conf->members_max >= 1 && conf->members_max <= MEMBERSHIP_MEMBERS_MAX);
    assert(conf->tombstones_max >= 1 && conf->tombstones_max <= MEMBERSHIP_TOMBSTONES_MAX);
    assert(conf->probe_timeout_ms < conf->probe_interval_ms);
    assert(conf->suspicion_mult >= 1 && conf->suspicion_mult <= ACCUSERS_MAX);
    assert(conf->suspicion_max_mult >= 1);
    assert(conf->awareness_max >= 1);
    assert(conf->reconnect_least_ms <= conf->reconnect_most_ms);
    assert(conf->identity.generation >= 1);
    assert(node_name_is_valid(identity_name(&conf->identity)));
    assert(conf->address.port != 0);

    struct membership *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->conf = *conf;
    m->shell = *shell;
    m->random = conf->seed;
    if (!allocate(m)) {
        membership_destroy(m);
        return NULL;
    }
    m->gossip_ms = NEVER;
    m->gossiped_ms = now_ms;
    introduce_self(m, now_ms);
    /* The index is for others: a node that hears of itself is SELF before it is looked for. */
    m->probe_ms = now_ms + core_below(m, conf->probe_interval_ms);
    m->exchange_ms = now_ms + core_below(m, conf->exchange_interval_ms);
    m->reconnect_ms = now_ms + exchange_reconnect_ms(m);
    m->tombstones_ms = now_ms + TOMBSTONES_EVERY_MS;
    return m;
}

void membership_destroy(struct membership *m)
{
    if (m == NULL) {
        return;
    }
    free(m->slots);
    free(m->free_slots);
    free(m->index);
    free(m->living);
    free(m->dead);
    free(m->suspects);
    free(m);
}

/* ---- Input */

static void answer_state(struct membership *m, uint64_t now_ms, const struct membership_via *via,
                         struct node_uuid sender, const struct gossip *message)
{
    if (message->wants_state && message->last) {
        exchange_send(m, via, sender, false, now_ms);
    }
}

enum gossip_err membership_receive(struct membership *m, uint64_t now_ms,
                                   const struct membership_via *via, struct node_uuid sender,
                                   struct bytes message)
{
    struct gossip g;
    struct gossip_word word;
    const enum gossip_err err = gossip_decode(&g, message);
    if (err != GOSSIP_OK) {
        m->counters.malformed++;
        return err;
    }
    /* The words first: an answer can then have a refutation in it. */
    struct bytes fields = g.fields;
    while (gossip_next_word(&fields, &word)) {
        words_apply(m, now_ms, &word, sender);
    }
    switch (g.kind) {
    case GOSSIP_PING:
        probe_on_ping(m, via, sender, &g);
        break;
    case GOSSIP_PING_REQUEST:
        probe_on_ping_request(m, now_ms, via, sender, &g);
        break;
    case GOSSIP_ACK:
        probe_on_ack(m, via, sender, &g);
        break;
    case GOSSIP_NACK:
        probe_on_nack(m, &g);
        break;
    case GOSSIP_STATE:
        answer_state(m, now_ms, via, sender, &g);
        break;
    default: /* only words; or a later version's, of which they count all the same */
        break;
    }
    return GOSSIP_OK;
}

static void tombstones_tick(struct membership *m, uint64_t now_ms)
{
    for (uint32_t i = 0; i < m->dead_count;) {
        struct slot *const s = &m->slots[m->dead[i]];
        if (s->forget_ms > now_ms) {
            i++;
            continue;
        }
        core_event(m, MEMBERSHIP_FORGOTTEN, s);
        members_remove(m, s); /* another one is at i now */
    }
    m->tombstones_ms = now_ms + TOMBSTONES_EVERY_MS;
}

void membership_tick(struct membership *m, uint64_t now_ms)
{
    const uint64_t due = membership_due(m);
    if (now_ms < due) {
        return;
    }
    if (now_ms - due > m->conf.stall_ms) {
        m->counters.stalls++;
        probe_stalled(m, now_ms - due);
    }
    probe_tick(m, now_ms);
    words_suspects_due(m, now_ms);
    exchange_tick(m, now_ms);
    if (m->tombstones_ms <= now_ms) {
        tombstones_tick(m, now_ms);
    }
    if (m->gossip_ms <= now_ms) {
        rumours_gossip(m, now_ms);
    }
}

uint64_t membership_due(const struct membership *m)
{
    uint64_t due = core_least(m->gossip_ms, m->tombstones_ms);
    due = core_least(due, core_least(m->exchange_ms, m->reconnect_ms));
    due = core_least(due, words_suspects_next(m));
    return core_least(due, probe_next(m));
}

void membership_contact(struct membership *m, uint64_t now_ms, const struct node_address *address)
{
    const struct membership_via via = {.carrier = MEMBERSHIP_STREAM, .address = *address};
    exchange_send(m, &via, (struct node_uuid){{0}}, true, now_ms);
}

void membership_set_data(struct membership *m, uint64_t now_ms, struct bytes data)
{
    assert(data.len <= GOSSIP_DATA_MAX);

    struct member *const self = &m->slots[SELF].member;
    if (bytes_equal(bytes_of(self->data, self->data_len), data)) {
        return;
    }
    self->data_len = (uint8_t)data.len;
    if (data.len > 0) {
        memcpy(self->data, data.at, data.len);
    }
    if (!words_renew_self(m, self->incarnation.version, now_ms)) {
        core_event(m, MEMBERSHIP_CONFLICT, &m->slots[SELF]);
    }
}

void membership_leave(struct membership *m, uint64_t now_ms, bool for_good)
{
    struct slot *const self = &m->slots[SELF];
    m->leaving = true;
    self->member.state = MEMBER_LEFT;
    self->member.gone = for_good;
    self->member.since_ms = now_ms;
    self->forget_ms = now_ms + m->conf.tombstone_ms;
    rumours_add(m, self, now_ms);
}

enum membership_forgotten membership_forget(struct membership *m, uint64_t now_ms,
                                            struct node_uuid node)
{
    struct slot *const s = members_find(m, node);
    if (node_uuid_equal(node, m->slots[SELF].member.node)) {
        return MEMBERSHIP_LIVES;
    }
    if (s == NULL) {
        return MEMBERSHIP_UNKNOWN;
    }
    if (core_is_living(s)) {
        return MEMBERSHIP_LIVES;
    }
    words_gone(m, s, now_ms);
    return MEMBERSHIP_IS_GONE;
}

bool membership_leave_is_told(const struct membership *m)
{
    return m->leaving && !m->slots[SELF].is_rumour;
}

/* ---- Reading */

uint64_t membership_generation_heard(const struct membership *m)
{
    return m->generation_heard;
}

const struct member *membership_self(const struct membership *m)
{
    return &m->slots[SELF].member;
}

const struct member *membership_find(const struct membership *m, struct node_uuid node)
{
    if (node_uuid_equal(node, m->slots[SELF].member.node)) {
        return membership_self(m);
    }
    const struct slot *const s = members_find(m, node);
    return s == NULL ? NULL : &s->member;
}

const struct member *membership_at(const struct membership *m, size_t i)
{
    if (i == 0) {
        return membership_self(m);
    }
    if (i <= m->living_count) {
        return &m->slots[m->living[i - 1]].member;
    }
    const size_t dead = i - 1 - m->living_count;
    return dead < m->dead_count ? &m->slots[m->dead[dead]].member : NULL;
}

struct membership_counters membership_counters(const struct membership *m)
{
    struct membership_counters counters = m->counters;
    counters.living = core_members(m);
    counters.suspects = m->suspects_count;
    counters.tombstones = m->dead_count;
    counters.rumours = m->rumours_count;
    counters.awareness = m->awareness;
    return counters;
}

static bool check_slot(const struct membership *m, uint16_t slot, uint32_t at, bool living)
{
    const struct slot *const s = &m->slots[slot];
    return s->at == at && core_is_living(s) == living &&
           (s->member.state == MEMBER_SUSPECT) == (s->suspect_at != NO_SLOT) &&
           members_find(m, s->member.node) == s;
}

bool membership_check(const struct membership *m)
{
    uint32_t rumours = 0;
    bool good = m->next_probe <= m->living_count && core_members(m) <= m->conf.members_max &&
                m->dead_count <= m->conf.tombstones_max &&
                1 + m->living_count + m->dead_count + m->free_count == m->slots_count;
    for (uint32_t i = 0; i < m->living_count; i++) {
        good = good && check_slot(m, m->living[i], i, true);
    }
    for (uint32_t i = 0; i < m->dead_count; i++) {
        good = good && check_slot(m, m->dead[i], i, false);
    }
    for (uint32_t i = 0; i < m->suspects_count; i++) {
        good = good && m->slots[m->suspects[i]].suspect_at == i;
    }
    for (uint32_t told = 0; told < TELLINGS_MAX; told++) {
        for (uint16_t at = m->tiers[told].first; at != NO_SLOT; at = m->slots[at].after) {
            good = good && m->slots[at].is_rumour && m->slots[at].told == told;
            rumours++;
        }
    }
    return good && rumours == m->rumours_count;
}
