/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder: this node's clients, and what their owners know of them. Nothing is queued for an owner:
 * a hold that has changed lies in a list of its partition, and goes as it is then.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/claims/claims_parts.h"

static size_t hold_bytes(size_t id_len)
{
    return offsetof(struct hold, id) + id_len;
}

static void drop_will(struct claims *c, struct part *part, struct hold *h)
{
    if (h->will != NULL) {
        deputy_will_over(c, part, h);
    }
}

static void hold_free(struct claims *c, struct part *part, struct hold *h)
{
    drop_will(c, part, h);
    list_remove(&h->to_tell);
    table_remove(&part->holds, &h->link);
    c->figures.holds--;
    c->figures.bytes -= hold_bytes(h->id_len);
    free(h);
}

static void asks_free(struct list *asks)
{
    struct list *next;
    for (struct list *l = asks->next; l != asks; l = next) {
        next = l->next;
        free(list_object(l, struct ask, list));
    }
}

void holder_fini(struct claims *c)
{
    for (unsigned i = 0; i < NODE_CLAIM_PARTITIONS; i++) {
        struct part *const part = &c->parts[i];
        size_t cursor = 0;
        for (struct table_link *l = table_any(&part->holds, &cursor); l != NULL;
             l = table_any(&part->holds, &cursor)) {
            hold_free(c, part, table_object(l, struct hold, link));
        }
        table_fini(&part->holds);
        deputy_part_fini(part);
    }
    asks_free(&c->asks);
    asks_free(&c->late_asks);
}

static struct hold *find(struct part *part, uint64_t hash, uint64_t serial)
{
    for (struct table_link *l = table_find(&part->holds, hash); l != NULL; l = table_find_next(l)) {
        struct hold *const h = table_object(l, struct hold, link);
        if (h->serial == serial) {
            return h;
        }
    }
    return NULL;
}

static void touch(struct claims *c, struct part *part, struct hold *h)
{
    list_append(&part->dirty, &h->to_tell);
    c->busy |= PART_BIT(part_number(c, part));
}

/* ---- What clients do */

static bool set_will(struct claims *c, struct hold *h, const struct claims_attach *attach)
{
    if (attach->will.len == 0) {
        return true;
    }
    h->will = calloc(1, offsetof(struct hold_will, bytes) + attach->will.len);
    if (h->will == NULL) {
        return false;
    }
    h->will->hold = h;
    h->will->delay_ms = attach->delay_ms;
    h->will->len = (uint32_t)attach->will.len;
    memcpy(h->will->bytes, attach->will.at, attach->will.len);
    c->figures.bytes += offsetof(struct hold_will, bytes) + h->will->len;
    return true;
}

static struct hold *hold_create(struct claims *c, const struct claims_attach *attach)
{
    struct hold *const h = calloc(1, hold_bytes(attach->id.len));
    if (h == NULL) {
        return NULL;
    }
    if (!set_will(c, h, attach)) {
        free(h);
        return NULL;
    }
    h->kind = NODE_HOLD_WANTS;
    h->clean = attach->clean;
    h->id_len = (uint16_t)attach->id.len;
    memcpy(h->id, attach->id.at, attach->id.len);
    return h;
}

enum claims_err claims_attach(struct claims *c, const struct claims_attach *attach, uint64_t now_ms)
{
    assert(attach->serial > 0);
    assert(attach->id.len > 0 && attach->id.len <= NODE_CLAIM_ID_MAX);
    assert(attach->will.len <= NODE_CLAIM_WILL_MAX);

    if (c->figures.holds >= c->conf.holds_max || c->asks_count >= c->conf.asks_max) {
        c->figures.refused++;
        return CLAIMS_FULL;
    }
    struct ask *const ask = calloc(1, sizeof *ask);
    struct hold *const h = ask == NULL ? NULL : hold_create(c, attach);
    if (h == NULL) {
        free(ask);
        c->figures.no_memory++;
        return CLAIMS_NO_MEMORY;
    }
    struct part *const part = part_of(c, attach->hash);
    h->serial = attach->serial;
    h->claim = claims_stamp(c);
    table_insert(&part->holds, &h->link, attach->hash);
    c->figures.holds++;
    c->figures.bytes += hold_bytes(h->id_len);
    touch(c, part, h);
    ask->hash = attach->hash;
    ask->serial = h->serial;
    ask->due_ms = now_ms + c->conf.unreachable_ms;
    list_append(&c->asks, &ask->list);
    c->asks_count++;
    return CLAIMS_OK;
}

static void end_hold(struct claims *c, struct part *part, struct hold *h)
{
    drop_will(c, part, h);
    h->kind = NODE_HOLD_ENDED;
    if (!holder_is_heard(c, part)) {
        /* Nothing is kept of it, however long the owner is away: it will be missing when all is
         * told. */
        holder_tell_all(c, part);
        hold_free(c, part, h);
        return;
    }
    touch(c, part, h);
}

void claims_set_delay(struct claims *c, uint64_t hash, uint64_t serial, uint64_t delay_ms)
{
    struct hold *const h = find(part_of(c, hash), hash, serial);
    if (h != NULL && h->kind == NODE_HOLD_HOLDS && h->will != NULL) {
        h->will->delay_ms = delay_ms;
    }
}

void claims_detach(struct claims *c, uint64_t hash, uint64_t serial, enum claims_end end,
                   uint64_t now_ms)
{
    struct part *const part = part_of(c, hash);
    struct hold *const h = find(part, hash, serial);
    if (h == NULL || h->kind == NODE_HOLD_GONE || h->kind == NODE_HOLD_ENDED) {
        return;
    }
    if (end == CLAIMS_LOST && h->kind == NODE_HOLD_HOLDS && h->will != NULL) {
        h->kind = NODE_HOLD_GONE;
        h->will->gone_ms = now_ms;
        touch(c, part, h);
        deputy_will(c, part, h);
        return;
    }
    end_hold(c, part, h);
}

/* ---- What the owner is told */

bool holder_is_heard(struct claims *c, const struct part *part)
{
    if (part->owner == CLAIMS_SELF) {
        return true;
    }
    const struct peer *const p = &c->peers[part->owner];
    return p->up && p->heard && p->words.terms[part_number(c, part)] != 0;
}

void holder_tell_all(struct claims *c, struct part *part)
{
    list_prepend_all(&part->dirty, &part->sent);
    part->sync = SYNC_NEEDED;
    c->busy |= PART_BIT(part_number(c, part));
}

void holder_interrupted(struct claims *c, struct part *part)
{
    if (part->sync != SYNC_DONE) {
        holder_tell_all(c, part);
        return;
    }
    list_prepend_all(&part->dirty, &part->sent);
    c->busy |= PART_BIT(part_number(c, part));
}

void holder_owner_is(struct claims *c, struct part *part, uint64_t generation, uint32_t session,
                     uint32_t term)
{
    c->busy |= PART_BIT(part_number(c, part));
    if (part->told_generation == generation && part->told_session == session &&
        part->told_term == term) {
        return;
    }
    part->told_generation = generation;
    part->told_session = session;
    part->told_term = term;
    holder_tell_all(c, part);
}

void holder_item(const struct hold *h, uint64_t now_ms, struct node_hold *item)
{
    *item = (struct node_hold){.kind = h->kind,
                               .flags = h->clean ? NODE_HOLD_CLEAN : 0,
                               .hash = h->link.hash,
                               .serial = h->serial,
                               .claim = h->claim,
                               .id = bytes_of(h->id, h->id_len)};
    if (h->will != NULL) {
        item->delay_ms = h->will->delay_ms;
        item->will = bytes_of(h->will->bytes, h->will->len);
        const uint64_t passed = now_ms - h->will->gone_ms;
        const bool waits = h->kind == NODE_HOLD_GONE && passed < item->delay_ms;
        item->left_ms = waits ? item->delay_ms - passed : 0;
    }
}

static void marker(const struct claims *c, const struct part *part, enum node_hold_kind kind,
                   struct node_hold *item)
{
    *item = (struct node_hold){.kind = (uint8_t)kind, .hash = (uint64_t)part_number(c, part) << 58};
}

/* Of those with that hash the next one that is in no list, by serial; NULL: none. */
static struct hold *next_of_hash(const struct part *part, struct table_link *first)
{
    const uint64_t after = first->hash == part->walk_hash ? part->walk_serial : 0;
    struct hold *next = NULL;
    for (struct table_link *l = first; l != NULL; l = table_find_next(l)) {
        struct hold *const h = table_object(l, struct hold, link);
        if (!list_is_in(&h->to_tell) && h->serial > after &&
            (next == NULL || h->serial < next->serial)) {
            next = h;
        }
    }
    return next;
}

/* The next hold that is in no list. NULL: the steps are used up, or *end. */
static struct hold *walk(struct part *part, unsigned *steps, bool *end)
{
    *end = false;
    while (*steps > 0) {
        struct table_link *const l = table_walk(&part->holds, &part->place, steps);
        if (l == NULL) {
            *end = *steps > 0;
            return NULL;
        }
        struct hold *const h = next_of_hash(part, l);
        if (h != NULL) {
            return h;
        }
        part->place = table_place_after(l->hash);
        if (part->place == 0) {
            *end = true;
            return NULL;
        }
    }
    return NULL;
}

bool holder_next(struct claims *c, struct part *part, unsigned *steps, uint64_t now_ms,
                 struct node_hold *item, struct hold **hold)
{
    *hold = NULL;
    if (!holder_is_heard(c, part)) {
        return false;
    }
    if (part->sync == SYNC_NEEDED) {
        marker(c, part, NODE_HOLD_BEGIN, item);
        return true;
    }
    struct list *const dirty = list_first(&part->dirty);
    if (dirty != NULL) {
        *hold = list_object(dirty, struct hold, to_tell);
        holder_item(*hold, now_ms, item);
        return true;
    }
    if (part->sync != SYNC_WALKING) {
        return false;
    }
    bool end;
    *hold = walk(part, steps, &end);
    if (*hold != NULL) {
        holder_item(*hold, now_ms, item);
        return true;
    }
    if (end) {
        marker(c, part, NODE_HOLD_END, item);
    }
    return end;
}

void holder_told(struct part *part, struct hold *hold, uint8_t kind, uint32_t frame)
{
    if (hold != NULL) {
        if (!list_is_in(&hold->to_tell)) { /* of the walk */
            part->walk_hash = hold->link.hash;
            part->walk_serial = hold->serial;
        }
        list_append(&part->sent, &hold->to_tell);
        hold->frame = frame;
    } else if (kind == NODE_HOLD_BEGIN) {
        part->sync = SYNC_WALKING;
        part->place = 0;
        part->walk_serial = 0;
    } else {
        part->sync = SYNC_ENDING;
        part->end_frame = frame;
    }
}

void holder_acked(struct claims *c, struct part *part, uint32_t frame)
{
    for (struct list *l = list_first(&part->sent); l != NULL; l = list_first(&part->sent)) {
        struct hold *const h = list_object(l, struct hold, to_tell);
        if (h->frame > frame) {
            break;
        }
        list_remove(l);
        if (h->kind == NODE_HOLD_ENDED) {
            hold_free(c, part, h);
        }
    }
    if (part->sync == SYNC_ENDING && part->end_frame <= frame) {
        part->sync = SYNC_DONE;
    }
}

/* ---- What the owner says */

static void granted(struct claims *c, struct part *part, struct hold *h,
                    const struct node_word *word)
{
    if (h->kind == NODE_HOLD_WANTS) {
        const bool unsure = (word->flags & NODE_WORD_UNSURE) != 0;
        const struct claims_grant grant = {
            .unsure = unsure, .former = word->former, .claim = word->claim};
        h->kind = NODE_HOLD_HOLDS;
        h->claim = word->claim;
        c->figures.attached++;
        c->figures.unsure += unsure;
        deputy_will(c, part, h);
        c->events.attached(c->events.context, h->link.hash, h->serial, &grant);
    }
    touch(c, part, h); /* so that the owner need not say it again */
}

static void kicked(struct claims *c, struct hold *h)
{
    if (!h->kicked) {
        h->kicked = true;
        c->figures.kicked++;
        c->events.kicked(c->events.context, h->link.hash, h->serial, bytes_of(h->id, h->id_len));
    }
}

void holder_word(struct claims *c, unsigned peer, const struct node_word *word)
{
    struct part *const part = part_of(c, word->hash);
    struct hold *const h = find(part, word->hash, word->serial);
    claims_heard(c, word->claim);
    if (h == NULL || part->owner != peer) {
        return; /* of an owner that is none, in our view */
    }
    const bool has = h->kind == NODE_HOLD_WANTS || h->kind == NODE_HOLD_HOLDS;
    if (word->kind == NODE_WORD_GRANT && has) {
        granted(c, part, h, word);
    } else if (word->kind == NODE_WORD_KICK && has) {
        kicked(c, h);
    } else if (word->kind == NODE_WORD_DONE && h->kind == NODE_HOLD_GONE) {
        end_hold(c, part, h);
    }
}

/* ---- Who has waited for too long */

/* Without the owner's word: it will be told. */
static void degrade(struct claims *c, struct part *part, struct hold *h)
{
    const struct claims_grant grant = {.degraded = true, .unsure = true, .claim = h->claim};
    h->kind = NODE_HOLD_HOLDS;
    c->figures.degraded++;
    touch(c, part, h);
    deputy_will(c, part, h);
    c->events.attached(c->events.context, h->link.hash, h->serial, &grant);
}

static void ask_end(struct claims *c, struct ask *ask)
{
    list_remove(&ask->list);
    free(ask);
    c->asks_count--;
}

static void asks_turn(struct claims *c, struct list *asks, bool late, uint64_t now_ms)
{
    unsigned steps = c->conf.turn_steps;
    for (struct list *l = list_first(asks); l != NULL && steps > 0; l = list_first(asks)) {
        struct ask *const ask = list_object(l, struct ask, list);
        if (ask->due_ms > now_ms) {
            return;
        }
        struct part *const part = part_of(c, ask->hash);
        struct hold *const h = find(part, ask->hash, ask->serial);
        steps--;
        if (h == NULL || h->kind != NODE_HOLD_WANTS || h->kicked) {
            ask_end(c, ask);
        } else if (late || !holder_is_heard(c, part)) {
            degrade(c, part, h);
            ask_end(c, ask);
        } else {
            ask->due_ms = now_ms + c->conf.answer_ms - c->conf.unreachable_ms;
            list_append(&c->late_asks, &ask->list);
        }
    }
}

void holder_turn(struct claims *c, uint64_t now_ms)
{
    asks_turn(c, &c->asks, false, now_ms);
    asks_turn(c, &c->late_asks, true, now_ms);
}
