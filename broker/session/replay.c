/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/access.h"
#include "broker/conn/conn.h"
#include "broker/message.h"
#include "broker/route/index.h"
#include "broker/route/retained.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"

/* How far one lookup may walk in one turn: some tens of microseconds. */
#define POSITIONS_PER_LOOKUP 2000u

/* The messages looked up last, and where to go on; only a session's first replay has one, and only
 * while its client is there. */
struct batch {
    unsigned count, delivered; /* of `messages` */
    struct message *messages[REPLAY_BATCH];
    size_t cursor_len;
    uint8_t cursor[UINT16_MAX]; /* the topic to go on after */
};

struct replay {
    struct replay *next, *prev;           /* of the session */
    struct table_link by_subscription;    /* in shard->replays, by these two: */
    struct session *session;              /* NULL: abandoned while it was away */
    const struct local_filter *of_filter; /* dangles then */
    bool away;                            /* another shard has it: only these may be touched */
    bool at_end;                          /* of the shard asked last */
    bool last_shard;                      /* no further shard is to be asked */
    unsigned shard;                       /* asked last, or to be asked next */
    struct batch *batch;                  /* NULL: its turn has not come */
    struct message *last; /* a reference: delivered last, of this shard's; NULL: none yet */
    struct subscribe_options options;
    uint16_t filter_len;
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

static void give_batch_back(struct replay *r)
{
    struct batch *b = r->batch;
    for (unsigned i = b == NULL ? 0 : b->delivered; b != NULL && i < b->count; i++) {
        message_put(b->messages[i]);
    }
    free(b);
    r->batch = NULL;
}

static void replay_free(struct replay *r)
{
    give_batch_back(r);
    message_put(r->last);
    free(r);
}

static void detach(struct session *session, struct replay *r)
{
    struct pending *const p = session->pending;
    *(r->prev == NULL ? &p->replays : &r->prev->next) = r->next;
    *(r->next == NULL ? &p->replays_last : &r->next->prev) = r->prev;
    table_remove(&session->shard->replays, &r->by_subscription);
    r->session = NULL;
    if (!r->away) {
        replay_free(r);
    }
}

/* The one after it, whose turn it is now. */
static struct replay *drop_first(struct session *session, struct replay *r)
{
    struct replay *const next = r->next;
    detach(session, r);
    return next;
}

static struct replay *find(struct session *session, const struct local_filter *f)
{
    struct table_link *link = table_find(&session->shard->replays, local_hash(session, f));
    for (; link != NULL; link = table_find_next(link)) {
        struct replay *r = table_object(link, struct replay, by_subscription);
        if (r->session == session && r->of_filter == f) {
            return r;
        }
    }
    return NULL;
}

bool replay_start(struct session *session, const struct local_filter *f,
                  const struct subscribe_options *options)
{
    assert(find(session, f) == NULL);

    const struct bytes filter = local_filter_name(f);
    const struct node *node = session->shard->node;
    struct pending *const p = session_pending(session);
    struct replay *r = p == NULL ? NULL : calloc(1, sizeof *r + filter.len);
    if (r == NULL) {
        return false;
    }
    r->session = session;
    r->of_filter = f;
    table_insert(&session->shard->replays, &r->by_subscription, local_hash(session, f));
    r->options = *options;
    r->filter_len = (uint16_t)filter.len;
    memcpy(r->filter, filter.at, filter.len);

    const bool everywhere = filter.at[0] == '+' || filter.at[0] == '#';
    r->shard = everywhere ? 0 : index_owner(node->index, filter);
    r->last_shard = !everywhere || node->shard_count == 1;
    if (p->replays_last == NULL) {
        p->replays = r;
    } else {
        p->replays_last->next = r;
        r->prev = p->replays_last;
    }
    p->replays_last = r;
    replay_pump(session);
    return true;
}

static void fill(struct shard *s, struct replay *r, unsigned *budget)
{
    struct batch *b = r->batch;
    b->count = 0;
    b->delivered = 0;
    while (b->count < REPLAY_BATCH) {
        struct message *m;
        const enum retained_next next =
            retained_next(s->retained, filter_of(r), bytes_of(b->cursor, b->cursor_len), budget, &m,
                          b->cursor, &b->cursor_len);
        if (next == RETAINED_END) {
            r->at_end = true;
            return;
        }
        if (next == RETAINED_PAUSED) {
            return;
        }
        const struct bytes topic = message_topic(m);
        memcpy(b->cursor, topic.at, topic.len);
        b->cursor_len = topic.len;
        if (!message_expired(m, s->now_ms)) {
            b->messages[b->count++] = message_take(m, 1);
        }
    }
}

/* On the shard that stores the topics: the next batch; an empty one when the turn's budget is used
 * up, to be asked for again. */
static void look_up(struct shard *s, struct replay *r)
{
    const unsigned most =
        s->lookup_positions < POSITIONS_PER_LOOKUP ? s->lookup_positions : POSITIONS_PER_LOOKUP;
    unsigned budget = most;
    fill(s, r, &budget);
    s->lookup_positions -= most - budget;
}

static void remember_last(struct replay *r, struct message *m)
{
    message_put(r->last);
    r->last = m == NULL ? NULL : message_take(m, 1);
}

/* false: the message stays for later. */
static bool deliver_one(struct session *session, struct replay *r)
{
    struct message *m = r->batch->messages[r->batch->delivered];
    if (!access_sees(session, m)) {
        session_drop(session, METRIC_drop_hidden, m);
        remember_last(r, m);
        message_put(m);
        r->batch->delivered++;
        return true;
    }
    struct delivery d = {
        .message = m,
        .identifier = r->options.identifier,
        .qos = m->qos < r->options.qos ? m->qos : r->options.qos,
        .retain = true,
        .replayed = true,
    };
    if (d.qos > 0) {
        remember_last(r, m);
        session_deliver(session, &d);                        /* takes the reference */
    } else if (message_expired(m, session->shard->now_ms)) { /* while it waited here */
        session_drop(session, METRIC_drop_expired, m);
        message_put(m);
        r->batch->delivered++;
        return true;
    } else {
        switch (conn_send_publish(session->conn, &d, 0, false)) {
        case CONN_NO_MEMORY:
            return false;
        case CONN_TOO_LARGE:
            session_drop(session, METRIC_drop_too_large, m);
            break;
        case CONN_SENT:
            break;
        }
        remember_last(r, m);
        message_put(m);
    }
    shard_count(session->shard, METRIC_retained_replayed);
    r->batch->delivered++;
    return true;
}

/* Where it was when its client went. The cursor's 64 KiB are not touched before they are used. */
static bool begin(struct replay *r)
{
    struct batch *const b = malloc(sizeof *b);
    if (b == NULL) {
        return false;
    }
    b->count = 0;
    b->delivered = 0;
    b->cursor_len = 0;
    if (r->last != NULL) {
        const struct bytes topic = message_topic(r->last);
        memcpy(b->cursor, topic.at, topic.len);
        b->cursor_len = topic.len;
    }
    r->batch = b;
    r->at_end = false;
    return true;
}

static bool is_over(const struct replay *r)
{
    return r->batch->delivered == r->batch->count && r->at_end && r->last_shard;
}

/* Asks for the next batch. true: it is here already. */
static bool ask(struct session *session, struct replay *r)
{
    struct shard *s = session->shard;
    if (r->at_end) {
        assert(!r->last_shard);
        r->at_end = false;
        r->batch->cursor_len = 0;
        remember_last(r, NULL);
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
    struct replay *r = session_replays(session);
    bool asked = false;
    while (r != NULL && !r->away && session_has_room(session)) {
        if (r->batch == NULL && !begin(r)) {
            shard_drop(session->shard, METRIC_drop_no_memory, session_client_id(session),
                       bytes_of(NULL, 0));
            r = drop_first(session, r);
        } else if (r->batch->delivered < r->batch->count) {
            if (!deliver_one(session, r)) {
                return;
            }
        } else if (is_over(r)) {
            r = drop_first(session, r);
        } else if (asked) { /* one lookup a turn: others want to be served too */
            conn_list_add(&session->shard->ready, session->conn, CONN_READY);
            return;
        } else {
            asked = ask(session, r);
        }
    }
}

void replay_rest(struct session *session)
{
    struct replay *r = session_replays(session);
    if (r == NULL || r->away || r->batch == NULL) {
        return;
    }
    if (is_over(r)) {
        detach(session, r);
    } else {
        give_batch_back(r);
    }
}

void replay_forget(struct session *session, const struct local_filter *f)
{
    struct replay *r = find(session, f);
    if (r != NULL) {
        detach(session, r);
    }
}

void replay_forget_all(struct session *session)
{
    for (struct replay *r = session_replays(session); r != NULL;) {
        r = drop_first(session, r);
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
    } else if (r->session->conn == NULL) {
        struct session *const session = r->session;
        replay_rest(session);
        session_rest(session);
    } else {
        replay_pump(r->session);
    }
}
