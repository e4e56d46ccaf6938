/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/dispatch/lease.h"

#include <assert.h>

/* ---- Who holds leases */

void lease_holder_init(struct lease_holder *h)
{
    *h = (struct lease_holder){.numbers = 0};
    for (unsigned p = 0; p < NODE_DISPATCH_PARTITIONS; p++) {
        h->held[p].led_peer = h->held[p].peer = LEASE_NOBODY;
    }
}

void lease_up(struct lease_holder *h, unsigned peer, uint64_t now_ms)
{
    assert(peer < LEASE_PEERS_MAX);
    h->peers[peer].up = true;
    h->peers[peer].next_ms = now_ms;
}

void lease_down(struct lease_holder *h, unsigned peer)
{
    assert(peer < LEASE_PEERS_MAX);
    h->peers[peer].up = false;
}

void lease_known(struct lease_holder *h, unsigned peer, uint64_t version)
{
    assert(peer < LEASE_PEERS_MAX);
    h->peers[peer].version = version;
}

void lease_forget(struct lease_holder *h, unsigned peer)
{
    assert(peer < LEASE_PEERS_MAX);
    for (unsigned p = 0; p < NODE_DISPATCH_PARTITIONS; p++) {
        if (h->held[p].peer == peer) {
            h->held[p].peer = LEASE_NOBODY;
        }
        lease_ended(h, p, peer);
    }
    h->peers[peer] =
        (struct lease_peer){.up = h->peers[peer].up, .next_ms = h->peers[peer].next_ms};
}

void lease_led(struct lease_holder *h, unsigned partition, unsigned peer, uint64_t term)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    assert(peer < LEASE_PEERS_MAX);
    struct lease_held *const l = &h->held[partition];
    if (term >= l->led_term) {
        l->led_term = term;
        l->led_peer = (uint8_t)peer;
    }
}

void lease_ended(struct lease_holder *h, unsigned partition, unsigned peer)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    if (h->held[partition].led_peer == peer) {
        h->held[partition].led_peer = LEASE_NOBODY;
    }
}

bool lease_ask(struct lease_holder *h, unsigned peer, uint64_t now_ms, struct node_lease_ask *ask)
{
    assert(peer < LEASE_PEERS_MAX);
    struct lease_peer *const p = &h->peers[peer];
    if (!p->up || p->next_ms > now_ms) {
        return false;
    }
    p->next_ms = now_ms + LEASE_RENEW_MS;
    const uint64_t number = ++h->numbers;
    for (unsigned i = LEASE_ASKS - 1; i > 0; i--) {
        p->asked[i] = p->asked[i - 1];
    }
    p->asked[0] = (struct lease_asked){.number = number, .at_ms = now_ms};
    *ask = (struct node_lease_ask){.number = number, .version = p->version};
    return true;
}

static const struct lease_asked *asked_of(const struct lease_peer *p, uint64_t number)
{
    for (unsigned i = 0; i < LEASE_ASKS; i++) {
        if (p->asked[i].number == number) {
            return &p->asked[i];
        }
    }
    return NULL;
}

static void take(struct lease_held *l, unsigned peer, const struct node_lease_item *item,
                 uint64_t version, uint64_t asked_ms)
{
    const uint64_t until_ms = asked_ms + item->length_ms - item->length_ms / LEASE_MARGIN - 1;
    const bool is_same = l->peer == peer && l->term == item->term;
    if (item->term < l->term || (is_same && until_ms < l->until_ms)) {
        return;
    }
    l->term = item->term;
    l->peer = (uint8_t)peer;
    l->until_ms = until_ms;
    l->version = version;
}

bool lease_granted(struct lease_holder *h, unsigned peer, struct bytes body)
{
    struct node_lease lease;
    struct node_lease_item item;
    assert(peer < LEASE_PEERS_MAX);
    if (node_lease_decode(&lease, body) != NODE_OK) {
        return false;
    }
    const struct lease_asked *const asked = asked_of(&h->peers[peer], lease.number);
    while (asked != NULL && node_lease_item_next(&lease.items, &item)) {
        take(&h->held[item.partition], peer, &item, lease.version, asked->at_ms);
    }
    return true;
}

unsigned lease_of(const struct lease_holder *h, unsigned partition, uint64_t now_ms)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    const struct lease_held *const l = &h->held[partition];
    const bool is_led = l->peer == l->led_peer && l->term == l->led_term;
    if (l->peer == LEASE_NOBODY || !is_led || now_ms >= l->until_ms ||
        h->peers[l->peer].version < l->version) {
        return LEASE_NOBODY;
    }
    return l->peer;
}

uint64_t lease_without(const struct lease_holder *h, uint64_t now_ms)
{
    uint64_t without = 0;
    for (unsigned p = 0; p < NODE_DISPATCH_PARTITIONS; p++) {
        without |= lease_of(h, p, now_ms) == LEASE_NOBODY ? UINT64_C(1) << p : 0;
    }
    return without;
}

uint64_t lease_until(const struct lease_holder *h, unsigned partition, uint64_t now_ms)
{
    return lease_of(h, partition, now_ms) == LEASE_NOBODY ? 0 : h->held[partition].until_ms;
}

uint64_t lease_next_ms(const struct lease_holder *h)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < LEASE_PEERS_MAX; i++) {
        if (h->peers[i].up && h->peers[i].next_ms < next) {
            next = h->peers[i].next_ms;
        }
    }
    return next;
}

/* ---- Who grants them */

void lease_granter_init(struct lease_granter *g)
{
    *g = (struct lease_granter){.led = {{0}}};
}

void lease_lead(struct lease_granter *g, unsigned partition, uint64_t term, uint64_t version,
                uint64_t now_ms)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    assert(term > 0);
    g->led[partition] = (struct lease_led){.term = term, .assumed_ms = now_ms + LEASE_MS};
    for (unsigned i = 0; i < LEASE_PEERS_MAX; i++) {
        struct lease_member *const m = &g->members[i];
        m->needs = m->needs > version ? m->needs : version;
    }
}

void lease_cease(struct lease_granter *g, unsigned partition)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    g->led[partition] = (struct lease_led){.term = 0};
}

/* A new start of a peer knows nothing of what its former one knew. */
static void meet(struct lease_member *m, uint64_t start, uint64_t version)
{
    assert(start > 0);
    if (m->start != start) {
        m->start = start;
        m->known = 0;
        m->needs = m->needs > version ? m->needs : version;
    }
}

void lease_member_knows(struct lease_granter *g, unsigned peer, uint64_t start, uint64_t version)
{
    assert(peer < LEASE_PEERS_MAX);
    struct lease_member *const m = &g->members[peer];
    if (m->start == start && version > m->known) {
        m->known = version;
    }
}

/* How long a lease that is granted now may last; 0: not at all. What was certain at some time is
 * as good as a lease from then on; the part by which the holder's clock may be slow counts from
 * then, too. */
static uint32_t length_of(uint64_t certain_until_ms, uint64_t now_ms)
{
    if (certain_until_ms == 0) {
        return 0;
    }
    if (certain_until_ms >= now_ms) {
        return LEASE_MS;
    }
    const uint64_t since = now_ms - certain_until_ms;
    const uint64_t spent = since + since / LEASE_MARGIN + 1;
    return spent < LEASE_MS ? (uint32_t)(LEASE_MS - spent) : 0;
}

bool lease_grant(struct lease_granter *g, unsigned peer, uint64_t start,
                 const struct node_lease_ask *ask, uint64_t version,
                 const uint64_t certain_until_ms[NODE_DISPATCH_PARTITIONS], uint64_t now_ms,
                 uint8_t *items, struct node_lease *lease)
{
    assert(peer < LEASE_PEERS_MAX);
    struct lease_member *const m = &g->members[peer];
    size_t len = 0;
    meet(m, start, version);
    lease_member_knows(g, peer, start, ask->version);
    for (unsigned p = 0; p < NODE_DISPATCH_PARTITIONS; p++) {
        const uint32_t length_ms = g->led[p].term == 0 ? 0 : length_of(certain_until_ms[p], now_ms);
        if (length_ms == 0) {
            continue;
        }
        const struct node_lease_item item = {
            .partition = (uint8_t)p, .length_ms = length_ms, .term = g->led[p].term};
        len += node_lease_item_encode(items + len, &item);
        m->until_ms = now_ms + length_ms > m->until_ms ? now_ms + length_ms : m->until_ms;
    }
    *lease = (struct node_lease){
        .number = ask->number, .version = m->needs, .items = bytes_of(items, len)};
    return len > 0;
}

bool lease_answer(struct lease_granter *g, unsigned partition, uint64_t version, uint64_t now_ms,
                  uint64_t *at_ms)
{
    assert(partition < NODE_DISPATCH_PARTITIONS);
    uint64_t at = g->led[partition].assumed_ms;
    for (unsigned i = 0; i < LEASE_PEERS_MAX; i++) {
        const struct lease_member *const m = &g->members[i];
        at = m->known < version && m->until_ms > at ? m->until_ms : at;
    }
    *at_ms = at;
    if (at > now_ms) {
        return false;
    }
    for (unsigned i = 0; i < LEASE_PEERS_MAX; i++) {
        struct lease_member *const m = &g->members[i];
        m->needs = m->known < version && m->needs < version ? version : m->needs;
    }
    return true;
}
