/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/retained_listing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "broker/route/retained.h"
#include "broker/shard/shard.h"

static bool add(struct retained_listing *l, const struct message *m)
{
    struct retained_row *const row =
        rows_add(&l->rows, sizeof *row, message_topic(m), bytes_of(NULL, 0));
    if (row == NULL) {
        return false;
    }
    row->payload_len = m->payload_len;
    row->qos = m->qos;
    row->has_expiry = m->has_expiry;
    row->expires_ms = m->expires_ms;
    return true;
}

/* From now on after that one. */
static void go_after(struct retained_listing *l, struct bytes topic)
{
    memcpy(l->after, topic.at, topic.len);
    l->after_len = topic.len;
}

static enum errand_step find_one(struct shard *s, struct retained_listing *l)
{
    struct message *const m = retained_get(s->retained, bytes_of(l->filter, l->filter_len));
    if (m != NULL && !message_expired(m, s->now_ms)) {
        l->message = message_take(m, 1);
    }
    return ERRAND_DONE;
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct retained_listing *const l = table_object(e, struct retained_listing, errand);
    ASSERT_OWNED(s);
    if (l->is_one) {
        return find_one(s, l);
    }
    const struct bytes filter = bytes_of(l->filter, l->filter_len);
    unsigned budget = RETAINED_POSITIONS;
    while (!rows_are_full(&l->rows)) {
        struct message *m;
        const struct bytes after = bytes_of(l->after, l->after_len);
        switch (retained_next(s->retained, filter, after, &budget, &m, l->after, &l->after_len)) {
        case RETAINED_FOUND:
            if (!message_expired(m, s->now_ms) && !add(l, m)) {
                return ERRAND_DONE;
            }
            go_after(l, message_topic(m));
            break;
        case RETAINED_PAUSED:
            l->positions += RETAINED_POSITIONS;
            return l->positions < RETAINED_POSITIONS_MAX ? ERRAND_MORE : ERRAND_DONE;
        case RETAINED_END:
            l->ended = true;
            return ERRAND_DONE;
        }
    }
    return ERRAND_DONE;
}

static void destroy(struct errand *e)
{
    struct retained_listing *const l = table_object(e, struct retained_listing, errand);
    message_put(l->message);
    rows_fini(&l->rows);
    free(l->filter);
    free(l);
}

struct retained_listing *retained_listing_create(struct bytes filter, struct bytes after,
                                                 uint32_t rows_max)
{
    assert(after.len <= RETAINED_TOPIC_BYTES);
    struct retained_listing *const l = malloc(sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    memset(l, 0, offsetof(struct retained_listing, after));
    l->errand = (struct errand){.run = run, .destroy = destroy};
    l->filter = malloc(filter.len + 1);
    if (!rows_init(&l->rows, rows_max) || l->filter == NULL) {
        destroy(&l->errand);
        return NULL;
    }
    memcpy(l->filter, filter.at, filter.len);
    l->filter_len = filter.len;
    l->after_len = after.len;
    if (after.len > 0) {
        memcpy(l->after, after.at, after.len);
    }
    return l;
}

struct retained_listing *retained_listing_create_one(struct bytes topic)
{
    struct retained_listing *const l = retained_listing_create(topic, bytes_of(NULL, 0), 0);
    if (l != NULL) {
        l->is_one = true;
    }
    return l;
}
