/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/busiest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/session/backlog.h"
#include "broker/session/listing.h"
#include "broker/session/session.h"
#include "broker/shard/latency.h"
#include "broker/shard/shard.h"

#define OVER_MS_MIN  250u /* who has been looked at for the first time a moment ago */
#define OLDEST_STEPS 16u  /* a few may be released already: they have no message */

static struct busiest *busiest_of(struct errand *e)
{
    return table_object(e, struct busiest, errand);
}

static void destroy(struct errand *e)
{
    free(busiest_of(e));
}

/* ---- one session */

static void set_mark(struct flow_mark *mark, const struct conn *c, uint64_t now_ms)
{
    mark->at_ms = now_ms;
    memcpy(mark->flow, c->flow, sizeof mark->flow);
}

/* As of before; NULL: this is the first time, or there is no memory. */
static const struct flow_mark *mark_of(struct conn *c, uint64_t now_ms)
{
    struct flow_marks *const marks = c->flow_marks;
    if (marks == NULL) {
        c->flow_marks = malloc(sizeof *c->flow_marks);
        if (c->flow_marks != NULL) {
            set_mark(&c->flow_marks->before, c, now_ms);
            set_mark(&c->flow_marks->last, c, now_ms);
        }
        return NULL;
    }
    if (now_ms - marks->last.at_ms >= BUSIEST_LOOK_MS) {
        marks->before = marks->last;
        set_mark(&marks->last, c, now_ms);
    }
    return &marks->before;
}

static void tell_rates(struct busy_row *row, struct conn *c, uint64_t now_ms)
{
    const struct flow_mark *const mark = mark_of(c, now_ms);
    if (mark == NULL) {
        return;
    }
    const uint64_t over_ms = now_ms - mark->at_ms;
    for (unsigned i = 0; i < FLOWS; i++) {
        row->per_s[i] = (double)(c->flow[i] - mark->flow[i]) * 1000 /
                        (double)(over_ms > OVER_MS_MIN ? over_ms : OVER_MS_MIN);
    }
}

static uint64_t oldest_ms(struct session *session, uint64_t now_ms)
{
    uint64_t at = 0;
    const struct delivery *d;
    for (unsigned i = 0; i < OLDEST_STEPS && (d = outqueue_walk(&session->out, &at)) != NULL; i++) {
        if (d->message != NULL) {
            const uint64_t age_us = latency_age_us(d->message, now_ms * 1000);
            return age_us == UINT64_MAX ? UINT64_MAX : age_us / 1000;
        }
    }
    return UINT64_MAX;
}

static double key_of(const struct busy_row *row, enum busiest_by by)
{
    switch (by) {
    case BUSIEST_MESSAGES:
        return row->per_s[FLOW_MESSAGES_IN] + row->per_s[FLOW_MESSAGES_OUT];
    case BUSIEST_MESSAGES_IN:
        return row->per_s[FLOW_MESSAGES_IN];
    case BUSIEST_MESSAGES_OUT:
        return row->per_s[FLOW_MESSAGES_OUT];
    case BUSIEST_BYTES:
        return row->per_s[FLOW_BYTES_IN] + row->per_s[FLOW_BYTES_OUT];
    case BUSIEST_BYTES_IN:
        return row->per_s[FLOW_BYTES_IN];
    case BUSIEST_BYTES_OUT:
        return row->per_s[FLOW_BYTES_OUT];
    case BUSIEST_QUEUED:
        return (double)row->queued;
    case BUSIEST_OLDEST:
        return row->oldest_ms == UINT64_MAX ? 0 : (double)row->oldest_ms;
    case BUSIEST_UNSENT:
        return (double)row->unsent_bytes;
    }
    return 0;
}

static void tell(struct busy_row *row, struct session *session, uint64_t now_ms)
{
    const struct conn *const c = session->conn;
    row->queued = backlog_waiting(session);
    row->oldest_ms = oldest_ms(session, now_ms);
    if (c != NULL) {
        row->connected = true;
        row->in_flight = outqueue_in_flight(&session->out);
        row->unsent_bytes = outbuf_bytes(&c->out);
        tell_rates(row, session->conn, now_ms);
    }
}

static void name(struct busy_row *row, struct session *session)
{
    const struct bytes client_id = session_client_id(session);
    row->queued_bytes = backlog_waiting_bytes(session);
    row->name_len =
        (uint16_t)(client_id.len < BUSIEST_NAME_BYTES ? client_id.len : BUSIEST_NAME_BYTES);
    memcpy(row->name, client_id.at, row->name_len);
    if (session->conn != NULL) {
        (void)conn_address(session->conn, row->address, sizeof row->address);
    }
}

/* ---- those with the most */

static void swap(struct busy_row *a, struct busy_row *b)
{
    const struct busy_row former = *a;
    *a = *b;
    *b = former;
}

static void rise(struct busiest *b, uint32_t at)
{
    while (at > 0 && b->rows[at].key < b->rows[(at - 1) / 2].key) {
        swap(&b->rows[at], &b->rows[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void sink(struct busiest *b)
{
    uint32_t at = 0;
    while (true) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < b->count; child++) {
            least = b->rows[child].key < b->rows[least].key ? child : least;
        }
        if (least == at) {
            return;
        }
        swap(&b->rows[at], &b->rows[least]);
        at = least;
    }
}

/* Those who have nothing of it are not listed. */
static void consider(struct busiest *b, struct session *session, uint64_t now_ms)
{
    struct busy_row row = {.oldest_ms = UINT64_MAX};
    tell(&row, session, now_ms);
    row.key = key_of(&row, b->by);
    if (row.key <= 0 || (b->count == b->most && row.key <= b->rows[0].key)) {
        return;
    }
    name(&row, session);
    if (b->count < b->most) {
        b->rows[b->count++] = row;
        rise(b, b->count - 1);
    } else {
        b->rows[0] = row;
        sink(b);
    }
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct busiest *const b = busiest_of(e);
    unsigned steps = LISTING_STEPS;
    ASSERT_OWNED(s);
    while (steps > 0) {
        struct table_link *link = table_walk(&s->sessions, &b->place, &steps);
        if (link == NULL && steps == 0) {
            return ERRAND_MORE;
        }
        if (link != NULL) {
            b->place = table_place_after(link->hash);
        }
        for (struct table_link *one = link; one != NULL; one = table_find_next(one)) {
            consider(b, table_object(one, struct session, by_client_id), s->now_ms);
            steps -= steps > 0;
        }
        if (link == NULL || b->place == 0) {
            b->since_ms = s->busiest_ms;
            s->busiest_ms = s->now_ms;
            return ERRAND_DONE;
        }
    }
    return ERRAND_MORE;
}

struct busiest *busiest_create(enum busiest_by by, uint32_t most)
{
    assert(most >= 1 && most <= BUSIEST_MAX);
    struct busiest *const b = calloc(1, sizeof *b + most * sizeof b->rows[0]);
    if (b != NULL) {
        b->errand = (struct errand){.run = run, .destroy = destroy};
        b->by = by;
        b->most = most;
    }
    return b;
}
