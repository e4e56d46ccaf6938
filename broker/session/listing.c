/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/listing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/login/login.h"
#include "broker/relay/relay.h"
#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

#define STEP_BYTES 64u

static enum errand_step run(struct shard *s, struct errand *e);

static struct listing *listing_of(struct errand *e)
{
    return table_object(e, struct listing, errand);
}

static void destroy(struct errand *e)
{
    struct listing *const l = listing_of(e);
    rows_fini(&l->rows);
    free(l->text);
    free(l);
}

/* ---- who asks */

static struct bytes copy(uint8_t **to, struct bytes text)
{
    if (text.at == NULL) {
        return text;
    }
    uint8_t *const at = *to;
    memcpy(at, text.at, text.len);
    *to += text.len;
    return bytes_of(at, text.len);
}

struct listing *listing_create(const struct listing_filter *filter, uint64_t place,
                               uint32_t rows_max)
{
    struct listing *const l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->errand = (struct errand){.run = run, .destroy = destroy};
    l->text = malloc(filter->client_id.len + filter->user.len + 1);
    if (!rows_init(&l->rows, rows_max) || l->text == NULL) {
        destroy(&l->errand);
        return NULL;
    }
    uint8_t *to = l->text;
    l->filter = *filter;
    l->filter.client_id = copy(&to, filter->client_id);
    l->filter.user = copy(&to, filter->user);
    l->place = place;
    return l;
}

struct listing *listing_create_one(struct bytes client_id)
{
    const struct listing_filter filter = {.client_id = client_id, .listener = -1};
    struct listing *const l = listing_create(&filter, 0, 1);
    if (l != NULL) {
        l->is_one = true;
    }
    return l;
}

/* ---- which */

/* Each * takes as little as it can; where that was too little, the last one takes one more. */
bool listing_matches(struct bytes pattern, struct bytes text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, taken = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            taken = t;
        } else if (p < pattern.len && (pattern.at[p] == '?' || pattern.at[p] == text.at[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

static bool has_address(const struct listing_filter *f, const struct conn *c)
{
    if (c->local) {
        return false;
    }
    const struct in6_addr cut = address_range_cut(c->at.address, f->address.bits);
    return memcmp(&cut, &f->address.address, sizeof cut) == 0;
}

static bool is_wanted(const struct listing_filter *f, const struct session *session)
{
    const struct conn *const c = session->conn;
    const bool needs_conn =
        f->state == LISTING_CONNECTED || f->user.at != NULL || f->has_address || f->listener >= 0;
    if ((needs_conn && c == NULL) || (f->state == LISTING_AWAY && c != NULL)) {
        return false;
    }
    if (f->client_id.at != NULL && !listing_matches(f->client_id, session_client_id(session))) {
        return false;
    }
    return c == NULL || !needs_conn ||
           ((f->user.at == NULL ||
             (c->user != NULL && bytes_equal(login_user_name(c->user), f->user))) &&
            (!f->has_address || has_address(f, c)) &&
            (f->listener < 0 || c->listener == f->listener));
}

/* ---- rows */

static void tell_session(struct session_row *row, const struct session *session)
{
    row->kept = session->kept != NULL;
    row->has_will = session->will != NULL;
    row->expiry_s = session->expiry_s;
    row->ends_ms = session->ends_ms;
    row->subscriptions = session->filters.count;
    row->queued = backlog_waiting(session);
    row->queued_bytes = backlog_waiting_bytes(session);
    row->in_flight = session->conn == NULL ? 0 : outqueue_in_flight(&session->out);
    row->unreleased = session_received(session);
}

static void tell_conn(struct session_row *row, const struct conn *c)
{
    row->connected = true;
    row->version = c->version;
    row->listener = c->listener;
    row->since_ms = c->since_ms;
    row->keep_alive_ms = c->keep_alive_ms;
    row->receive_maximum = c->receive_maximum;
    row->packet_bytes_max = c->packet_bytes_max;
    row->unsent_bytes = outbuf_bytes(&c->out);
    (void)conn_address(c, row->address, sizeof row->address);
    row->far = c->far;
    if (c->far) {
        const struct bytes node = relay_node_name(c);
        row->node_len = (uint8_t)node.len;
        memcpy(row->node, node.at, node.len);
    }
}

/* false: there is no room for it. */
static bool add(struct listing *l, const struct session *session)
{
    const struct conn *const c = session->conn;
    const bool has_user = c != NULL && c->user != NULL;
    const struct bytes user = has_user ? login_user_name(c->user) : bytes_of(NULL, 0);
    struct session_row *const row =
        rows_add(&l->rows, sizeof *row, session_client_id(session), user);
    if (row == NULL) {
        return false;
    }
    row->has_user = has_user;
    tell_session(row, session);
    if (c != NULL) {
        tell_conn(row, c);
    }
    return true;
}

/* All with this hash, together, as a place is of all of them; false: there is no room. */
static bool add_those(struct listing *l, struct table_link *link)
{
    const struct rows before = l->rows;
    for (; link != NULL; link = table_find_next(link)) {
        const struct session *const session = table_object(link, struct session, by_client_id);
        if (is_wanted(&l->filter, session) && !add(l, session)) {
            l->rows = before;
            return false;
        }
    }
    return true;
}

static enum errand_step find_one(struct shard *s, struct listing *l)
{
    const struct session *const session = session_find(s, l->filter.client_id);
    const bool added = session != NULL && add(l, session);
    assert(session == NULL || added);
    (void)added;
    return ERRAND_DONE;
}

/* A long identifier takes its time to be compared and copied. */
static unsigned cost_of(const struct session *session)
{
    return 1 + session->client_id_len / STEP_BYTES;
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct listing *const l = listing_of(e);
    ASSERT_OWNED(s);
    if (l->is_one) {
        return find_one(s, l);
    }
    unsigned steps = LISTING_STEPS;
    while (!rows_are_full(&l->rows) && steps > 0) {
        struct table_link *const link = table_walk(&s->sessions, &l->place, &steps);
        if (link == NULL && steps > 0) {
            l->ended = true;
            return ERRAND_DONE;
        }
        if (link == NULL) {
            break;
        }
        if (!add_those(l, link)) {
            return ERRAND_DONE;
        }
        const unsigned cost = cost_of(table_object(link, struct session, by_client_id));
        steps -= cost < steps ? cost : steps;
        l->place = table_place_after(link->hash);
        if (l->place == 0) {
            l->ended = true;
            return ERRAND_DONE;
        }
    }
    l->steps += LISTING_STEPS - steps;
    return !rows_are_full(&l->rows) && l->steps < LISTING_STEPS_MAX ? ERRAND_MORE : ERRAND_DONE;
}
