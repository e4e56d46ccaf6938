/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wildcard look-up walks the topics in order, and where one does not match, works out the least
 * topic after it that could, and seeks there:
 *
 *   filter a/+/c    at a/x/b    next a/x/c          the level is too low: on to it
 *                   at a/x/d    next past a/x/…     too high: to the next value of the '+' before
 * it at a/x      next a/x/c          it ended too early at a/x/c/d  next past a/x/…     it goes on
 * for too long
 *
 * "past a/x/…" is "a/x" and the byte 0x01, which comes next after '/' in the order of topics.
 */
#include "broker/route/retained.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/message.h"
#include "broker/route/message_tree.h"
#include "proto/topic.h"

#define TOPIC_BYTES_MAX 65535u
#define AFTER_SLASH     0x01u

struct retained {
    struct message_tree tree;
    size_t sweep_len; /* retained_expire() goes on after that topic; 0: from the beginning */
    uint8_t sweep[TOPIC_BYTES_MAX];
};

struct retained *retained_create(void)
{
    struct retained *r = malloc(sizeof *r);
    if (r != NULL) {
        message_tree_init(&r->tree);
        r->sweep_len = 0;
    }
    return r;
}

void retained_destroy(struct retained *r)
{
    if (r != NULL) {
        message_tree_fini(&r->tree);
    }
    free(r);
}

enum retained_err retained_set(struct retained *r, struct message *message, bool *was_new)
{
    struct message **const place = message_tree_find(&r->tree, message_topic(message));
    if (place != NULL) {
        struct message *const former = *place;
        *place = message_take(message, 1);
        message_put(former);
    } else if (message_tree_insert(&r->tree, message)) {
        message_take(message, 1);
    } else {
        return RETAINED_NO_MEMORY;
    }
    *was_new = place == NULL;
    return RETAINED_OK;
}

bool retained_delete(struct retained *r, struct bytes topic)
{
    struct message *const message = message_tree_remove(&r->tree, topic);
    message_put(message);
    return message != NULL;
}

struct message *retained_get(const struct retained *r, struct bytes topic)
{
    struct message **const place = message_tree_find(&r->tree, topic);
    return place != NULL ? *place : NULL;
}

size_t retained_count(const struct retained *r)
{
    return r->tree.count;
}

void retained_each(const struct retained *r, retained_each_fn *each, void *context)
{
    struct tree_cursor cursor = message_tree_seek(&r->tree, bytes_of(NULL, 0), TREE_AT_OR_AFTER);
    for (struct message *m; (m = tree_cursor_message(&cursor)) != NULL;) {
        tree_cursor_next(&cursor);
        each(context, m);
    }
}

/* ---- look-up by filter */

/* Text put together in a buffer of TOPIC_BYTES_MAX. What does not fit is cut off: it only makes a
 * seek come out a little early. */
struct target {
    uint8_t *at;
    size_t len;
};

static void target_add(struct target *target, struct bytes text)
{
    const size_t room = TOPIC_BYTES_MAX - target->len;
    const size_t len = text.len < room ? text.len : room;
    if (len > 0) {
        memcpy(target->at + target->len, text.at, len);
    }
    target->len += len;
}

static bool is_wildcard(struct bytes level)
{
    return level.len == 1 && (level.at[0] == '+' || level.at[0] == '#');
}

/* The level and those that follow, up to the next wildcard. */
static void target_add_literals(struct target *target, struct bytes level, struct bytes rest,
                                bool more)
{
    if (is_wildcard(level)) {
        return;
    }
    target_add(target, level);
    while (more) {
        level = topic_level_next(&rest, &more);
        if (is_wildcard(level)) {
            return;
        }
        target_add(target, bytes_text("/"));
        target_add(target, level);
    }
}

enum verdict { VERDICT_MATCH, VERDICT_SEEK, VERDICT_OVER };

/* Leaves what begins with the topic's levels before `end` behind; if there is no '+' that could
 * take another value, nothing that matches can follow. */
static enum verdict skip_past(struct bytes topic, size_t plus_end, struct target *target)
{
    if (plus_end == SIZE_MAX) {
        return VERDICT_OVER;
    }
    static const uint8_t after_slash = AFTER_SLASH;
    target_add(target, bytes_of(topic.at, plus_end));
    target_add(target, bytes_of(&after_slash, 1));
    return VERDICT_SEEK;
}

/* Does the topic match? If not, *target is after the topic, and no topic between them matches. */
static enum verdict judge(struct bytes filter, struct bytes topic, struct target *target)
{
    target->len = 0;
    if (topic.at[0] == '$' && (filter.at[0] == '+' || filter.at[0] == '#')) {
        target_add(target, bytes_text("%")); /* comes next after '$' [MQTT-4.7.2-1] */
        return VERDICT_SEEK;
    }
    struct bytes filter_rest = filter, topic_rest = topic;
    bool filter_more = true, topic_more = true;
    size_t plus_end = SIZE_MAX; /* where the level of the last '+' ends in the topic */
    while (filter_more) {
        const struct bytes want = topic_level_next(&filter_rest, &filter_more);
        if (is_wildcard(want) && want.at[0] == '#') {
            return VERDICT_MATCH;
        }
        if (!topic_more) {
            target_add(target, topic);
            target_add(target, bytes_text("/"));
            target_add_literals(target, want, filter_rest, filter_more);
            return VERDICT_SEEK;
        }
        const struct bytes level = topic_level_next(&topic_rest, &topic_more);
        const size_t begin = (size_t)(level.at - topic.at);
        if (is_wildcard(want)) {
            plus_end = begin + level.len;
            continue;
        }
        const int order = topic_order(level, want);
        if (order > 0) {
            return skip_past(topic, plus_end, target);
        }
        if (order < 0) {
            target_add(target, bytes_of(topic.at, begin));
            target_add_literals(target, want, filter_rest, filter_more);
            return VERDICT_SEEK;
        }
    }
    return topic_more ? skip_past(topic, plus_end, target) : VERDICT_MATCH;
}

/* The levels before the first wildcard, without the last '/'. */
static struct bytes literal_prefix(struct bytes filter)
{
    struct bytes rest = filter;
    size_t len = 0;
    bool more = true;
    while (more) {
        const struct bytes level = topic_level_next(&rest, &more);
        if (is_wildcard(level)) {
            break;
        }
        len = (size_t)(level.at - filter.at) + level.len;
    }
    return bytes_of(filter.at, len);
}

static struct tree_cursor begin_at(const struct retained *r, struct bytes filter,
                                   struct bytes after)
{
    const struct bytes prefix = literal_prefix(filter);
    return topic_order(after, prefix) < 0 ? message_tree_seek(&r->tree, prefix, TREE_AT_OR_AFTER)
                                          : message_tree_seek(&r->tree, after, TREE_AFTER);
}

/* Often what comes next is far enough already. */
static void advance(const struct retained *r, struct tree_cursor *cursor, struct bytes target)
{
    tree_cursor_next(cursor);
    const struct message *const next = tree_cursor_message(cursor);
    if (next != NULL && topic_order(message_topic(next), target) < 0) {
        *cursor = message_tree_seek(&r->tree, target, TREE_AT_OR_AFTER);
    }
}

enum retained_next retained_next(const struct retained *r, struct bytes filter, struct bytes after,
                                 unsigned *budget, struct message **message, uint8_t *resume_buffer,
                                 size_t *resume_len)
{
    assert(topic_filter_valid(filter));
    assert(after.len <= TOPIC_BYTES_MAX);

    struct target target = {.at = resume_buffer};
    struct tree_cursor cursor = begin_at(r, filter, after);
    struct bytes looked_at = after; /* the last topic that is done with */
    for (;;) {
        struct message *const m = tree_cursor_message(&cursor);
        if (m == NULL) {
            return RETAINED_END;
        }
        if (*budget == 0) {
            if (looked_at.len > 0) {
                memmove(resume_buffer, looked_at.at, looked_at.len); /* may be there already */
            }
            *resume_len = looked_at.len;
            return RETAINED_PAUSED;
        }
        --*budget;
        looked_at = message_topic(m);
        switch (judge(filter, looked_at, &target)) {
        case VERDICT_MATCH:
            *message = m;
            return RETAINED_FOUND;
        case VERDICT_OVER:
            return RETAINED_END;
        case VERDICT_SEEK:
            advance(r, &cursor, bytes_of(target.at, target.len));
            break;
        }
    }
}

/* ---- expiry */

static void sweep_after(struct retained *r, struct bytes topic)
{
    memcpy(r->sweep, topic.at, topic.len);
    r->sweep_len = topic.len;
}

static struct tree_cursor sweep_cursor(const struct retained *r)
{
    return message_tree_seek(&r->tree, bytes_of(r->sweep, r->sweep_len), TREE_AFTER);
}

unsigned retained_expire(struct retained *r, uint64_t now_ms, unsigned steps,
                         retained_expired_fn *expired, void *context)
{
    unsigned dropped = 0;
    struct tree_cursor cursor = sweep_cursor(r);
    const struct message *passed = NULL;
    for (; steps > 0; steps--) {
        struct message *const m = tree_cursor_message(&cursor);
        if (m == NULL) {
            r->sweep_len = 0;
            return dropped;
        }
        if (m->has_expiry && m->expires_ms <= now_ms) {
            sweep_after(r, message_topic(m));
            expired(context, m);
            retained_delete(r, bytes_of(r->sweep, r->sweep_len));
            cursor = sweep_cursor(r);
            passed = NULL;
            dropped++;
        } else {
            passed = m;
            tree_cursor_next(&cursor);
        }
    }
    if (passed != NULL) {
        sweep_after(r, message_topic(passed));
    }
    return dropped;
}
