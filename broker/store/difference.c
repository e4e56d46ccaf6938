/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/difference.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"

#define LIST_KEPT 4096u /* entries: memory for more is given back when it is not needed */

static void *grown(void *at, size_t count, size_t *capacity, size_t item)
{
    if (count < *capacity) {
        return at;
    }
    const size_t more = *capacity == 0 ? 64 : *capacity * 2;
    void *const moved = realloc(at, more * item);
    if (moved == NULL) {
        store_out_of_memory();
    }
    *capacity = more;
    return moved;
}

void numbers_add(struct numbers *n, uint64_t number)
{
    n->at = grown(n->at, n->count, &n->capacity, sizeof n->at[0]);
    n->at[n->count++] = number;
}

/* ---- changes */

bool changes_init(struct changes *c)
{
    *c = (struct changes){.ended = {.at = NULL}};
    kept_link_init(&c->sessions);
    return changed_topics_init(&c->topics) && changed_topics_init(&c->graves);
}

void changes_fini(struct changes *c)
{
    assert(kept_link_is_alone(&c->sessions));
    changed_topics_fini(&c->topics);
    changed_topics_fini(&c->graves);
    free(c->ended.at);
    free(c->deliveries.at);
}

bool changes_are_none(const struct changes *c)
{
    return kept_link_is_alone(&c->sessions) && c->topics.first == NULL && c->graves.first == NULL &&
           c->ended.count == 0 && c->deliveries.count == 0 && !c->entries;
}

void changes_are_taken(struct changes *c, struct difference *d)
{
    struct table fresh;
    c->ended.count = c->deliveries.count = 0;
    if (c->ended.capacity > LIST_KEPT) {
        free(c->ended.at);
        c->ended = (struct numbers){.at = NULL};
    }
    if (c->deliveries.capacity > LIST_KEPT) {
        free(c->deliveries.at);
        c->deliveries = (struct changed_deliveries){.at = NULL};
    }
    for (unsigned i = 0; i < 2; i++) {
        struct table *const t = i == 0 ? &d->bodies : &d->bodies_ids;
        if (t->count == 0 && t->mask > LIST_KEPT && table_init(&fresh) == 0) {
            table_fini(t);
            *t = fresh;
        }
    }
}

static void move_links(struct kept_link *to, struct kept_link *from)
{
    kept_link_init(to);
    if (!kept_link_is_alone(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        kept_link_init(from);
    }
}

void changes_move(struct changes *to, struct changes *from)
{
    assert(changes_are_none(to));
    const struct changes all = *from;
    from->graves = to->graves;
    from->topics = to->topics; /* with their memory for the next ones */
    from->ended = to->ended;
    from->deliveries = to->deliveries;
    to->topics = all.topics;
    to->graves = all.graves;
    to->ended = all.ended;
    to->deliveries = all.deliveries;
    move_links(&to->sessions, &from->sessions);
    to->entries = all.entries;
    from->entries = false;
}

/* ---- the difference */

bool difference_init(struct difference *d)
{
    return changes_init(&d->now) && table_init(&d->bodies) == 0 && table_init(&d->bodies_ids) == 0;
}

void difference_fini(struct difference *d)
{
    size_t cursor = 0;
    for (struct table_link *l; (l = table_any(&d->bodies, &cursor)) != NULL;) {
        table_remove(&d->bodies, l);
        free(table_object(l, struct stored_body, by_message));
    }
    table_fini(&d->bodies);
    table_fini(&d->bodies_ids);
    changes_fini(&d->now);
}

/* Others have it, too: what the checkpoint has of it is what is committed (partitions/applier.h).
 */
static bool is_shared_out(const struct kept *kept)
{
    return !serial_is_local(kept->session->serial);
}

void difference_session(struct shard *s, struct kept *kept)
{
    if (!is_shared_out(kept) && kept_link_is_alone(&kept->changed)) {
        kept_link_append(&s->difference.now.sessions, &kept->changed);
    }
}

void difference_entry(struct shard *s)
{
    s->difference.now.entries = true;
}

void difference_topic(struct shard *s, struct bytes topic, uint64_t topic_hash)
{
    if (!changed_topics_add(&s->difference.now.topics, topic, topic_hash)) {
        store_out_of_memory();
    }
}

void difference_grave(struct shard *s, struct bytes topic, uint64_t topic_hash)
{
    if (!changed_topics_add(&s->difference.now.graves, topic, topic_hash)) {
        store_out_of_memory();
    }
}

/* ---- bodies */

static uint64_t hash_of(const struct message *m)
{
    return (uint64_t)(uintptr_t)m / 16 * 0x9e3779b97f4a7c15u >> 16;
}

static uint64_t hash_of_id(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15u >> 16;
}

static struct stored_body *find_body(struct shard *s, const struct message *m)
{
    struct table_link *l = table_find(&s->difference.bodies, hash_of(m));
    for (; l != NULL; l = table_find_next(l)) {
        struct stored_body *const body = table_object(l, struct stored_body, by_message);
        if (body->message == m) {
            return body;
        }
    }
    return NULL;
}

static struct stored_body *new_body(struct shard *s, struct message *m, uint64_t id)
{
    struct stored_body *body = malloc(sizeof *body);
    if (body == NULL) {
        store_out_of_memory();
    }
    *body = (struct stored_body){.message = m, .id = id};
    table_insert(&s->difference.bodies, &body->by_message, hash_of(m));
    table_insert(&s->difference.bodies_ids, &body->by_id, hash_of_id(id));
    return body;
}

struct message *difference_message(struct shard *s, uint64_t id)
{
    struct table_link *l = table_find(&s->difference.bodies_ids, hash_of_id(id));
    for (; l != NULL; l = table_find_next(l)) {
        const struct stored_body *const body = table_object(l, struct stored_body, by_id);
        if (body->id == id) {
            return body->message;
        }
    }
    return NULL;
}

uint64_t difference_body(struct shard *s, struct message *message, bool *is_new)
{
    struct stored_body *body = find_body(s, message);
    *is_new = body == NULL;
    if (body == NULL) {
        body = new_body(s, message, shard_serial(s));
    }
    body->references++;
    return body->id;
}

void difference_has_body(struct shard *s, struct message *message, uint64_t id)
{
    struct stored_body *const body = find_body(s, message);
    (body != NULL ? body : new_body(s, message, id))->references++;
}

void difference_forget(struct shard *s, struct message *message)
{
    struct stored_body *const body = find_body(s, message);
    assert(body != NULL && body->references > 0);
    if (--body->references == 0) {
        table_remove(&s->difference.bodies, &body->by_message);
        table_remove(&s->difference.bodies_ids, &body->by_id);
        free(body);
    }
}

/* ---- deliveries */

/* What the checkpoint has of it, it is to have no more, or otherwise. */
static void change(struct shard *s, uint64_t serial, uint64_t number, bool gone)
{
    struct changed_deliveries *const all = &s->difference.now.deliveries;
    all->at = grown(all->at, all->count, &all->capacity, sizeof all->at[0]);
    all->at[all->count++] =
        (struct changed_delivery){.serial = serial, .number = number, .gone = gone};
}

static bool is_stored(const struct kept *kept, const struct delivery *d)
{
    return d->number < kept->stored_end;
}

void difference_delivery(struct shard *s, struct kept *kept, const struct delivery *d, bool gone)
{
    difference_session(s, kept);
    if (is_stored(kept, d)) { /* else the checkpoint has never heard of it */
        if (d->message != NULL) {
            difference_forget(s, d->message);
        }
        if (!is_shared_out(kept)) {
            change(s, kept->session->serial, d->number, gone);
        }
    }
}

void difference_delivery_on_disk(struct shard *s, struct kept *kept, uint64_t number)
{
    difference_session(s, kept);
    if (!is_shared_out(kept)) {
        change(s, kept->session->serial, number, true);
    }
}

void difference_orphan(struct shard *s, uint64_t serial, uint64_t number)
{
    change(s, serial, number, true);
}

static void forget_all(struct shard *s, const struct kept *kept, struct outqueue *q)
{
    uint64_t at = 0;
    for (struct delivery *d; (d = outqueue_walk(q, &at)) != NULL;) {
        if (d->message != NULL && is_stored(kept, d)) {
            difference_forget(s, d->message);
        }
    }
}

void difference_ended(struct shard *s, struct kept *kept)
{
    forget_all(s, kept, &kept->session->out);
    if (kept->backlog != NULL && kept->backlog->after != NULL) {
        forget_all(s, kept, kept->backlog->after);
    }
    if (!is_shared_out(kept)) {
        numbers_add(&s->difference.now.ended, kept->session->serial);
    }
}
