/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/subscription_listing.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/route/index.h"
#include "broker/route/local.h"
#include "broker/route/share.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

static struct bytes text_of(const struct subscription_listing *l)
{
    return bytes_of(l->text, l->text_len);
}

/* false: there is no room for it. */
static bool add(struct subscription_listing *l, const struct session *session,
                const struct local_filter *f, const struct subscribe_options *options)
{
    struct subscription_row *const row =
        rows_add(&l->rows, sizeof *row, session_client_id(session), local_filter_name(f));
    if (row == NULL) {
        return false;
    }
    row->identifier = options->identifier;
    row->qos = options->qos;
    row->no_local = options->no_local;
    row->retain_as_published = options->retain_as_published;
    row->connected = session->conn != NULL;
    return true;
}

static uint64_t left_of(const struct subscription_listing *l, const struct pointer_set *set)
{
    return l->within < set->count ? l->within : set->count;
}

/* Both: true when all of the set has been read. */
static bool read_session(struct subscription_listing *l, struct session *session)
{
    unsigned steps = SUBSCRIPTIONS_STEPS;
    uint64_t left = left_of(l, &session->filters);
    for (; left > 0 && steps > 0 && !rows_are_full(&l->rows); left--, steps--) {
        struct local_filter *const f = pointer_at(pointer_set_places(&session->filters)[left - 1]);
        const struct subscribe_options options = local_options(session, f);
        if (!add(l, session, f, &options)) {
            l->rows.max = l->rows.count;
            break;
        }
    }
    l->within = left;
    return left == 0;
}

static bool read_filter(struct subscription_listing *l, struct local_filter *f)
{
    unsigned steps = SUBSCRIPTIONS_STEPS;
    uint64_t left = left_of(l, &f->sessions);
    for (; left > 0 && steps > 0 && !rows_are_full(&l->rows); left--, steps--) {
        struct subscriber sub;
        uint32_t at = (uint32_t)left - 1;
        if (!local_next(f, &at, &sub) || !add(l, sub.session, f, &sub.options)) {
            l->rows.max = l->rows.count;
            break;
        }
    }
    l->within = left;
    return left == 0;
}

/* ---- those that match a topic, in the order of a hash of their names */

struct next_filter {
    uint64_t place;
    struct local_filter *filter; /* NULL: there is none at or after `place` */
    uint64_t hash;
};

static void consider(struct next_filter *next, struct local_filter *f)
{
    if (f == NULL) {
        return;
    }
    const struct bytes name = local_filter_name(f);
    const uint64_t hash = XXH3_64bits(name.at, name.len);
    if (hash >= next->place && (next->filter == NULL || hash < next->hash)) {
        next->filter = f;
        next->hash = hash;
    }
}

/* false: no memory. */
static bool find_next(struct shard *s, struct bytes topic, struct next_filter *next)
{
    struct match *const match = &s->match;
    if (index_match(s->node->index, topic, match) != INDEX_OK) {
        return false;
    }
    for (size_t i = 0; i < match->filter_count; i++) {
        if ((match->filters[i].shards >> s->id & 1) != 0) {
            consider(next, local_filter_by_id(s, match->filters[i].filter_id));
        }
    }
    for (size_t i = 0; i < match->group_count; i++) {
        const struct share_member *const member = share_member_of(match->groups[i], s->id);
        consider(next, member == NULL ? NULL : member->subscription->filter);
    }
    return true;
}

static enum errand_step read_topic(struct shard *s, struct subscription_listing *l)
{
    struct next_filter next = {.place = l->place};
    if (!find_next(s, text_of(l), &next) || next.filter == NULL) {
        l->ended = true;
        return ERRAND_DONE;
    }
    if (next.hash != l->place) { /* not the one that it was in the midst of */
        l->within = UINT64_MAX;
        l->place = next.hash;
    }
    if (read_filter(l, next.filter)) {
        l->within = UINT64_MAX;
        l->place = next.hash + 1;
        l->ended = l->place == 0;
    }
    return l->ended || rows_are_full(&l->rows) ? ERRAND_DONE : ERRAND_MORE;
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct subscription_listing *const l = table_object(e, struct subscription_listing, errand);
    ASSERT_OWNED(s);
    if (l->of == OF_TOPIC) {
        return read_topic(s, l);
    }
    struct session *const session = l->of == OF_SESSION ? session_find(s, text_of(l)) : NULL;
    struct local_filter *const f = l->of == OF_FILTER ? local_filter_by_name(s, text_of(l)) : NULL;
    l->ended = session != NULL ? read_session(l, session) : f == NULL || read_filter(l, f);
    return l->ended || rows_are_full(&l->rows) ? ERRAND_DONE : ERRAND_MORE;
}

static void destroy(struct errand *e)
{
    struct subscription_listing *const l = table_object(e, struct subscription_listing, errand);
    rows_fini(&l->rows);
    free(l);
}

struct subscription_listing *subscription_listing_create(enum subscriptions_of of,
                                                         struct bytes text, uint64_t place,
                                                         uint64_t within, uint32_t rows_max)
{
    struct subscription_listing *const l = calloc(1, sizeof *l + text.len);
    if (l == NULL) {
        return NULL;
    }
    l->errand = (struct errand){.run = run, .destroy = destroy};
    l->of = of;
    l->place = place;
    l->within = within;
    l->text_len = text.len;
    if (text.len > 0) {
        memcpy(l->text, text.at, text.len);
    }
    if (!rows_init(&l->rows, rows_max)) {
        free(l);
        return NULL;
    }
    return l;
}
