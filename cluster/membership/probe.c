/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: does a member live?
 *
 *   next_probe ── ping ─▶ ·· probe_timeout_ms ·· ── asks others, tries a stream ─▶ ·· deadline ··
 * ─▶ suspect └── answer ─▶ lives            └── answer ─▶ lives
 *
 * The deadline is the next probe's time: the interval, times how badly this node does (awareness).
 * What tells it that: probes that fail without others saying that they tried (nack), having to
 * refute, and being called too late. Whoever does badly waits longer before it accuses.
 */
#include <assert.h>

#include "cluster/membership/core.h"

void probe_awareness(struct membership *m, int32_t by)
{
    const int32_t most = (int32_t)m->conf.awareness_max - 1;
    const int32_t score = (int32_t)m->awareness + by;
    m->awareness = (uint32_t)(score < 0 ? 0 : score > most ? most : score);
}

static uint32_t next_seq(struct membership *m)
{
    m->seq += m->seq == UINT32_MAX ? 2 : 1; /* never 0, which is a free relay's */
    return m->seq;
}

/* A word about the one that gets the message goes first: so that it can refute at once (Lifeguard,
 * "buddy system"). Its slot, or NO_SLOT. */
static uint16_t put_accusation(struct membership *m, struct gossip_writer *w, struct node_uuid to)
{
    const struct slot *const s = members_find(m, to);
    if (s == NULL || s->member.state == MEMBER_ALIVE || s->member.state == MEMBER_LEFT ||
        core_slot_of(m, s) == SELF) {
        return NO_SLOT;
    }
    const struct gossip_word word = rumours_word(s);
    return gossip_put_word(w, &word) ? core_slot_of(m, s) : NO_SLOT;
}

static void send(struct membership *m, const struct membership_via *via, struct node_uuid to,
                 struct gossip_writer *w)
{
    rumours_fill(m, w, put_accusation(m, w, to));
    core_send(m, via, to, w);
}

static void send_ping(struct membership *m, enum membership_carrier carrier, uint32_t seq,
                      struct node_uuid node, const struct node_address *address)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    gossip_begin(&w, out, sizeof out, GOSSIP_PING);
    const bool fits = gossip_put_seq(&w, seq) && gossip_put_target(&w, node, address);
    assert(fits);
    const struct membership_via via = {.carrier = carrier, .address = *address};
    send(m, &via, node, &w);
}

static void send_answer(struct membership *m, const struct membership_via *via, struct node_uuid to,
                        enum gossip_kind kind, uint32_t seq)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    struct gossip_writer w;
    gossip_begin(&w, out, sizeof out, kind);
    const bool fits = gossip_put_seq(&w, seq);
    assert(fits);
    send(m, via, to, &w);
}

/* ---- This node's own probes */

static void begin(struct membership *m, uint64_t now_ms)
{
    m->probe.active = false;
    m->probe_ms = now_ms + (uint64_t)m->conf.probe_interval_ms * (m->awareness + 1);
    if (m->living_count == 0) {
        return;
    }
    if (m->next_probe >= m->living_count) { /* all had their turn */
        m->next_probe = 0;
        for (uint32_t i = m->living_count - 1; i > 0; i--) {
            const uint32_t k = core_below(m, i + 1);
            const uint16_t swapped = m->living[i];
            m->living[i] = m->living[k];
            m->living[k] = swapped;
            m->slots[m->living[i]].at = (uint16_t)i;
            m->slots[m->living[k]].at = (uint16_t)k;
        }
    }
    const uint16_t slot = m->living[m->next_probe++];
    const struct member *const target = &m->slots[slot].member;
    m->probe = (struct probe){.active = true,
                              .slot = slot,
                              .node = target->node,
                              .seq = next_seq(m),
                              .timeout_ms = now_ms + m->conf.probe_timeout_ms,
                              .deadline_ms = m->probe_ms};
    m->counters.probes++;
    send_ping(m, MEMBERSHIP_DATAGRAM, m->probe.seq, target->node, &target->address);
}

/* Whom the probe is for; NULL: it has died or gone meanwhile. */
static struct slot *target_of(const struct membership *m)
{
    struct slot *const s = &m->slots[m->probe.slot];
    return s->at != NO_SLOT && core_is_living(s) && node_uuid_equal(s->member.node, m->probe.node)
               ? s
               : NULL;
}

static void ask_others(struct membership *m)
{
    uint8_t out[GOSSIP_MESSAGE_MAX];
    uint16_t helpers[8];
    m->probe.indirect = true;
    const struct slot *const s = target_of(m);
    if (s == NULL) {
        return;
    }
    const uint32_t wanted = m->conf.indirect_probes < 8 ? m->conf.indirect_probes : 8;
    const uint32_t count = members_pick(m, helpers, wanted, m->probe.slot, true);
    for (uint32_t i = 0; i < count; i++) {
        const struct member *const helper = &m->slots[helpers[i]].member;
        struct gossip_writer w;
        gossip_begin(&w, out, sizeof out, GOSSIP_PING_REQUEST);
        const bool fits = gossip_put_seq(&w, m->probe.seq) &&
                          gossip_put_target(&w, s->member.node, &s->member.address);
        assert(fits);
        const struct membership_via via = {.carrier = MEMBERSHIP_DATAGRAM,
                                           .address = helper->address};
        send(m, &via, helper->node, &w);
    }
    m->probe.nacks_wanted = count;
    send_ping(m, MEMBERSHIP_STREAM, m->probe.seq, s->member.node, &s->member.address);
}

static void fail(struct membership *m, uint64_t now_ms)
{
    struct slot *const s = target_of(m);
    m->probe.active = false;
    if (s == NULL) {
        return;
    }
    m->counters.probes_failed++;
    if (m->probe.nacks_wanted == 0) {
        probe_awareness(m, 1);
    } else {
        probe_awareness(m, (int32_t)(m->probe.nacks_wanted - m->probe.nacks));
    }
    words_suspect(m, s, m->slots[SELF].member.node, now_ms);
}

static void probe_end(struct membership *m)
{
    m->probe.active = false;
    probe_awareness(m, -1);
}

void probe_on_nack(struct membership *m, const struct gossip *message)
{
    if (m->probe.active && m->probe.seq == message->seq && m->probe.nacks < m->probe.nacks_wanted) {
        m->probe.nacks++;
    }
}

/* ---- Probes for others */

static struct relay *relay_of(struct membership *m, uint32_t seq)
{
    for (unsigned i = 0; i < MEMBERSHIP_RELAYS_MAX; i++) {
        if (m->relays[i].seq == seq) {
            return &m->relays[i];
        }
    }
    return NULL;
}

static void relay_end(struct membership *m, struct relay *relay)
{
    *relay = (struct relay){0};
    m->relays_count--;
}

void probe_on_ping_request(struct membership *m, uint64_t now_ms, const struct membership_via *via,
                           struct node_uuid sender, const struct gossip *message)
{
    struct relay *const relay = relay_of(m, 0);
    if (relay == NULL) {
        m->counters.relays_refused++;
        return;
    }
    m->counters.relays++;
    m->relays_count++;
    *relay = (struct relay){.seq = next_seq(m),
                            .asked_seq = message->seq,
                            .asker = sender,
                            .via = *via,
                            .nack_ms = now_ms + m->conf.probe_timeout_ms,
                            .end_ms = now_ms + m->conf.probe_interval_ms};
    send_ping(m, MEMBERSHIP_DATAGRAM, relay->seq, message->target, &message->target_address);
}

static void relays_tick(struct membership *m, uint64_t now_ms)
{
    for (unsigned i = 0; i < MEMBERSHIP_RELAYS_MAX && m->relays_count > 0; i++) {
        struct relay *const relay = &m->relays[i];
        if (relay->seq != 0 && !relay->nacked && relay->nack_ms <= now_ms) {
            relay->nacked = true;
            send_answer(m, &relay->via, relay->asker, GOSSIP_NACK, relay->asked_seq);
        }
        if (relay->seq != 0 && relay->end_ms <= now_ms) {
            relay_end(m, relay);
        }
    }
}

/* ---- What comes */

void probe_on_ping(struct membership *m, const struct membership_via *via, struct node_uuid sender,
                   const struct gossip *message)
{
    if (!node_uuid_equal(message->target, m->slots[SELF].member.node)) {
        m->counters.pings_for_another++; /* who had this address before does not live here */
        return;
    }
    send_answer(m, via, sender, GOSSIP_ACK, message->seq);
}

void probe_on_ack(struct membership *m, const struct membership_via *via, struct node_uuid sender,
                  const struct gossip *message)
{
    if (m->probe.active && m->probe.seq == message->seq) {
        const bool by_itself = node_uuid_equal(sender, m->probe.node);
        m->counters.probes_by_others += !by_itself;
        m->counters.probes_by_stream += by_itself && via->carrier == MEMBERSHIP_STREAM;
        probe_end(m);
        return;
    }
    struct relay *const relay = message->seq != 0 ? relay_of(m, message->seq) : NULL;
    if (relay != NULL) {
        send_answer(m, &relay->via, relay->asker, GOSSIP_ACK, relay->asked_seq);
        relay_end(m, relay);
    }
}

/* ---- Time */

void probe_tick(struct membership *m, uint64_t now_ms)
{
    if (m->probe.active && !m->probe.indirect && m->probe.timeout_ms <= now_ms) {
        ask_others(m);
    }
    if (m->probe.active && m->probe.deadline_ms <= now_ms) {
        fail(m, now_ms);
    }
    if (m->probe_ms <= now_ms) {
        begin(m, now_ms);
    }
    relays_tick(m, now_ms);
}

uint64_t probe_next(const struct membership *m)
{
    uint64_t next = m->probe_ms;
    if (m->probe.active && !m->probe.indirect) {
        next = core_least(next, m->probe.timeout_ms);
    }
    for (unsigned i = 0; i < MEMBERSHIP_RELAYS_MAX && m->relays_count > 0; i++) {
        const struct relay *const relay = &m->relays[i];
        if (relay->seq != 0) {
            next = core_least(next, relay->nacked ? relay->end_ms : relay->nack_ms);
        }
    }
    return next;
}

/* For so long this node has heard nothing: whatever waited for an answer waits as much longer. */
void probe_stalled(struct membership *m, uint64_t late_ms)
{
    if (m->probe.active) {
        m->probe.timeout_ms += m->probe.indirect ? 0 : late_ms;
        m->probe.deadline_ms += late_ms;
        m->probe_ms = m->probe.deadline_ms;
    }
    for (unsigned i = 0; i < MEMBERSHIP_RELAYS_MAX && m->relays_count > 0; i++) {
        m->relays[i].nack_ms += late_ms;
        m->relays[i].end_ms += late_ms;
    }
    for (uint32_t i = 0; i < m->suspects_count; i++) {
        struct slot *const s = &m->slots[m->suspects[i]];
        s->suspected_ms += late_ms;
        s->deadline_ms += late_ms;
    }
    probe_awareness(m, 1);
}
