/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/deliver.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/access.h"
#include "broker/conn/conn.h"
#include "broker/image.h"
#include "broker/message.h"
#include "broker/route/index.h"
#include "broker/route/local.h"
#include "broker/route/publish.h"
#include "broker/session/session.h"
#include "broker/shard/latency.h"
#include "broker/shard/shard.h"
#include "broker/store/serial.h"

/* What a session is to get of one message, as its matching subscriptions add up. */
struct recipient {
    struct session *session;
    struct delivery_more *more; /* when there are several identifiers */
    uint32_t identifier;        /* when there is but one */
    uint32_t identifier_count;  /* with it */
    uint8_t qos;
    bool retain_as_published;
};

/* QoS 0 goes out at once or not at all. */
static void deliver_qos0(struct session *session, const struct delivery *d)
{
    struct shard *s = session->shard;
    struct conn *c = session->conn;
    if (c == NULL || c->phase != CONN_CONNECTED) {
        session_drop(session, METRIC_drop_qos0_offline, d->message);
    } else if (conn_output_full(c)) {
        session_drop(session, METRIC_drop_qos0_output_full, d->message);
    } else if (message_expired(d->message, s->now_ms)) {
        session_drop(session, METRIC_drop_expired, d->message);
    } else {
        switch (conn_send_publish(c, d, 0, false)) {
        case CONN_SENT:
            latency_delivered(s, d->message->came_us, 0);
            break;
        case CONN_TOO_LARGE:
            session_drop(session, METRIC_drop_too_large, d->message);
            break;
        case CONN_NO_MEMORY:
            session_drop(session, METRIC_drop_no_memory, d->message);
            break;
        }
    }
}

static int compare_serials(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* It has the message already. */
static bool is_spared(const struct session *session)
{
    const struct route_spares *const spares = session->shard->route_spares;
    return spares != NULL && spares->sessions_count > 0 &&
           bsearch(&session->serial, spares->sessions, spares->sessions_count,
                   sizeof session->serial, compare_serials) != NULL;
}

/* Consumes `more`. */
static void deliver_one(struct session *session, struct delivery *d)
{
    if (is_spared(session)) {
        free(delivery_more(d));
    } else if (!access_sees(session, d->message)) {
        session_drop(session, METRIC_drop_hidden, d->message);
        free(delivery_more(d));
    } else if (d->qos == 0) {
        deliver_qos0(session, d);
        free(delivery_more(d));
    } else {
        message_take(d->message, 1);
        session_deliver(session, d);
    }
}

static uint8_t least(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* The sessions of a partition that others have, too, get what has to be kept when it comes to that
 * partition (deliver_to_partition()). */
static bool is_addressed(const struct shard *s, const struct session *session,
                         const struct message *m)
{
    return m->qos == 0 || serial_owner(session->serial) == s->deliver_to;
}

/* No Local: a client's own messages do not match (3.8.3.1). */
static bool wants(const struct shard *s, const struct subscriber *sub, const struct message *m)
{
    return (!sub->options.no_local || sub->session->serial != m->publisher) &&
           is_addressed(s, sub->session, m);
}

/* One filter matched: nothing to add up. */
static void deliver_to_filter(struct shard *s, struct message *m, const struct local_filter *f)
{
    s->work += f->sessions.count;
    uint32_t at = 0;
    for (struct subscriber sub; local_next(f, &at, &sub);) { /* no delivery changes who is one */
        const struct subscribe_options *o = &sub.options;
        if (!wants(s, &sub, m)) {
            continue;
        }
        struct delivery d = {
            .message = m,
            .identifier = o->identifier,
            .qos = least(m->qos, o->qos),
            .retain = m->retain && o->retain_as_published,
        };
        deliver_one(sub.session, &d);
    }
}

/* Encoding it apart pays when it is copied more than once. */
static void begin_image(struct shard *s, const struct message *m, size_t recipients)
{
    if (recipients > 1) {
        image_begin(&s->image, m);
    }
}

/* ---- several filters */

/* NULL: it is none so far, and what it has for a place is of an earlier message. */
static struct recipient *find(const struct deliver_scratch *scratch, const struct session *session)
{
    if (session->recipient >= scratch->count) {
        return NULL;
    }
    struct recipient *const r = &scratch->recipients[session->recipient];
    return r->session == session ? r : NULL;
}

static struct recipient *recipient_of(struct shard *s, struct session *session)
{
    struct deliver_scratch *scratch = &s->deliver;
    struct recipient *const known = find(scratch, session);
    if (known != NULL) {
        return known;
    }
    if (scratch->count == scratch->capacity) {
        const size_t capacity = scratch->capacity == 0 ? 64 : scratch->capacity * 2;
        struct recipient *more = realloc(scratch->recipients, capacity * sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        scratch->recipients = more;
        scratch->capacity = capacity;
    }
    session->recipient = (uint32_t)scratch->count;
    struct recipient *r = &scratch->recipients[scratch->count++];
    *r = (struct recipient){.session = session};
    return r;
}

static void add_up(struct shard *s, const struct message *m, const struct local_filter *f)
{
    s->work += 1 + (uint64_t)f->sessions.count;
    uint32_t at = 0;
    for (struct subscriber sub; local_next(f, &at, &sub);) {
        const struct subscribe_options *o = &sub.options;
        if (!wants(s, &sub, m)) {
            continue;
        }
        struct recipient *r = recipient_of(s, sub.session);
        if (r == NULL) {
            shard_count(s, METRIC_drop_no_memory);
            continue;
        }
        r->qos = o->qos > r->qos ? o->qos : r->qos;
        r->retain_as_published = r->retain_as_published || o->retain_as_published;
        if (o->identifier != 0) {
            r->identifier = o->identifier;
            r->identifier_count++;
        }
    }
}

/* Room for the identifiers of each recipient that has several; true: there is one. Without memory
 * the message comes without them. */
static bool make_room_for_identifiers(struct deliver_scratch *scratch)
{
    bool any = false;
    for (size_t i = 0; i < scratch->count; i++) {
        struct recipient *r = &scratch->recipients[i];
        if (r->identifier_count > 1) {
            r->more = calloc(1, sizeof *r->more + r->identifier_count * sizeof r->identifier);
            any = any || r->more != NULL;
        }
    }
    return any;
}

/* A second walk over what was added up: a search for each recipient among all filters would cost
 * their product, which strangers choose. */
static void gather_identifiers(struct shard *s, const struct message *m,
                               const struct local_filter *f)
{
    const struct deliver_scratch *scratch = &s->deliver;
    uint32_t at = 0;
    for (struct subscriber sub; local_next(f, &at, &sub);) {
        const uint32_t identifier = sub.options.identifier;
        const struct recipient *const r = find(scratch, sub.session);
        if (identifier == 0 || !wants(s, &sub, m) || r == NULL) {
            continue;
        }
        if (r->more != NULL && r->more->identifier_count < r->identifier_count) {
            r->more->identifiers[r->more->identifier_count++] = identifier;
        }
    }
}

typedef void filter_fn(struct shard *s, const struct message *m, const struct local_filter *f);

static void for_each_filter(struct shard *s, const struct message *m, const uint64_t *filter_ids,
                            size_t count, filter_fn *fn)
{
    for (size_t i = 0; i < count; i++) {
        const struct local_filter *f = local_filter_by_id(s, filter_ids[i]);
        if (f != NULL) {
            fn(s, m, f);
        }
    }
}

void deliver_to_filters(struct shard *s, struct message *m, const uint64_t *filter_ids,
                        size_t count)
{
    ASSERT_OWNED(s);

    if (count == 1) {
        const struct local_filter *f = local_filter_by_id(s, filter_ids[0]);
        if (f != NULL) {
            begin_image(s, m, f->sessions.count);
            deliver_to_filter(s, m, f);
            image_end(&s->image);
        }
        return;
    }
    struct deliver_scratch *scratch = &s->deliver;
    scratch->count = 0;
    for_each_filter(s, m, filter_ids, count, add_up);
    if (make_room_for_identifiers(scratch)) {
        for_each_filter(s, m, filter_ids, count, gather_identifiers);
    }
    begin_image(s, m, scratch->count);
    for (size_t i = 0; i < scratch->count; i++) {
        const struct recipient *r = &scratch->recipients[i];
        struct delivery d = {
            .message = m,
            .more = r->more,
            .identifier = r->identifier_count == 1 ? r->identifier : 0,
            .qos = least(m->qos, r->qos),
            .retain = m->retain && r->retain_as_published,
        };
        deliver_one(r->session, &d);
    }
    image_end(&s->image);
}

bool deliver_to_partition(struct shard *s, unsigned partition, struct message *m,
                          const uint64_t *filter_ids, size_t count)
{
    const uint64_t before = s->keeping.queued_count;
    s->deliver_to = partition + 1;
    deliver_to_filters(s, m, filter_ids, count);
    s->deliver_to = 0;
    return s->keeping.queued_count != before;
}

bool deliver_to_member(const struct share_member *member, struct message *m, uint64_t group_id)
{
    const struct subscription *sub = member->subscription;
    ASSERT_OWNED(sub->session->shard);
    if (!access_sees(sub->session, m)) {
        return false;
    }

    struct delivery d = {
        .message = m,
        .of_group = true,
        .group_id = group_id,
        .qos = least(m->qos, sub->options.qos),
        .retain = m->retain && sub->options.retain_as_published,
        .identifier = sub->options.identifier,
    };
    deliver_one(sub->session, &d);
    return true;
}

void deliver_fini(struct shard *s)
{
    free(s->deliver.recipients);
    s->deliver = (struct deliver_scratch){0};
}
