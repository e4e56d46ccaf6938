/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/subscriber.h"

#include <stdlib.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/login/login.h"
#include "broker/message.h"
#include "broker/route/index.h"
#include "broker/route/local.h"
#include "broker/route/share.h"
#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"

#define STEP_BYTES 64u /* of filter or topic */

/* ---- the question */

size_t explain_question_bytes(const struct explain_question *q)
{
    return q->topic.len + q->client_id.len + q->publisher.len;
}

static struct bytes copy(struct bytes text, uint8_t **to)
{
    if (text.at == NULL) {
        return text;
    }
    uint8_t *const at = *to;
    memcpy(at, text.at, text.len);
    *to += text.len;
    return bytes_of(at, text.len);
}

void explain_question_copy(struct explain_question *q, uint8_t *text)
{
    q->topic = copy(q->topic, &text);
    q->client_id = copy(q->client_id, &text);
    q->publisher = copy(q->publisher, &text);
}

void explain_text_set(char *out, struct bytes text)
{
    const size_t len = text.len < EXPLAIN_TEXT ? text.len : EXPLAIN_TEXT - 1;
    if (len > 0) {
        memcpy(out, text.at, len);
    }
    out[len] = '\0';
}

/* ---- subscriptions */

static void note_match(struct explain_client *c, struct session *session, struct local_filter *f,
                       struct bytes share, struct bytes plain)
{
    const struct subscribe_options o = local_options(session, f);
    c->matching++;
    if (!f->shared && o.no_local && c->is_publisher) {
        c->plain_local = true;
    } else if (!f->shared) {
        c->plain = true;
        c->plain_qos = o.qos > c->plain_qos ? o.qos : c->plain_qos;
        c->plain_retain = c->plain_retain || o.retain_as_published;
    }
    if (c->filters_kept == EXPLAIN_FILTERS_MAX) {
        return;
    }
    struct explain_filter *const kept = &c->filters[c->filters_kept++];
    *kept = (struct explain_filter){.qos = o.qos,
                                    .no_local = o.no_local,
                                    .retain_as_published = o.retain_as_published,
                                    .shared = f->shared};
    explain_text_set(kept->text, local_filter_name(f));
    if (f->shared) {
        const struct share_member *const member = local_member_of(session, f);
        kept->group = share_name_hash(share, plain);
        kept->subscription = member == NULL ? 0 : member->subscription_id;
    }
}

static void note_miss(struct explain_client *c, const struct local_filter *f, enum near_miss why)
{
    c->near++;
    if (c->near_kept < EXPLAIN_NEAR_MAX) {
        struct explain_near *const kept = &c->nearly[c->near_kept++];
        kept->why = why;
        explain_text_set(kept->text, local_filter_name(f));
    }
}

static void look_at(struct explain_subscriber *x, struct session *session, struct local_filter *f)
{
    struct explain_client *const c = &x->found;
    struct bytes share = bytes_of(NULL, 0), plain = local_filter_name(f);
    if (f->shared && !topic_share_parse(local_filter_name(f), &share, &plain)) {
        return;
    }
    if (topic_matches(plain, x->question.topic)) {
        note_match(c, session, f, share, plain);
        return;
    }
    const enum near_miss why = near_miss_of(plain, x->question.topic);
    if (why != NEAR_MISS_NONE) {
        note_miss(c, f, why);
    }
}

/* A part of them, from the end: whoever goes meanwhile has its place taken by the last one, which
 * has been looked at. true: that was all. */
static bool look_on(struct explain_subscriber *x, struct session *session)
{
    const struct pointer_set *const filters = &session->filters;
    unsigned steps = EXPLAIN_STEPS;
    x->left = x->left < filters->count ? x->left : filters->count;
    while (x->left > 0 && steps > 0) {
        struct local_filter *const f = pointer_at(pointer_set_places(filters)[--x->left]);
        const unsigned cost = 1 + (f->name_len + (unsigned)x->question.topic.len) / STEP_BYTES;
        steps -= cost < steps ? cost : steps;
        look_at(x, session, f);
    }
    return x->left == 0;
}

/* ---- the recorder */

/* Does a note's text go on with that, as far as it was kept? Then it is behind it in *text. */
static bool takes(struct bytes *text, struct bytes with, bool cut)
{
    const size_t len = cut && text->len < with.len ? text->len : with.len;
    if (text->len < len || (len > 0 && memcmp(text->at, with.at, len) != 0)) {
        return false;
    }
    *text = bytes_of(text->at + len, text->len - len);
    return true;
}

static struct explain_drops *drops_of(struct explain_client *c, uint16_t metric)
{
    for (uint32_t i = 0; i < c->drops_kept; i++) {
        if (c->drops[i].metric == metric) {
            return &c->drops[i];
        }
    }
    if (c->drops_kept == EXPLAIN_DROPS_MAX || metric >= METRICS) {
        return NULL;
    }
    struct explain_drops *const d = &c->drops[c->drops_kept++];
    *d = (struct explain_drops){.reason = metrics_name((enum metric)metric), .metric = metric};
    return d;
}

static void read_note(struct explain_subscriber *x, const struct note *note, uint64_t now_ms)
{
    const bool cut = note->text_len >= NOTE_TEXT_MAX;
    struct bytes text = bytes_of(note->text, note->text_len);
    if (note->kind != NOTE_DROPPED || !takes(&text, x->question.client_id, false) ||
        !takes(&text, bytes_of("", 1), false)) {
        return;
    }
    struct explain_drops *const d = drops_of(&x->found, note->code);
    if (d != NULL) {
        d->count++;
        d->of_topic += takes(&text, x->question.topic, cut) && text.len == 0;
        d->last_ago_ms = now_ms > note->at_ms ? now_ms - note->at_ms : 0;
    }
}

/* A part of what the shard remembers; true: that was all. Of what is overwritten meanwhile nothing
 * is known any more. */
static bool read_notes(struct explain_subscriber *x, struct shard *s)
{
    const struct note_ring *const ring = s->recorder.ring;
    if (x->notes == NULL) {
        x->notes = ring;
    }
    if (ring == NULL || ring != x->notes) {
        return true;
    }
    for (unsigned i = 0; i < EXPLAIN_NOTES; i++) {
        const struct note *const note = note_ring_next(ring, &x->cursor);
        if (note == NULL) {
            return true;
        }
        read_note(x, note, s->now_ms);
    }
    return false;
}

/* ---- what else there is to know */

static void look_at_queue(struct explain_subscriber *x, struct session *session)
{
    struct explain_client *const c = &x->found;
    const uint64_t now_ms = session->shard->now_ms;
    const struct delivery *d;
    uint64_t at = 0;
    for (unsigned i = 0; i < EXPLAIN_DELIVERIES && (d = outqueue_walk(&session->out, &at)) != NULL;
         i++) {
        if (d->state != DELIVERY_WAITING || d->message == NULL ||
            !bytes_equal(message_topic(d->message), x->question.topic)) {
            continue;
        }
        c->waiting++;
        c->expired += message_expired(d->message, now_ms);
    }
}

static uint32_t packet_bytes(const struct explain_subscriber *x, const struct conn *c)
{
    const struct explain_message *const m = &x->question.message;
    const struct mqtt_publish publish = {
        .qos = m->qos,
        .topic = x->question.topic,
        .payload = bytes_of(x->text, m->payload_bytes), /* of which only the length counts */
    };
    return (uint32_t)mqtt_publish_size(&publish, (enum mqtt_version)c->version);
}

static void look_at_conn(struct explain_subscriber *x, struct conn *c)
{
    struct explain_client *const found = &x->found;
    const uint32_t inflight_max = c->shard->config->limits.inflight_max;
    found->connected = true;
    found->closing = c->phase != CONN_CONNECTED || c->doomed;
    found->access = access_explain_receive(c, x->question.topic);
    found->rules = found->access.by != ACCESS_BY_NOTHING;
    found->window = c->receive_maximum < inflight_max ? c->receive_maximum : inflight_max;
    found->in_flight = outqueue_in_flight(&c->session->out);
    found->output_bytes = outbuf_bytes(&c->out);
    found->output_bytes_max = conn_output_max(c);
    found->packet_bytes = packet_bytes(x, c);
    found->packet_bytes_max = c->packet_bytes_max;
}

static void look_at_session(struct explain_subscriber *x, struct session *session)
{
    struct explain_client *const found = &x->found;
    const struct shard *const s = session->shard;
    const struct config_limits *const limits = &s->config->limits;
    found->session = true;
    found->subscriptions = session->filters.count;
    found->ends_in_ms = session->ends_ms == UINT64_MAX ? UINT64_MAX
                        : session->ends_ms > s->now_ms ? session->ends_ms - s->now_ms
                                                       : 0;
    found->rules = s->acl != NULL;
    found->queued = backlog_waiting(session);
    found->queued_bytes = backlog_waiting_bytes(session);
    found->queued_max = limits->session_queue_messages_max;
    found->queued_bytes_max = limits->session_queue_bytes_max;
    found->queue_full = limits->session_queue_full;
    if (session->conn != NULL) {
        look_at_conn(x, session->conn);
    }
    look_at_queue(x, session);
}

static void begin(struct explain_subscriber *x)
{
    const struct explain_question *const q = &x->question;
    x->begun = true;
    x->left = UINT32_MAX;
    x->found.asked = true;
    x->found.is_publisher = q->publisher.at != NULL && bytes_equal(q->publisher, q->client_id);
    explain_text_set(x->found.client_id, q->client_id);
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct explain_subscriber *const x = table_object(e, struct explain_subscriber, errand);
    ASSERT_OWNED(s);
    struct session *const session = session_find(s, x->question.client_id);
    if (!x->begun) {
        begin(x);
    }
    if (!x->notes_read && !(x->notes_read = read_notes(x, s))) {
        return ERRAND_MORE;
    }
    if (session != NULL && !look_on(x, session)) {
        return ERRAND_MORE;
    }
    if (session != NULL) {
        look_at_session(x, session);
    }
    const bool known = !IN6_IS_ADDR_UNSPECIFIED(&x->question.address);
    x->found.guard = guard_foresee(s, session == NULL ? NULL : session->conn, x->question.client_id,
                                   known ? &x->question.address : NULL);
    return ERRAND_DONE;
}

static void destroy(struct errand *e)
{
    free(table_object(e, struct explain_subscriber, errand));
}

struct explain_subscriber *explain_subscriber_create(const struct explain_question *q)
{
    struct explain_subscriber *const x = calloc(1, sizeof *x + explain_question_bytes(q));
    if (x != NULL) {
        x->errand = (struct errand){.run = run, .destroy = destroy};
        x->question = *q;
        explain_question_copy(&x->question, x->text);
    }
    return x;
}
