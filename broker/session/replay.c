/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/message.h"
#include "broker/route/index.h"
#include "broker/route/retained.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"

/* How far one lookup may walk in one turn: some tens of microseconds. */
#define POSITIONS_PER_LOOKUP 2000u

/* One batch, on its way or being delivered. */
struct replay {
    struct replay *next;
    struct session *session; /* NULL: abandoned while it was away */
    bool away;               /* another shard has it: only `session` may be touched */
    bool at_end;             /* of the shard asked last */
    bool last_shard;         /* no further shard is to be asked */
    unsigned shard;          /* asked last, or to be asked next */
    struct subscribe_options options;

    unsigned count, delivered; /* of `messages` */
    struct message *messages[REPLAY_BATCH];
    size_t cursor_len;
    uint16_t filter_len;
    uint8_t cursor[UINT16_MAX]; /* the topic to go on after */
    uint8_t filter[];
};

struct post_replay {
    struct post_head head;
    struct replay *replay;
};

static struct bytes filter_of(const struct replay *r)
{
    return bytes_of(r->filter, r->filter_len);
}

static void replay_free(struct replay *r)
{
    for (unsigned i = r->delivered; i < r->count; i++) {
        message_put(r->messages[i]);
    }
    free(r);
}

static void detach(struct session *session, struct replay *r)
{
    struct replay **at = &session->replays;
    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    r->session = NULL;
    if (!r->away) {
        replay_free(r);
    }
}

bool replay_start(struct session *session, struct bytes filter,
                  const struct subscribe_options *options)
{
    const struct node *node = session->shard->node;
    replay_forget(session, filter); /* subscribed again before the first was over */
    struct replay *r = malloc(sizeof *r + filter.len);
    if (r == NULL) {
        return false;
    }
    /* The cursor's 64 KiB are not touched. */
    memset(r, 0, offsetof(struct replay, cursor));
    r->session = session;
    r->options = *options;
    r->filter_len = (uint16_t)filter.len;
    memcpy(r->filter, filter.at, filter.len);

    const bool everywhere = filter.at[0] == '+' || filter.at[0] == '#';
    r->shard = everywhere ? 0 : index_owner(node->index, filter);
    r->last_shard = !everywhere || node->shard_count == 1;
    struct replay **at = &session->replays;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = r;
    replay_pump(session);
    return true;
}

/* On the shard that stores the topics: the next batch. */
static void look_up(struct shard *s, struct replay *r)
{
    unsigned budget = POSITIONS_PER_LOOKUP;
    r->count = 0;
    r->delivered = 0;
    while (r->count < REPLAY_BATCH) {
        struct message *m;
        const enum retained_next next =
            retained_next(s->retained, filter_of(r), bytes_of(r->cursor, r->cursor_len), &budget,
                          &m, r->cursor, &r->cursor_len);
        if (next == RETAINED_END) {
            r->at_end = true;
            return;
        }
        if (next == RETAINED_PAUSED) {
            return;
        }
        const struct bytes topic = message_topic(m);
        memcpy(r->cursor, topic.at, topic.len);
        r->cursor_len = topic.len;
        if (!message_expired(m, s->now_ms)) {
            r->messages[r->count++] = message_take(m, 1);
        }
    }
}

/* false: the message stays for later. */
static bool deliver_one(struct session *session, struct replay *r)
{
    struct message *m = r->messages[r->delivered];
    struct delivery d = {
        .message = m,
        .identifier = r->options.identifier,
        .qos = m->qos < r->options.qos ? m->qos : r->options.qos,
        .retain = true,
    };
    if (d.qos > 0) {
        session_deliver(session, &d); /* takes the reference */
    } else {
        switch (conn_send_publish(session->conn, &d, 0, false)) {
        case CONN_NO_MEMORY:
            return false;
        case CONN_TOO_LARGE:
            shard_count(session->shard, METRIC_drop_too_large);
            break;
        case CONN_SENT:
            break;
        }
        message_put(m);
    }
    shard_count(session->shard, METRIC_retained_replayed);
    r->delivered++;
    return true;
}

/* Asks for the next batch. true: it is here already. */
static bool ask(struct session *session, struct replay *r)
{
    struct shard *s = session->shard;
    if (r->at_end) {
        assert(!r->last_shard);
        r->at_end = false;
        r->cursor_len = 0;
        r->shard++;
        r->last_shard = r->shard + 1 == s->node->shard_count;
    }
    if (r->shard == s->id) {
        look_up(s, r);
        return true;
    }
    r->away = true;
    struct post_replay *p = post_reserve(s, r->shard, POST_REPLAY, sizeof *p);
    p->replay = r;
    post_commit(s, r->shard);
    return false;
}

void replay_pump(struct session *session)
{
    ASSERT_OWNED(session->shard);
    struct replay *r = session->replays;
    bool asked = false;
    while (r != NULL && !r->away && session_has_room(session)) {
        if (r->delivered < r->count) {
            if (!deliver_one(session, r)) {
                return;
            }
        } else if (r->at_end && r->last_shard) {
            detach(session, r);
            r = session->replays;
        } else if (asked) { /* one lookup a turn: others want to be served too */
            conn_list_add(&session->shard->ready, session->conn, CONN_READY);
            return;
        } else {
            asked = ask(session, r);
        }
    }
}

void replay_forget(struct session *session, struct bytes filter)
{
    for (struct replay *r = session->replays; r != NULL; r = r->next) {
        if (bytes_equal(filter_of(r), filter)) {
            detach(session, r);
            return;
        }
    }
}

void replay_forget_all(struct session *session)
{
    while (session->replays != NULL) {
        detach(session, session->replays);
    }
}

/* ---- mail */

void replay_on_request(struct shard *s, unsigned from, const struct post_head *record)
{
    struct replay *r = ((const struct post_replay *)(const void *)record)->replay;
    look_up(s, r);
    struct post_replay *p = post_reserve(s, from, POST_REPLAYED, sizeof *p);
    p->replay = r;
    post_commit(s, from);
}

void replay_on_answer(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)s;
    (void)from;
    struct replay *r = ((const struct post_replay *)(const void *)record)->replay;
    r->away = false;
    if (r->session == NULL) {
        replay_free(r);
    } else {
        replay_pump(r->session);
    }
}
