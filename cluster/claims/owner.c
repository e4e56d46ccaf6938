/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner: those whose ids this node owns. A record is what one holder has told of one client; of one
 * id there may be several, of which one is CURRENT or CLAIMING at most. A record stays until its
 * holder has said that it ended, so that each word is said again until it was heard:
 *
 *             ┌─────── another has it ──────▶ KICKED ── GONE, and its will is over ──┐
 *   CLAIMING ─┴▶ CURRENT ── GONE ──▶ GONE ── published, or the client is back ───────┴▶ DONE
 *                                                                       ENDED, of any: removed
 *
 * A record whose round is too low is void. It is removed, and what its will demands is done, when
 * it is met, or when a sweep comes by.
 */
#include "cluster/claims/claims_parts.h"

static struct bytes id_of(const struct record *r)
{
    return bytes_of(r->id, r->id_len);
}

static bool has_id(const struct record *r)
{
    return r->state == RECORD_CLAIMING || r->state == RECORD_CURRENT;
}

/* Its holder does not know any more what it has told. */
static bool is_lost(const struct claims *c, const struct record *r)
{
    return r->round < c->peers[r->peer].lost_round;
}

/* It has told all of the partition since, without this one. That says nothing of a start before. */
static bool is_missing(const struct claims *c, const struct part *part, const struct record *r)
{
    const struct peer *const p = &c->peers[r->peer];
    return r->round < p->floor[part_number(c, part)] &&
           (r->will == NULL || (r->will->whose.generation == p->generation &&
                                node_uuid_equal(r->will->whose.node, p->uuid)));
}

bool owner_has_id(const struct claims *c, const struct part *part, const struct record *r)
{
    return has_id(r) && !is_lost(c, r) && !is_missing(c, part, r);
}

static bool is_reachable(const struct claims *c, unsigned peer)
{
    return peer == CLAIMS_SELF || c->peers[peer].up;
}

/* ---- Words, wills */

/* CURRENT, KICKED or DONE: the word for it is to be said. */
static void owe(struct claims *c, struct record *r)
{
    list_append(&c->peers[r->peer].owed, &r->list);
}

static void publish(struct claims *c, const struct record *r)
{
    c->figures.wills_published++;
    c->events.will(c->events.context, &r->will->whose, id_of(r),
                   bytes_of(r->will->bytes, r->will->len));
}

void owner_will_over(struct claims *c, struct part *part, struct record *r, bool published)
{
    if (published) {
        publish(c, r);
    } else {
        c->figures.wills_cancelled++;
    }
    if (is_lost(c, r) || part->term == 0) {
        registry_remove(c, part, r); /* there is nobody to be told */
        return;
    }
    registry_drop_will(c, r);
    r->state = RECORD_DONE;
    owe(c, r);
}

void owner_gone(struct claims *c, struct record *r, uint64_t left_ms, uint64_t now_ms)
{
    list_remove(&r->list);
    r->state = RECORD_GONE;
    dues_set(&c->dues, &r->will->due,
             left_ms < UINT64_MAX - now_ms ? now_ms + left_ms : UINT64_MAX);
}

/* ---- Void records */

/* Of a holder that is lost. false: it was removed. */
static bool lose(struct claims *c, struct part *part, struct record *r, uint64_t now_ms)
{
    const bool had = r->state == RECORD_CURRENT || (r->state == RECORD_KICKED && r->was_current);
    if (r->state == RECORD_GONE) {
        return true;
    }
    if (!had || r->will == NULL) {
        registry_remove(c, part, r);
        return false;
    }
    if (r->state == RECORD_KICKED) {
        owner_will_over(c, part, r, r->by_clean || r->will->delay_ms == 0);
        return false;
    }
    owner_gone(c, r, r->will->delay_ms, now_ms);
    return true;
}

static bool judge_copy(struct claims *c, struct part *part, struct record *r, uint64_t now_ms)
{
    if (is_lost(c, r)) {
        return deputy_lose(c, part, r, now_ms);
    }
    if (deputy_is_missing(c, part, r)) {
        deputy_remove(c, part, r);
        return false;
    }
    return true;
}

/* Whether the record still counts; if it does not, it was removed. */
static bool judge(struct claims *c, struct part *part, struct record *r, uint64_t now_ms)
{
    if (r->state == RECORD_COPY) {
        return judge_copy(c, part, r, now_ms);
    }
    if (is_missing(c, part, r)) {
        registry_remove(c, part, r); /* as if it had said ENDED */
        return false;
    }
    if (is_lost(c, r)) {
        return lose(c, part, r, now_ms);
    }
    if (part->term != 0) {
        return true;
    }
    /* Somebody else is the owner, whom the holder tells; unless it never will. */
    if (is_reachable(c, r->peer) || r->will == NULL) {
        registry_remove(c, part, r);
        return false;
    }
    return true;
}

/* ---- Who has an id */

static bool is_settled(const struct claims *c, const struct part *part)
{
    uint64_t all = PEER_BIT(CLAIMS_SELF);
    for (unsigned i = 0; i < CLAIMS_PEERS_MAX; i++) {
        all |= c->peers[i].live ? PEER_BIT(i) : 0;
    }
    return (all & ~part->ended) == 0;
}

static void grant(struct claims *c, struct part *part, struct record *r, bool unsure)
{
    r->state = RECORD_CURRENT;
    r->unsure = unsure;
    if (r->peer != CLAIMS_SELF && r->clean && c->events.cleared != NULL) {
        c->events.cleared(c->events.context, r->link.hash, id_of(r));
    }
    owe(c, r);
    if (list_is_empty(&part->claiming)) {
        c->waiting &= ~PART_BIT(part_number(c, part));
    }
}

/* Those of the id that are to be closed, and have not said that they are. */
static bool has_kicked(struct claims *c, struct part *part, uint64_t hash, struct bytes id,
                       uint64_t now_ms)
{
    struct record *next = registry_next(part, hash, id, NULL);
    bool found = false;
    while (next != NULL) {
        struct record *const r = next;
        next = registry_next(part, hash, id, r);
        found = (judge(c, part, r, now_ms) && r->state == RECORD_KICKED) || found;
    }
    return found;
}

/* Whether it can be answered now. */
static bool claim_look(struct claims *c, struct part *part, struct record *r, uint64_t now_ms)
{
    const bool settled = is_settled(c, part);
    const bool kicked = has_kicked(c, part, r->link.hash, id_of(r), now_ms);
    if ((!settled && now_ms < part->began_ms + c->conf.settle_ms) ||
        (kicked && now_ms < r->since_ms + c->conf.kick_ms)) {
        return false;
    }
    grant(c, part, r, kicked || !settled);
    return true;
}

/* Somebody who had the id has ended. */
static void id_look(struct claims *c, struct part *part, uint64_t hash, struct bytes id,
                    uint64_t now_ms)
{
    for (struct record *r = registry_next(part, hash, id, NULL); r != NULL;
         r = registry_next(part, hash, id, r)) {
        if (r->state == RECORD_CLAIMING && !is_lost(c, r) && !is_missing(c, part, r)) {
            (void)claim_look(c, part, r, now_ms);
            return;
        }
    }
}

/* That holder was taken for lost, and lives. */
static bool is_same(const struct claims *c, const struct record *lost, const struct record *r)
{
    return lost->peer == r->peer && lost->serial == r->serial &&
           lost->will->whose.generation == c->peers[r->peer].generation;
}

void owner_supersede(struct claims *c, struct part *part, struct record *r, const struct record *by)
{
    if (has_id(r)) {
        r->was_current = r->state == RECORD_CURRENT;
        r->state = RECORD_KICKED;
        r->by_clean = by->clean;
        owe(c, r);
    } else if (r->state == RECORD_GONE) {
        owner_will_over(c, part, r, !is_same(c, r, by) && (by->clean || r->will->delay_ms == 0));
    }
}

/* All others of the id, that are older. */
static void supersede_all(struct claims *c, struct part *part, struct record *by, uint64_t now_ms)
{
    struct record *next = registry_next(part, by->link.hash, id_of(by), NULL);
    while (next != NULL) {
        struct record *const r = next;
        next = registry_next(part, by->link.hash, id_of(by), r);
        if (r == by || !judge(c, part, r, now_ms) || r->claim > by->claim) {
            continue;
        }
        if (has_id(r)) {
            by->former = r->state == RECORD_CURRENT ? r->peer : r->former;
        }
        owner_supersede(c, part, r, by);
    }
}

/* Who has the id beside `but`; NULL: nobody. */
static struct record *holder_of(struct claims *c, struct part *part, uint64_t hash, struct bytes id,
                                const struct record *but, uint64_t now_ms)
{
    struct record *next = registry_next(part, hash, id, NULL), *found = NULL;
    while (next != NULL) {
        struct record *const r = next;
        next = registry_next(part, hash, id, r);
        if (r != but && judge(c, part, r, now_ms) && has_id(r)) {
            found = r;
        }
    }
    return found;
}

/* < 0: a's claim is the earlier. */
static int compare(const struct claims *c, const struct record *a, const struct record *b)
{
    if (a->claim != b->claim) {
        return a->claim < b->claim ? -1 : 1;
    }
    const int by_node = node_uuid_compare(c->peers[a->peer].uuid, c->peers[b->peer].uuid);
    return by_node != 0 ? by_node : (a->serial > b->serial) - (a->serial < b->serial);
}

/* ---- What holders tell */

static struct record *add(struct claims *c, struct part *part, unsigned peer,
                          const struct node_hold *item)
{
    struct record *const r = registry_add(c, part, peer, item);
    if (r != NULL) {
        r->round = c->peers[peer].round;
    }
    return r;
}

static enum claims_err take_wants(struct claims *c, struct part *part, unsigned peer,
                                  struct record *r, const struct node_hold *item, uint64_t now_ms)
{
    if (r != NULL) {
        if (r->state == RECORD_CURRENT || r->state == RECORD_KICKED) {
            owe(c, r); /* it has not heard of it */
        }
        return CLAIMS_OK;
    }
    r = add(c, part, peer, item);
    if (r == NULL) {
        return CLAIMS_NO_MEMORY;
    }
    r->state = RECORD_CLAIMING;
    r->claim = claims_stamp(c);
    r->since_ms = now_ms;
    list_append(&part->claiming, &r->list);
    c->waiting |= PART_BIT(part_number(c, part));
    supersede_all(c, part, r, now_ms);
    (void)claim_look(c, part, r, now_ms);
    return CLAIMS_OK;
}

/* One that has it already: it was told to another owner, or to none. */
static void settle_conflict(struct claims *c, struct part *part, struct record *r, uint64_t now_ms)
{
    struct record *const other = holder_of(c, part, r->link.hash, id_of(r), r, now_ms);
    if (other != NULL) {
        c->figures.conflicts++;
        if (other->state == RECORD_CLAIMING) {
            other->claim =
                claims_stamp(c); /* it has come to us after that one, whatever the clocks say */
        }
        if (compare(c, r, other) < 0) {
            other->former = other->state == RECORD_CLAIMING ? r->peer : other->former;
            owner_supersede(c, part, r, other);
            return;
        }
    }
    supersede_all(c, part, r, now_ms);
    r->former = NOBODY;
}

static enum claims_err take_holds(struct claims *c, struct part *part, unsigned peer,
                                  struct record *r, const struct node_hold *item, uint64_t now_ms)
{
    if (r == NULL) {
        r = add(c, part, peer, item);
        if (r == NULL) {
            return CLAIMS_NO_MEMORY;
        }
        r->state = RECORD_CURRENT;
        settle_conflict(c, part, r, now_ms);
        return CLAIMS_OK;
    }
    if (r->state == RECORD_KICKED) {
        owe(c, r);
    } else if (has_id(r)) {
        const bool claiming = r->state == RECORD_CLAIMING; /* it could not wait */
        r->state = RECORD_CURRENT;
        r->claim = claiming && item->claim > r->claim ? item->claim : r->claim;
        list_remove(&r->list);
    }
    return CLAIMS_OK;
}

/* A will of which this node has not heard before; if somebody came later, it knows what of it. */
static enum claims_err take_new_gone(struct claims *c, struct part *part, unsigned peer,
                                     const struct node_hold *item, uint64_t now_ms)
{
    struct record *const r = add(c, part, peer, item);
    if (r == NULL) {
        return CLAIMS_NO_MEMORY;
    }
    owner_gone(c, r, item->left_ms, now_ms);
    const struct record *const other = holder_of(c, part, item->hash, item->id, r, now_ms);
    if (other != NULL && compare(c, r, other) < 0) {
        owner_will_over(c, part, r, other->clean || item->left_ms == 0);
    }
    return CLAIMS_OK;
}

static enum claims_err take_gone(struct claims *c, struct part *part, unsigned peer,
                                 struct record *r, const struct node_hold *item, uint64_t now_ms)
{
    if (r == NULL) {
        return take_new_gone(c, part, peer, item, now_ms);
    }
    if (r->state == RECORD_DONE) {
        owe(c, r);
        return CLAIMS_OK;
    }
    if (r->will == NULL || r->state == RECORD_GONE) {
        return CLAIMS_OK;
    }
    if (has_id(r)) {
        owner_gone(c, r, item->left_ms, now_ms);
        return CLAIMS_OK;
    }
    owner_will_over(c, part, r, r->by_clean || r->will->delay_ms == 0);
    id_look(c, part, item->hash, item->id, now_ms);
    return CLAIMS_OK;
}

static void take_ended(struct claims *c, struct part *part, struct record *r,
                       const struct node_hold *item, uint64_t now_ms)
{
    if (r != NULL) {
        registry_remove(c, part, r);
        id_look(c, part, item->hash, item->id, now_ms);
    }
}

static void claiming_look(struct claims *c, struct part *part, uint64_t now_ms)
{
    struct list *next;
    for (struct list *l = part->claiming.next; l != &part->claiming; l = next) {
        next = l->next;
        (void)claim_look(c, part, list_object(l, struct record, list), now_ms);
    }
}

static void take_marker(struct claims *c, struct part *part, unsigned peer, uint8_t kind,
                        uint64_t now_ms)
{
    struct peer *const p = &c->peers[peer];
    const unsigned number = part_number(c, part);
    if (kind == NODE_HOLD_BEGIN) {
        p->begun_round[number] = ++p->round;
        part->begun |= PEER_BIT(peer);
    } else if ((part->begun & PEER_BIT(peer)) != 0) {
        p->floor[number] = p->begun_round[number];
        owner_sweep(c, part);
        part->ended |= PEER_BIT(peer);
        if (is_settled(c, part)) {
            claiming_look(c, part, now_ms);
        }
    }
}

enum claims_err owner_take(struct claims *c, unsigned peer, const struct node_hold *item,
                           uint64_t now_ms)
{
    struct part *const part = part_of(c, item->hash);
    if (item->kind >= NODE_HOLD_COPY && item->kind <= NODE_HOLD_COPIES_END) {
        return deputy_take(c, peer, item, now_ms);
    }
    if (part->term == 0) {
        return CLAIMS_OK; /* it will see that, and tell another one */
    }
    if (item->kind == NODE_HOLD_BEGIN || item->kind == NODE_HOLD_END) {
        take_marker(c, part, peer, item->kind, now_ms);
        return CLAIMS_OK;
    }
    claims_heard(c, item->claim);
    struct record *r = registry_find(c, part, peer, item);
    if (r != NULL && r->state == RECORD_COPY) {
        deputy_remove(c, part, r); /* it is told to the owner now */
        r = NULL;
    }
    if (r != NULL) {
        r->round = c->peers[peer].round;
    }
    switch (item->kind) {
    case NODE_HOLD_WANTS:
        return take_wants(c, part, peer, r, item, now_ms);
    case NODE_HOLD_HOLDS:
        return take_holds(c, part, peer, r, item, now_ms);
    case NODE_HOLD_GONE:
        return take_gone(c, part, peer, r, item, now_ms);
    case NODE_HOLD_ENDED:
        take_ended(c, part, r, item, now_ms);
        return CLAIMS_OK;
    default:
        return CLAIMS_OK; /* of a later version */
    }
}

/* ---- Words */

static uint8_t word_kind(const struct record *r)
{
    switch (r->state) {
    case RECORD_CURRENT:
        return NODE_WORD_GRANT;
    case RECORD_KICKED:
        return NODE_WORD_KICK;
    default:
        return NODE_WORD_DONE;
    }
}

bool owner_word(struct claims *c, unsigned peer, struct node_word *word)
{
    struct peer *const p = &c->peers[peer];
    for (struct list *l = list_first(&p->owed); l != NULL; l = list_first(&p->owed)) {
        struct record *const r = list_object(l, struct record, list);
        struct part *const part = part_of(c, r->link.hash);
        if (is_lost(c, r) || is_missing(c, part, r) || part->term == 0) {
            list_remove(l); /* the sweep will find it */
            continue;
        }
        list_append(&p->said, &r->list);
        *word = (struct node_word){.kind = word_kind(r),
                                   .flags = r->unsure ? NODE_WORD_UNSURE : 0,
                                   .hash = r->link.hash,
                                   .serial = r->serial,
                                   .claim = r->claim};
        if (r->former != NOBODY) {
            word->former = c->peers[r->former].uuid;
        }
        return true;
    }
    return false;
}

/* ---- Terms, losses, sweeps */

void owner_sweep(struct claims *c, struct part *part)
{
    (void)c;
    part->sweeping = true;
    part->sweep_place = 0;
}

void owner_term_begins(struct claims *c, struct part *part, uint64_t now_ms)
{
    part->term = ++c->terms;
    part->began_ms = now_ms;
    part->begun = 0;
    part->ended = 0;
    c->figures.partitions++;
}

/* What is left is removed step by step; what comes back meanwhile is told anew. */
void owner_term_ends(struct claims *c, struct part *part)
{
    part->term = 0;
    c->figures.partitions--;
    owner_sweep(c, part);
}

void owner_lost(struct claims *c, unsigned peer)
{
    struct peer *const p = &c->peers[peer];
    p->lost_round = ++p->round;
    p->owner_due = true;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        c->parts[i].begun &= ~PEER_BIT(peer);
        c->parts[i].ended &= ~PEER_BIT(peer);
        owner_sweep(c, &c->parts[i]);
    }
    c->figures.peers_lost++;
}

static void judge_all(struct claims *c, struct part *part, struct table_link *first,
                      uint64_t now_ms)
{
    struct table_link *next;
    for (struct table_link *l = first; l != NULL; l = next) {
        next = table_find_next(l);
        (void)judge(c, part, table_object(l, struct record, link), now_ms);
    }
}

static void sweep(struct claims *c, struct part *part, unsigned *steps, uint64_t now_ms)
{
    while (*steps > 0) {
        struct table_link *const l = table_walk(&part->records, &part->sweep_place, steps);
        if (l == NULL) {
            part->sweeping = *steps == 0;
            return;
        }
        part->sweep_place = table_place_after(l->hash);
        judge_all(c, part, l, now_ms);
        if (part->sweep_place == 0) {
            part->sweeping = false;
            return;
        }
        (*steps)--;
    }
}

static void claims_due(struct claims *c, struct part *part, uint64_t now_ms)
{
    for (struct list *l = list_first(&part->claiming); l != NULL; l = list_first(&part->claiming)) {
        struct record *const r = list_object(l, struct record, list);
        if (judge(c, part, r, now_ms) && !claim_look(c, part, r, now_ms)) {
            return; /* those behind it came later */
        }
    }
    c->waiting &= ~PART_BIT(part_number(c, part));
}

static void wills_due(struct claims *c, uint64_t now_ms)
{
    unsigned steps = c->conf.turn_steps;
    for (struct due *d = dues_first(&c->dues); d != NULL && d->ms <= now_ms && steps > 0;
         d = dues_first(&c->dues), steps--) {
        struct record *const r = ((struct record_will *)(void *)d)->record;
        struct part *const part = part_of(c, r->link.hash);
        if (part->term == 0 && !is_lost(c, r)) {
            dues_set(&c->dues, d,
                     now_ms + c->conf.retry_ms); /* if it lives, it tells another one */
            continue;
        }
        c->figures.wills_left_behind += part->term == 0;
        owner_will_over(c, part, r, true);
    }
}

void owner_turn(struct claims *c, uint64_t now_ms)
{
    unsigned steps = c->conf.turn_steps;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS && steps > 0; i++) {
        if (c->parts[i].sweeping) {
            sweep(c, &c->parts[i], &steps, now_ms);
        }
    }
    for (uint64_t left = c->waiting; left != 0; left &= left - 1) {
        claims_due(c, &c->parts[__builtin_ctzll(left)], now_ms);
    }
    wills_due(c, now_ms);
}

uint64_t owner_next_ms(const struct claims *c)
{
    const struct due *const d = dues_first(&c->dues);
    uint64_t next = d == NULL ? UINT64_MAX : d->ms;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        const struct part *const part = &c->parts[i];
        const struct list *const l = list_first(&part->claiming);
        if (part->sweeping) {
            return 0;
        }
        if (l != NULL) {
            const struct record *const r = list_object(l, struct record, list);
            const uint64_t kicked = r->since_ms + c->conf.kick_ms;
            const uint64_t settled = part->began_ms + c->conf.settle_ms;
            const uint64_t due = settled > kicked && !is_settled(c, part) ? settled : kicked;
            next = due < next ? due : next;
        }
    }
    return next;
}

/* ---- For tests */

struct checking {
    struct claims *claims;
    struct part *part;
};

static bool check_record(void *context, struct table_link *link)
{
    const struct checking *const k = context;
    const struct claims *const c = k->claims;
    struct part *const part = k->part;
    const struct record *const r = table_object(link, struct record, link);
    for (const struct record *o = registry_next(part, link->hash, id_of(r), NULL); o != NULL;
         o = registry_next(part, link->hash, id_of(r), o)) {
        if (o != r && part->term != 0 && owner_has_id(c, part, o) && owner_has_id(c, part, r)) {
            return false;
        }
    }
    if (r->state == RECORD_GONE) {
        return r->will != NULL && r->will->due.at != 0 && !list_is_in(&r->list);
    }
    return r->will == NULL || r->will->due.at == 0;
}

bool owner_check(struct claims *c)
{
    size_t count = 0;
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        struct checking checking = {.claims = c, .part = &c->parts[i]};
        count += c->parts[i].records.count;
        if (!table_all(&c->parts[i].records, check_record, &checking)) {
            return false;
        }
    }
    return count == c->figures.records;
}
