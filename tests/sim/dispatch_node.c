/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/dispatch_node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/little_endian.h"

/* Types that a link passes on, and that nothing else here uses. */
enum {
    FRAME_GROUP = NODE_FRAME_RETAINED_ITEMS, /* u8 group, message */
    FRAME_VIEW = NODE_FRAME_RETAINED_DIGEST,
    FRAME_VIEW_ACK = NODE_FRAME_RETAINED_ASK, /* u64 version */
};

#define BEGIN_TICKET  (UINT64_C(1) << 63)
#define VIEW_BYTES    (8u * (1 + DISPATCH_GROUPS + DISPATCH_TOPICS))
#define MESSAGE_BYTES 9u /* u64 number, u8 topic, anything */
#define OUT_ROOM      (1u << 20)
#define SELF_ROOM     OUT_ROOM

struct dispatch_rules dispatch_rules;

static uint64_t now(const struct dispatch_node *n)
{
    return sim_now_ms(n->links->node);
}

static unsigned self(const struct dispatch_node *n)
{
    return sim_index(n->links->node);
}

static struct sim *sim(const struct dispatch_node *n)
{
    return sim_of(n->links->node);
}

static bool chance(const struct dispatch_node *n, unsigned one_in)
{
    return sim_random(n->links->node) % one_in == 0;
}

struct dispatch_node *dispatch_node_of(struct sim *s, unsigned index)
{
    const struct link_node *const links = sim_running(sim_node(s, index));
    return links == NULL ? NULL : links->rider;
}

uint64_t dispatch_node_origin(const struct dispatch_node *n)
{
    return origin_of(n->peers[self(n)].number, (uint32_t)sim_identity(n->links->node)->generation,
                     0);
}

/* ---- What the group tells, from within its calls */

static void on_group_send(void *context, unsigned group, uint64_t to, struct bytes message)
{
    struct dispatch_node *const n = context;
    struct dispatch_peer *const p = &n->peers[to - 1];
    if (!p->up || p->mail_count == DISPATCH_MAIL) {
        return;
    }
    uint8_t *const out = malloc(1 + message.len);
    assert(out != NULL);
    out[0] = (uint8_t)group;
    memcpy(out + 1, message.at, message.len);
    p->mail[(p->mail_first + p->mail_count++) % DISPATCH_MAIL] = bytes_of(out, 1 + message.len);
}

static void on_group_applied(void *context, unsigned group, uint64_t index,
                             const struct dispatch_entry *entry, uint8_t into)
{
    struct dispatch_node *const n = context;
    dispatch_rules.applied(n, group, index, entry, into);
    if (entry->kind == DISPATCH_MESSAGE && n->leads[group].serves) {
        intake_applied(n->intake, group, entry->origin, entry->op);
    }
}

static void on_group_restored(void *context, unsigned group)
{
    dispatch_rules.restored(context, group);
}

static struct dispatch_pending *pending_of(struct dispatch_node *n, uint64_t number)
{
    for (unsigned i = 0; i < DISPATCH_PENDING; i++) {
        if (n->pending[i].number == number) {
            return &n->pending[i];
        }
    }
    return NULL;
}

static void on_group_proposed(void *context, unsigned group, uint64_t ticket,
                              enum consensus_end end)
{
    struct dispatch_node *const n = context;
    struct dispatch_lead *const l = &n->leads[group];
    struct dispatch_pending *const p = pending_of(n, 0);
    if (ticket == (BEGIN_TICKET | l->term)) {
        l->begun = end == CONSENSUS_COMMITTED;
    } else if (ticket != 0 && end == CONSENSUS_COMMITTED && p != NULL) {
        *p = (struct dispatch_pending){.number = ticket, .group = group, .term = l->term};
    }
}

/* ---- What a source and an intake tell */

static void on_ended(void *context, uint64_t op, enum dispatch_end end)
{
    dispatch_rules.ended(context, op, end);
}

static bool on_propose(void *context, unsigned partition, uint64_t origin, uint64_t op,
                       struct bytes bytes)
{
    struct dispatch_node *const n = context;
    assert(partition < DISPATCH_GROUPS && bytes.len >= MESSAGE_BYTES);
    const struct dispatch_entry entry = {.kind = DISPATCH_MESSAGE,
                                         .topic = bytes.at[8],
                                         .origin = origin,
                                         .op = op,
                                         .number = get_u64(bytes.at)};
    if (chance(n, 50) || !dispatch_group_propose(&n->groups[partition], &entry, 0)) {
        return false;
    }
    if (chance(n, 10)) {
        /* As by somebody who was not sure: it is for the state machine to see that it has it. */
        (void)dispatch_group_propose(&n->groups[partition], &entry, 0);
    }
    return true;
}

static uint64_t on_highest(void *context, unsigned partition, uint64_t origin)
{
    struct dispatch_node *const n = context;
    return origins_highest(n->groups[partition].state.origins, origin);
}

static bool on_transient(void *context, uint64_t origin, uint64_t op, struct bytes bytes)
{
    struct dispatch_node *const n = context;
    if (chance(n, 50)) {
        return false;
    }
    dispatch_rules.delivered(n, origin, op, get_u64(bytes.at));
    return true;
}

/* ---- The interest */

static struct dispatch_view view_now(const struct dispatch_node *n)
{
    struct dispatch_view v = {.version = n->peers[self(n)].view.version};
    for (unsigned g = 0; g < DISPATCH_GROUPS; g++) {
        if (!n->leads[g].serves) {
            continue;
        }
        v.terms[g] = n->leads[g].term;
        for (unsigned i = 0; i < DISPATCH_SESSIONS * DISPATCH_TOPICS; i++) {
            const unsigned topic = i % DISPATCH_TOPICS;
            if ((n->groups[g].state.topics[i / DISPATCH_TOPICS] >> topic & 1) != 0) {
                v.topics[topic] |= UINT64_C(1) << g;
            }
        }
    }
    return v;
}

/* A view takes the place of the one before, as the contracts want it: first who leads, and what is
 * led no more; then what is known. */
static void take_view(struct dispatch_node *n, unsigned peer, const struct dispatch_view *v)
{
    for (unsigned g = 0; g < DISPATCH_GROUPS; g++) {
        if (v->terms[g] != 0) {
            dispatch_leader(n->dispatch, g, peer, v->terms[g]);
            lease_led(&n->holder, g, peer, v->terms[g]);
        } else {
            lease_ended(&n->holder, g, peer);
        }
    }
    n->peers[peer].view = *v;
    lease_known(&n->holder, peer, v->version);
}

static void tell_all(struct dispatch_node *n)
{
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        n->peers[i].tell = true;
    }
}

static void look_at_own(struct dispatch_node *n)
{
    struct dispatch_view v = view_now(n);
    if (memcmp(&v, &n->peers[self(n)].view, sizeof v) != 0) {
        v.version++;
        take_view(n, self(n), &v);
        lease_member_knows(&n->granter, self(n), sim_identity(n->links->node)->generation,
                           v.version);
        tell_all(n);
    }
}

static void forget_view(struct dispatch_node *n, unsigned peer)
{
    lease_forget(&n->holder, peer);
    n->peers[peer].view = (struct dispatch_view){.version = 0};
}

static struct bytes view_encode(uint8_t *out, const struct dispatch_view *v)
{
    size_t len = 0;
    put_u64(out, v->version);
    for (unsigned i = 0; i < DISPATCH_GROUPS; i++) {
        put_u64(out + (len += 8), v->terms[i]);
    }
    for (unsigned i = 0; i < DISPATCH_TOPICS; i++) {
        put_u64(out + (len += 8), v->topics[i]);
    }
    return bytes_of(out, VIEW_BYTES);
}

static void on_view(struct dispatch_node *n, unsigned peer, struct bytes in)
{
    struct dispatch_view v = {.version = get_u64(in.at)};
    for (unsigned i = 0; i < DISPATCH_GROUPS; i++) {
        v.terms[i] = get_u64(in.at + 8 + (size_t)i * 8);
    }
    for (unsigned i = 0; i < DISPATCH_TOPICS; i++) {
        v.topics[i] = get_u64(in.at + 8 * (1 + DISPATCH_GROUPS) + (size_t)i * 8);
    }
    take_view(n, peer, &v);
    n->peers[peer].ack = true;
}

/* ---- Leading */

static void cease(struct dispatch_node *n, unsigned g)
{
    n->leads[g] = (struct dispatch_lead){.term = 0};
    intake_cease(n->intake, g);
    lease_cease(&n->granter, g);
    for (unsigned i = 0; i < DISPATCH_PENDING; i++) {
        if (n->pending[i].group == g) {
            n->pending[i].number = 0;
        }
    }
    sim_note(n->links->node, "does not lead %u any more", g);
}

static void serve(struct dispatch_node *n, unsigned g)
{
    struct dispatch_lead *const l = &n->leads[g];
    l->serves = true;
    intake_lead(n->intake, g, l->term);
    look_at_own(n);
    lease_lead(&n->granter, g, l->term, n->peers[self(n)].view.version, now(n));
    sim_note(n->links->node, "leads %u in term %llu", g, (unsigned long long)l->term);
}

/* After each call to a group. */
static void look_who_leads(struct dispatch_node *n)
{
    static const struct dispatch_entry begin = {.kind = DISPATCH_BEGIN};
    for (unsigned g = 0; n->is_member && g < DISPATCH_GROUPS; g++) {
        struct dispatch_group *const group = &n->groups[g];
        struct dispatch_lead *const l = &n->leads[g];
        const bool leads = dispatch_group_is_up(group) && consensus_leads(group->consensus);
        const uint64_t term = leads ? consensus_figures(group->consensus).term : 0;
        if (l->term != 0 && l->term != term) {
            cease(n, g);
        }
        if (l->term != term) {
            l->term = term;
            dispatch_rules.leads(n, g, term);
        }
        if (leads && !l->asked) {
            l->asked = dispatch_group_propose(group, &begin, BEGIN_TICKET | term);
        }
        if (l->begun && !l->serves) {
            serve(n, g);
        }
    }
}

/* ---- Leases */

static size_t grant(struct dispatch_node *n, unsigned peer, uint64_t start,
                    const struct node_lease_ask *ask, uint8_t *out)
{
    uint64_t certain[NODE_DISPATCH_PARTITIONS] = {0};
    uint8_t items[NODE_DISPATCH_PARTITIONS * NODE_LEASE_ITEM_BYTES];
    struct node_lease lease;
    for (unsigned g = 0; g < DISPATCH_GROUPS; g++) {
        struct dispatch_lead *const l = &n->leads[g];
        if (l->serves && dispatch_rules.is_certain(n, g, l->term)) {
            l->certain_ms = now(n);
        }
        certain[g] = l->certain_ms;
    }
    return lease_grant(&n->granter, peer, start, ask, n->peers[self(n)].view.version, certain,
                       now(n), items, &lease)
               ? node_lease_encode(out, &lease)
               : 0;
}

static void answer_pending(struct dispatch_node *n)
{
    look_at_own(n); /* something may have been applied since */
    n->pending_ms = UINT64_MAX;
    for (unsigned i = 0; i < DISPATCH_PENDING; i++) {
        struct dispatch_pending *const p = &n->pending[i];
        uint64_t at_ms;
        if (p->number == 0) {
            continue;
        }
        p->version = p->version == 0 ? n->peers[self(n)].view.version : p->version;
        if (lease_answer(&n->granter, p->group, p->version, now(n), &at_ms)) {
            dispatch_rules.subscribed(n, p->number);
            p->number = 0;
        } else if (at_ms < n->pending_ms) {
            n->pending_ms = at_ms;
        }
    }
}

/* ---- The node itself as a peer */

static void talk_to_self(struct dispatch_node *n)
{
    const unsigned me = self(n);
    const uint64_t generation = sim_identity(n->links->node)->generation;
    struct node_lease_ask ask;
    struct bytes body;
    uint8_t type;
    while (dispatch_next(n->dispatch, me, SELF_ROOM, now(n), &type, &body)) {
        const enum intake_err err = intake_received(n->intake, me, body);
        assert(err == INTAKE_OK);
    }
    while (intake_next(n->intake, me, SELF_ROOM, &type, &body)) {
        const enum dispatch_err err = dispatch_received(n->dispatch, me, body, now(n));
        assert(err == DISPATCH_OK);
    }
    if (lease_ask(&n->holder, me, now(n), &ask)) {
        const size_t len = grant(n, me, generation, &ask, n->peers[me].lease);
        const bool ok =
            len == 0 || lease_granted(&n->holder, me, bytes_of(n->peers[me].lease, len));
        assert(ok);
    }
}

/* ---- The links */

static void start_groups(struct dispatch_node *n)
{
    const struct dispatch_group_events events = {.send = on_group_send,
                                                 .applied = on_group_applied,
                                                 .restored = on_group_restored,
                                                 .proposed = on_group_proposed,
                                                 .context = n};
    for (unsigned g = 0; n->is_member && g < DISPATCH_GROUPS; g++) {
        dispatch_group_begin(&n->groups[g], n->links->node, g, link_node_peers(n->links), &events);
    }
}

static void *on_create(struct link_node *links)
{
    struct dispatch_node *const n = calloc(1, sizeof *n);
    assert(n != NULL);
    n->links = links;
    n->out = malloc(OUT_ROOM);
    n->peers[self(n)].number =
        dispatch_rules.number_of(sim(n), self(n), sim_identity(links->node)->node);
    struct dispatch_conf conf = dispatch_conf_defaults();
    conf.origin = dispatch_node_origin(n);
    conf.events = (struct dispatch_events){.ended = on_ended, .context = n};
    conf.ops_max = 40;
    conf.bytes_max = 10000;
    conf.timeout_ms = 4000 + (uint32_t)(sim_random(links->node) % 8000);
    n->dispatch = dispatch_create(&conf);
    const struct intake_conf intake = {
        .partitions = (UINT64_C(1) << DISPATCH_GROUPS) - 1,
        .transient = true,
        .sources_max = 16,
        .events = {
            .propose = on_propose, .highest = on_highest, .transient = on_transient, .context = n}};
    n->intake = intake_create(&intake);
    assert(n->out != NULL && n->dispatch != NULL && n->intake != NULL);
    lease_holder_init(&n->holder);
    lease_granter_init(&n->granter);
    dispatch_up(n->dispatch, self(n));
    intake_up(n->intake, self(n), n->peers[self(n)].number);
    lease_up(&n->holder, self(n), now(n));
    n->told_ms = now(n);
    n->is_member = dispatch_rules.is_member(n);
    start_groups(n);
    return n;
}

static void drop_mail(struct dispatch_peer *p)
{
    for (; p->mail_count > 0; p->mail_count--) {
        free((void *)(uintptr_t)p->mail[p->mail_first].at);
        p->mail_first = (p->mail_first + 1) % DISPATCH_MAIL;
    }
}

static void on_destroy(void *rider)
{
    struct dispatch_node *const n = rider;
    for (unsigned g = 0; n->is_member && g < DISPATCH_GROUPS; g++) {
        dispatch_group_end(&n->groups[g]);
    }
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        drop_mail(&n->peers[i]);
    }
    dispatch_destroy(n->dispatch);
    intake_destroy(n->intake);
    free(n->out);
    free(n);
}

static void gone(struct dispatch_node *n, unsigned peer)
{
    dispatch_rules.gone(n, peer);
    dispatch_gone(n->dispatch, peer);
}

static void on_begin(void *rider, unsigned peer, struct node_uuid node)
{
    struct dispatch_node *const n = rider;
    gone(n, peer);
    forget_view(n, peer);
    intake_forget(n->intake, peer);
    drop_mail(&n->peers[peer]);
    n->peers[peer].generation = 0;
    n->peers[peer].number = dispatch_rules.number_of(sim(n), peer, node);
}

static void on_live(void *rider, unsigned peer, bool live)
{
    struct dispatch_node *const n = rider;
    n->peers[peer].live = live;
    if (!live) {
        gone(n, peer);
    }
}

static void on_up(void *rider, unsigned peer, uint64_t generation)
{
    struct dispatch_node *const n = rider;
    struct dispatch_peer *const p = &n->peers[peer];
    if (p->generation != generation) {
        gone(n, peer);
        forget_view(n, peer);
        p->generation = generation;
    }
    p->up = true;
    p->tell = true;
    p->ack = false;
    p->lease_len = 0;
    dispatch_up(n->dispatch, peer);
    intake_up(n->intake, peer, p->number);
    lease_up(&n->holder, peer, now(n));
}

static void on_down(void *rider, unsigned peer)
{
    struct dispatch_node *const n = rider;
    n->peers[peer].up = false;
    drop_mail(&n->peers[peer]);
    dispatch_down(n->dispatch, peer);
    lease_down(&n->holder, peer);
}

static enum link_taken on_group_frame(struct dispatch_node *n, unsigned peer, struct bytes body)
{
    struct node_consensus message;
    const unsigned g = body.at[0];
    if (!n->is_member || !dispatch_group_is_up(&n->groups[g])) {
        return LINK_TAKEN;
    }
    if (node_consensus_decode(&message, bytes_of(body.at + 1, body.len - 1)) != NODE_OK ||
        message.group != g + 1) {
        return LINK_BAD;
    }
    if (consensus_received(n->groups[g].consensus, peer + 1, &message, now(n)) != CONSENSUS_OK) {
        sim_note(n->links->node, "group %u has failed", g);
    }
    look_who_leads(n);
    return LINK_TAKEN;
}

static enum link_taken on_lease_ask(struct dispatch_node *n, unsigned peer, struct bytes body)
{
    struct node_lease_ask ask;
    struct dispatch_peer *const p = &n->peers[peer];
    if (node_lease_ask_decode(&ask, body) != NODE_OK) {
        return LINK_BAD;
    }
    p->lease_len = grant(n, peer, p->generation, &ask, p->lease);
    return LINK_TAKEN;
}

static enum link_taken on_deliver(void *rider, unsigned peer, const struct node_frame *frame)
{
    struct dispatch_node *const n = rider;
    switch (frame->type) {
    case FRAME_GROUP:
        return on_group_frame(n, peer, frame->body);
    case FRAME_VIEW:
        on_view(n, peer, frame->body);
        return LINK_TAKEN;
    case FRAME_VIEW_ACK:
        lease_member_knows(&n->granter, peer, n->peers[peer].generation, get_u64(frame->body.at));
        return LINK_TAKEN;
    case NODE_FRAME_DISPATCH:
        return intake_received(n->intake, peer, frame->body) == INTAKE_OK ? LINK_TAKEN : LINK_BAD;
    case NODE_FRAME_DISPATCHED:
        return dispatch_received(n->dispatch, peer, frame->body, now(n)) == DISPATCH_OK ? LINK_TAKEN
                                                                                        : LINK_BAD;
    case NODE_FRAME_LEASE_ASK:
        return on_lease_ask(n, peer, frame->body);
    case NODE_FRAME_LEASE:
        return lease_granted(&n->holder, peer, frame->body) ? LINK_TAKEN : LINK_BAD;
    default:
        return LINK_UNKNOWN;
    }
}

static bool next_mail(struct dispatch_node *n, struct dispatch_peer *p, size_t room,
                      struct bytes *body)
{
    if (p->mail_count == 0 || p->mail[p->mail_first].len > room) {
        return false;
    }
    const struct bytes mail = p->mail[p->mail_first];
    assert(mail.len <= OUT_ROOM);
    memcpy(n->out, mail.at, mail.len);
    *body = bytes_of(n->out, mail.len);
    free((void *)(uintptr_t)mail.at);
    p->mail_first = (p->mail_first + 1) % DISPATCH_MAIL;
    p->mail_count--;
    return true;
}

static bool next_small(struct dispatch_node *n, struct dispatch_peer *p, size_t room, uint8_t *type,
                       struct bytes *body)
{
    struct node_lease_ask ask;
    if (room < sizeof p->lease) {
        return false;
    }
    if (p->tell) {
        p->tell = false;
        *type = FRAME_VIEW;
        *body = view_encode(n->out, &n->peers[self(n)].view);
        return true;
    }
    if (p->ack) {
        p->ack = false;
        *type = FRAME_VIEW_ACK;
        put_u64(n->out, p->view.version);
        *body = bytes_of(n->out, sizeof(uint64_t));
        return true;
    }
    if (p->lease_len > 0) {
        *type = NODE_FRAME_LEASE;
        *body = bytes_of(p->lease, p->lease_len);
        p->lease_len = 0;
        return true;
    }
    if (lease_ask(&n->holder, (unsigned)(p - n->peers), now(n), &ask)) {
        *type = NODE_FRAME_LEASE_ASK;
        *body = bytes_of(n->out, node_lease_ask_encode(n->out, &ask));
        return true;
    }
    return false;
}

static bool on_next(void *rider, unsigned peer, size_t room, uint8_t *type, struct bytes *body)
{
    struct dispatch_node *const n = rider;
    struct dispatch_peer *const p = &n->peers[peer];
    *type = FRAME_GROUP;
    return p->up && (next_mail(n, p, room, body) || next_small(n, p, room, type, body) ||
                     intake_next(n->intake, peer, room, type, body) ||
                     dispatch_next(n->dispatch, peer, room, now(n), type, body));
}

static void on_turn(void *rider)
{
    struct dispatch_node *const n = rider;
    for (unsigned g = 0; n->is_member && g < DISPATCH_GROUPS; g++) {
        dispatch_group_turn(&n->groups[g]);
    }
    look_who_leads(n);
    look_at_own(n);
    if (n->told_ms <= now(n)) {
        n->told_ms = now(n) + DISPATCH_TOLD_MS;
        tell_all(n);
    }
    dispatch_turn(n->dispatch, now(n));
    talk_to_self(n);
    answer_pending(n);
    if (!dispatch_check(n->dispatch)) {
        sim_fail(sim(n), "node %u: its queues are not what they should be", self(n));
    }
}

static uint64_t on_next_ms(const void *rider)
{
    const struct dispatch_node *const n = rider;
    uint64_t next = dispatch_next_ms(n->dispatch);
    for (unsigned g = 0; n->is_member && g < DISPATCH_GROUPS; g++) {
        const uint64_t due = dispatch_group_next_ms(&n->groups[g]);
        next = due < next ? due : next;
    }
    next = n->pending_ms < next ? n->pending_ms : next;
    return n->told_ms < next ? n->told_ms : next;
}

static void on_disk_done(void *rider, uint64_t operation, int error)
{
    struct dispatch_node *const n = rider;
    for (unsigned g = 0; n->is_member && g < DISPATCH_GROUPS; g++) {
        dispatch_group_disk_done(&n->groups[g], operation, error);
    }
    look_who_leads(n);
}

const struct link_rider dispatch_rider = {
    .create = on_create,
    .destroy = on_destroy,
    .begin = on_begin,
    .live = on_live,
    .up = on_up,
    .down = on_down,
    .deliver = on_deliver,
    .next = on_next,
    .turn = on_turn,
    .next_ms = on_next_ms,
    .disk_done = on_disk_done,
};

/* ---- What clients do */

uint64_t dispatch_node_targets(const struct dispatch_node *n, unsigned topic)
{
    uint64_t targets = lease_without(&n->holder, now(n)) & ((UINT64_C(1) << DISPATCH_GROUPS) - 1);
    for (unsigned g = 0; g < DISPATCH_GROUPS; g++) {
        const unsigned peer = lease_of(&n->holder, g, now(n));
        if (peer != LEASE_NOBODY) {
            targets |= n->peers[peer].view.topics[topic] & UINT64_C(1) << g;
        }
    }
    return targets;
}

enum dispatch_err dispatch_node_publish(struct dispatch_node *n, uint64_t partitions,
                                        uint32_t nodes, unsigned topic, uint64_t number,
                                        size_t more, uint64_t *op)
{
    memset(n->out, 0, MESSAGE_BYTES + more);
    put_u64(n->out, number);
    n->out[8] = (uint8_t)topic;
    return dispatch_put(n->dispatch, partitions, nodes, bytes_of(n->out, MESSAGE_BYTES + more),
                        now(n), op);
}

bool dispatch_node_ask(struct dispatch_node *n, unsigned group, unsigned session, unsigned topic,
                       bool subscribe, uint64_t number)
{
    const struct dispatch_entry entry = {.kind =
                                             subscribe ? DISPATCH_SUBSCRIBE : DISPATCH_UNSUBSCRIBE,
                                         .session = (uint8_t)session,
                                         .topic = (uint8_t)topic,
                                         .number = number};
    return n->leads[group].serves &&
           dispatch_group_propose(&n->groups[group], &entry, subscribe ? number : 0);
}
