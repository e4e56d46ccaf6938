/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch_suite: three to five nodes, each a server of three model partitions and a source;
 * clients publish anywhere, subscribe and unsubscribe; nodes crash, stand still, are cut off, lose
 * what was not synced or all they had; leaders hand over.
 *
 * At all times:
 *   - what a source is told to be done has been applied by each of its partitions for good, and
 *     given to the transient subscribers of each of its nodes, or the node is gone
 *   - a session that had its SUBACK before a message was published, and has not unsubscribed, has
 *     it in its queue when that is told to be done; also where the source sent it to no partition
 *   - nothing is twice in a queue, or twice with transient subscribers of a start of a node
 *   - what is of one source is in its order in each queue, and with transient subscribers
 *   - what was refused is nowhere
 *   - all replicas of a partition come to the same, whichever snapshot they begin with
 * In the end, where a majority is left: each node's messages are done, by all partitions or by
 * leases of those that are left out; who subscribes is answered; no message is left without an end
 * for longer than its time.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/dispatch_node.h"
#include "tests/sim/suites.h"
#include "tests/unit/route/random.h"

#define MESSAGES_MAX 65536u
#define INDEXES_MAX  65536u
#define SOURCES_MAX  512u
#define ASKS_MAX     65536u
#define PLACES       (DISPATCH_GROUPS * DISPATCH_SESSIONS)
#define TOPICS       DISPATCH_TOPICS
#define NODES_MAX    DISPATCH_SERVERS
#define OVERDUE_MS   14000u
#define FRESH_MS     2500u

enum message_state {
    MESSAGE_PUT = 1,
    MESSAGE_DONE,
    MESSAGE_UNKNOWN,
    MESSAGE_REFUSED,
};

struct message {
    uint8_t state, topic, node;
    uint16_t source;
    uint32_t nodes;     /* whose transient subscribers want it */
    uint32_t given;     /* nodes: that have it */
    uint32_t partition; /* bits: to be sent to */
    uint32_t applied;   /* bits: by partitions */
    uint64_t put_ms;
    uint64_t op;
    uint32_t gone[NODES_MAX];     /* how often each node had been gone for its source, then */
    uint16_t given_to[NODES_MAX]; /* sources: the starts of the nodes */
    uint16_t into;                /* bits of places: in that queue */
    uint16_t owed;                /* bits of places: subscribed when it was published */
    uint32_t asked[PLACES];       /* what the client had asked last then */
};

struct source {
    uint64_t origin;
    unsigned node;
    uint32_t *numbers; /* [ops]: the message */
    size_t ops, room;
    uint64_t gone[NODES_MAX];
    uint64_t highest[DISPATCH_GROUPS]; /* op applied */
    uint32_t last_in[PLACES];          /* its last message in each queue */
    uint32_t last_given[SOURCES_MAX];  /* its last to the transient subscribers of each start */
    bool calm_done;
};

struct place {
    uint32_t asked[TOPICS]; /* number of what the client has asked last */
    bool has[TOPICS];       /* SUBACK */
    uint8_t topics;         /* bits: as applied */
};

struct ask {
    uint8_t place, topic;
    bool calm;
};

struct books {
    struct node_uuid uuids[NODES_MAX];
    uint32_t lives[NODES_MAX]; /* volumes that it has had */
    struct node_uuid first[NODES_MAX];
    struct message messages[MESSAGES_MAX];
    uint32_t count, open; /* all before open have ended */
    struct source sources[SOURCES_MAX];
    unsigned sources_count;
    struct place places[PLACES];
    struct ask asks[ASKS_MAX];
    uint32_t asks_count;
    uint64_t hashes[DISPATCH_GROUPS][INDEXES_MAX];
    uint64_t terms[DISPATCH_GROUPS]; /* the latest of a leader */
    uint64_t fresh[DISPATCH_GROUPS]; /* when it was elected */
    bool calm_suback;
    unsigned rate, churn, reluctance, transfers; /* one in so many */
};

static struct books *books_of(const struct dispatch_node *n)
{
    return sim_suite_state(sim_of(n->links->node));
}

static struct sim *sim_of_node(const struct dispatch_node *n)
{
    return sim_of(n->links->node);
}

/* ---- Who is who */

static uint32_t number_of(struct sim *sim, unsigned index, struct node_uuid uuid)
{
    struct books *const b = sim_suite_state(sim);
    if (b->lives[index] == 0) {
        b->first[index] = uuid;
    }
    if (b->lives[index] == 0 || !node_uuid_equal(b->uuids[index], uuid)) {
        b->uuids[index] = uuid;
        b->lives[index]++;
    }
    return index + 1 + 8 * (b->lives[index] - 1);
}

static bool is_member(struct dispatch_node *n)
{
    const struct books *const b = books_of(n);
    return node_uuid_equal(b->first[sim_index(n->links->node)], sim_identity(n->links->node)->node);
}

static unsigned source_of(struct books *b, uint64_t origin, unsigned node)
{
    for (unsigned i = 0; i < b->sources_count; i++) {
        if (b->sources[i].origin == origin) {
            return i;
        }
    }
    assert(b->sources_count < SOURCES_MAX);
    b->sources[b->sources_count] = (struct source){.origin = origin, .node = node};
    return b->sources_count++;
}

static unsigned source_of_node(const struct dispatch_node *n)
{
    return source_of(books_of(n), dispatch_node_origin(n), sim_index(n->links->node));
}

/* ---- What nodes tell */

static void into_queue(struct dispatch_node *n, unsigned place, uint32_t number)
{
    struct books *const b = books_of(n);
    struct message *const m = &b->messages[number];
    uint32_t *const last = &b->sources[m->source].last_in[place];
    if ((m->into >> place & 1) != 0) {
        sim_fail(sim_of_node(n), "%u is twice in queue %u", number, place);
    }
    if (*last >= number) {
        sim_fail(sim_of_node(n), "%u comes behind %u in queue %u", number, *last, place);
    }
    *last = number;
    m->into = (uint16_t)(m->into | 1u << place);
}

/* How the queues of a partition change by a message, as its replicas should have it. */
static void message_applied(struct dispatch_node *n, unsigned group,
                            const struct dispatch_entry *entry, uint8_t into)
{
    struct books *const b = books_of(n);
    if (entry->number == 0 || entry->number > b->count ||
        b->messages[entry->number].state == MESSAGE_REFUSED) {
        sim_fail(sim_of_node(n), "%llu is applied, and was not published",
                 (unsigned long long)entry->number);
        return;
    }
    struct message *const m = &b->messages[entry->number];
    uint64_t *const highest = &b->sources[m->source].highest[group];
    uint8_t should = 0;
    if (entry->op > *highest) {
        *highest = entry->op;
        m->applied |= 1u << group;
        for (unsigned s = 0; s < DISPATCH_SESSIONS; s++) {
            const struct place *const p = &b->places[group * DISPATCH_SESSIONS + s];
            should = (uint8_t)(should | (p->topics >> m->topic & 1u) << s);
        }
    }
    if (into != should) {
        sim_fail(sim_of_node(n), "%llu goes into queues %x of %u, not %x",
                 (unsigned long long)entry->number, into, group, should);
    }
    for (unsigned s = 0; s < DISPATCH_SESSIONS; s++) {
        if ((into >> s & 1) != 0) {
            into_queue(n, group * DISPATCH_SESSIONS + s, (uint32_t)entry->number);
        }
    }
}

static void on_applied(struct dispatch_node *n, unsigned group, uint64_t index,
                       const struct dispatch_entry *entry, uint8_t into)
{
    struct books *const b = books_of(n);
    const uint64_t hash = dispatch_group_hash(&n->groups[group]);
    assert(index < INDEXES_MAX);
    if (b->hashes[group][index] != 0) {
        if (b->hashes[group][index] != hash) {
            sim_fail(sim_of_node(n), "node %u comes to something else at %llu of %u",
                     sim_index(n->links->node), (unsigned long long)index, group);
        }
        return;
    }
    b->hashes[group][index] = hash;
    struct place *const p = &b->places[group * DISPATCH_SESSIONS + entry->session];
    if (entry->kind == DISPATCH_MESSAGE) {
        message_applied(n, group, entry, into);
    } else if (entry->kind == DISPATCH_SUBSCRIBE) {
        p->topics = (uint8_t)(p->topics | 1u << entry->topic);
    } else if (entry->kind == DISPATCH_UNSUBSCRIBE) {
        p->topics = (uint8_t)(p->topics & ~(1u << entry->topic));
    }
}

static void on_restored(struct dispatch_node *n, unsigned group)
{
    const struct books *const b = books_of(n);
    const uint64_t index = n->groups[group].state.applied;
    if (b->hashes[group][index] != dispatch_group_hash(&n->groups[group])) {
        sim_fail(sim_of_node(n), "node %u restores what nobody has come to",
                 sim_index(n->links->node));
    }
}

static void on_delivered(struct dispatch_node *n, uint64_t origin, uint64_t op, uint64_t number)
{
    struct books *const b = books_of(n);
    const unsigned to = source_of_node(n), node = sim_index(n->links->node);
    struct message *const m = &b->messages[number];
    assert(number > 0 && number <= b->count);
    uint32_t *const last = &b->sources[m->source].last_given[to];
    if (b->sources[m->source].origin != origin || m->state == MESSAGE_REFUSED ||
        (m->op != 0 && m->op != op)) {
        sim_fail(sim_of_node(n), "node %u is given what nobody has published", node);
    }
    if (*last >= number) {
        sim_fail(sim_of_node(n), "node %u is given %llu behind %u", node,
                 (unsigned long long)number, *last);
    }
    *last = (uint32_t)number;
    m->given |= 1u << node;
    m->given_to[node] = (uint16_t)to;
}

static void on_gone(struct dispatch_node *n, unsigned peer)
{
    books_of(n)->sources[source_of_node(n)].gone[peer]++;
}

/* It is told to be done: is it? */
static void check_done(struct sim *sim, uint32_t number)
{
    const struct books *const b = sim_suite_state(sim);
    const struct message *const m = &b->messages[number];
    const struct source *const s = &b->sources[m->source];
    if ((m->partition & ~m->applied) != 0) {
        sim_fail(sim, "%u is told to be done, and partitions %x have not applied it", number,
                 m->partition & ~m->applied);
    }
    for (unsigned i = 0; i < PLACES; i++) {
        const bool stays = b->places[i].asked[m->topic] == m->asked[i];
        if ((m->owed >> i & 1) != 0 && stays && (m->into >> i & 1) == 0) {
            sim_fail(sim, "%u of topic %u is told to be done, and session %u misses it", number,
                     m->topic, i);
        }
    }
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if ((m->nodes >> i & 1) != 0 && (m->given >> i & 1) == 0 && s->gone[i] == m->gone[i]) {
            sim_fail(sim, "%u is told to be done, and node %u was not given it", number, i);
        }
    }
}

static void on_ended(struct dispatch_node *n, uint64_t op, enum dispatch_end end)
{
    struct books *const b = books_of(n);
    struct source *const s = &b->sources[source_of_node(n)];
    assert(op >= 1 && op <= s->ops);
    struct message *const m = &b->messages[s->numbers[op - 1]];
    if (m->state != MESSAGE_PUT) {
        sim_fail(sim_of_node(n), "%u ends twice", s->numbers[op - 1]);
    }
    m->state = end == DISPATCH_DONE ? MESSAGE_DONE : MESSAGE_UNKNOWN;
    if (end != DISPATCH_DONE) {
        sim_note(n->links->node, "%u has not ended in time", s->numbers[op - 1]);
        return;
    }
    check_done(sim_of_node(n), s->numbers[op - 1]);
    s->calm_done = s->calm_done || sim_is_calm(sim_of_node(n));
}

static void on_subscribed(struct dispatch_node *n, uint64_t number)
{
    struct books *const b = books_of(n);
    const struct ask *const a = &b->asks[number];
    struct place *const p = &b->places[a->place];
    if (p->asked[a->topic] == number) {
        p->has[a->topic] = true;
        sim_note(n->links->node, "session %u has topic %u", a->place, a->topic);
    }
    b->calm_suback = b->calm_suback || a->calm;
}

static void on_leads(struct dispatch_node *n, unsigned group, uint64_t term)
{
    struct books *const b = books_of(n);
    if (term > b->terms[group]) {
        b->terms[group] = term;
        b->fresh[group] = sim_time_ms(sim_of_node(n));
    }
}

static bool is_certain(struct dispatch_node *n, unsigned group, uint64_t term)
{
    return books_of(n)->terms[group] == term;
}

/* ---- What clients do */

static void note_op(struct source *s, uint64_t op, uint32_t number)
{
    if (s->ops == s->room) {
        s->room = s->room == 0 ? 256 : 2 * s->room;
        s->numbers = realloc(s->numbers, s->room * sizeof *s->numbers);
        assert(s->numbers != NULL);
    }
    assert(op == s->ops + 1);
    s->numbers[s->ops++] = number;
}

static void publish(struct dispatch_node *n, struct random *r)
{
    struct books *const b = books_of(n);
    if (b->count + 1 >= MESSAGES_MAX) {
        return;
    }
    const uint32_t number = ++b->count;
    struct message *const m = &b->messages[number];
    *m = (struct message){.state = MESSAGE_PUT,
                          .topic = (uint8_t)random_below(r, TOPICS),
                          .node = (uint8_t)sim_index(n->links->node),
                          .source = (uint16_t)source_of_node(n),
                          .put_ms = sim_time_ms(sim_of_node(n))};
    struct source *const s = &b->sources[m->source];
    m->partition = (uint32_t)dispatch_node_targets(n, m->topic);
    for (unsigned i = 0; i < sim_nodes(sim_of_node(n)); i++) {
        const bool live = i == m->node || n->peers[i].live;
        m->nodes |= live && random_below(r, 8) == 0 ? 1u << i : 0;
        m->gone[i] = (uint32_t)s->gone[i];
    }
    for (unsigned i = 0; i < PLACES; i++) {
        m->owed = (uint16_t)(m->owed | (b->places[i].has[m->topic] ? 1u << i : 0));
        m->asked[i] = b->places[i].asked[m->topic];
    }
    if (m->partition == 0 && m->nodes == 0) {
        m->state = MESSAGE_DONE;
        check_done(sim_of_node(n), number);
        s->calm_done = s->calm_done || sim_is_calm(sim_of_node(n));
        return;
    }
    const enum dispatch_err err = dispatch_node_publish(n, m->partition, m->nodes, m->topic, number,
                                                        random_below(r, 300), &m->op);
    if (err == DISPATCH_OK) {
        note_op(s, m->op, number);
    } else {
        m->state = MESSAGE_REFUSED;
    }
}

/* Clients come to a new leader all at once: then its predecessor may not know yet that it is none.
 */
static bool hurries(struct sim *sim, struct random *r, unsigned place)
{
    const struct books *const b = sim_suite_state(sim);
    const uint64_t fresh = b->fresh[place / DISPATCH_SESSIONS];
    return sim_is_calm(sim) || (sim_time_ms(sim) - fresh < FRESH_MS && random_below(r, 2) == 0);
}

/* A client turns to who leads its partition, and wants something else than before. */
static void ask(struct sim *sim, struct random *r)
{
    struct books *const b = sim_suite_state(sim);
    const unsigned place = random_below(r, PLACES), topic = random_below(r, TOPICS);
    const unsigned group = place / DISPATCH_SESSIONS, session = place % DISPATCH_SESSIONS;
    struct place *const p = &b->places[place];
    const bool subscribe = !p->has[topic];
    if (subscribe && !hurries(sim, r, place) && random_below(r, b->reluctance) != 0) {
        return;
    }
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct dispatch_node *const n = dispatch_node_of(sim, i);
        if (n == NULL || sim_is_paused(sim_node(sim, i)) || !n->leads[group].serves ||
            b->asks_count + 1 >= ASKS_MAX) {
            continue;
        }
        const uint32_t number = ++b->asks_count;
        b->asks[number] = (struct ask){
            .place = (uint8_t)place, .topic = (uint8_t)topic, .calm = sim_is_calm(sim)};
        p->asked[topic] = number;
        p->has[topic] = false;
        if (!dispatch_node_ask(n, group, session, topic, subscribe, number)) {
            sim_note(n->links->node, "does not take a subscription");
        }
    }
}

static void transfer(struct dispatch_node *n, struct random *r)
{
    const unsigned g = random_below(r, DISPATCH_GROUPS);
    if (n->leads[g].serves &&
        consensus_transfer(n->groups[g].consensus, 0, sim_now_ms(n->links->node)) == CONSENSUS_OK) {
        sim_note(n->links->node, "another one is to lead %u", g);
    }
}

static void act(struct sim *sim)
{
    struct random *const r = sim_world_random(sim);
    const struct books *const b = sim_suite_state(sim);
    if (random_below(r, b->churn) == 0) {
        ask(sim, r);
        ask(sim, r);
    }
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        struct dispatch_node *const n = dispatch_node_of(sim, i);
        if (n == NULL || sim_is_paused(sim_node(sim, i))) {
            continue;
        }
        for (unsigned k = random_below(r, b->rate); k > 0; k--) {
            publish(n, r);
        }
        if (b->transfers != 0 && !sim_is_calm(sim) && random_below(r, b->transfers) == 0) {
            transfer(n, r);
        }
        link_node_go_on(n->links);
    }
}

/* ---- What must hold */

/* All else is looked at when it happens. */
static void check(struct sim *sim)
{
    struct books *const b = sim_suite_state(sim);
    while (b->open <= b->count && b->messages[b->open].state != MESSAGE_PUT) {
        b->open++;
    }
}

static bool is_overdue(struct sim *sim)
{
    const struct books *const b = sim_suite_state(sim);
    for (uint32_t i = b->open; i <= b->count; i++) {
        const struct message *const m = &b->messages[i];
        const struct dispatch_node *const n = dispatch_node_of(sim, m->node);
        if (m->state == MESSAGE_PUT && n != NULL && source_of_node(n) == m->source &&
            sim_time_ms(sim) - m->put_ms > OVERDUE_MS) {
            return true;
        }
    }
    return false;
}

static bool has_majority(struct sim *sim)
{
    unsigned left = 0;
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct dispatch_node *const n = dispatch_node_of(sim, i);
        bool up = n != NULL && n->is_member;
        for (unsigned g = 0; up && g < DISPATCH_GROUPS; g++) {
            up = dispatch_group_is_up(&n->groups[g]);
        }
        left += up;
    }
    return 2 * left > sim_nodes(sim);
}

static bool is_converged(struct sim *sim)
{
    const struct books *const b = sim_suite_state(sim);
    if (is_overdue(sim)) {
        return false;
    }
    if (!has_majority(sim)) {
        return true;
    }
    for (unsigned i = 0; i < sim_nodes(sim); i++) {
        const struct dispatch_node *const n = dispatch_node_of(sim, i);
        if (n != NULL && !b->sources[source_of_node(n)].calm_done) {
            return false;
        }
    }
    return b->calm_suback;
}

static uint64_t on_link(struct link_peer *to)
{
    (void)to;
    return 1;
}

static void on_numbered(struct link_peer *from, uint64_t start, uint64_t number, uint64_t seq)
{
    (void)from, (void)start, (void)number, (void)seq;
}

static void on_lost(struct link_peer *to, uint64_t first, uint64_t last)
{
    (void)to, (void)first, (void)last;
}

static void on_reached(struct link_node *n, uint64_t token, uint32_t without)
{
    (void)n, (void)token, (void)without;
}

static void *begin(struct sim *sim)
{
    struct books *const b = calloc(1, sizeof *b);
    assert(b != NULL);
    assert(sim_nodes(sim) <= NODES_MAX);
    b->open = 1;
    b->rate = 2 + random_below(sim_world_random(sim), 2);
    b->churn = 1 + random_below(sim_world_random(sim), 10);
    b->reluctance = 1u << random_below(sim_world_random(sim), 6);
    b->transfers = random_below(sim_world_random(sim), 3) * 60;
    link_rules = (struct link_rules){.rider = &dispatch_rider,
                                     .on_link = on_link,
                                     .on_numbered = on_numbered,
                                     .on_lost = on_lost,
                                     .on_reached = on_reached};
    dispatch_rules = (struct dispatch_rules){.is_member = is_member,
                                             .number_of = number_of,
                                             .applied = on_applied,
                                             .restored = on_restored,
                                             .delivered = on_delivered,
                                             .ended = on_ended,
                                             .gone = on_gone,
                                             .subscribed = on_subscribed,
                                             .leads = on_leads,
                                             .is_certain = is_certain};
    return b;
}

static void end(struct sim *sim)
{
    struct books *const b = sim_suite_state(sim);
    for (unsigned i = 0; i < b->sources_count; i++) {
        free(b->sources[i].numbers);
    }
    free(b);
}

const struct sim_suite dispatch_suite = {
    .name = "dispatch",
    .module = &link_module,
    .faults = (LINK_FAULTS & ~SIM_OTHER_CLUSTER) | SIM_DISK_LOSS | SIM_DISK_TORN | SIM_DISK_ERROR,
    .nodes_min = 3,
    .nodes_max = NODES_MAX,
    .check_every_ms = 50,
    .safety_ms = 60000,
    .liveness_ms = 60000,
    .begin = begin,
    .end = end,
    .act = act,
    .check = check,
    .is_converged = is_converged,
};
