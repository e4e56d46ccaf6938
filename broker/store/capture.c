/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/capture.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "broker/conn/owed.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/replicated/replicated.h"
#include "broker/route/local.h"
#include "broker/route/retained.h"
#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/session/will.h"
#include "broker/shard/shard.h"
#include "broker/store/checkpoint.h"
#include "broker/store/record_key.h"
#include "broker/store/revive.h"
#include "broker/store/session_record.h"
#include "broker/store/store.h"

#define NEVER    UINT64_MAX
#define AGAIN_MS 2000u
#define OPEN_MS  20u

#define PRESSED_MS 200u /* from one checkpoint that memory presses for to the next */

/* Things taken in one turn, about a microsecond each. */
#define PER_TURN 300u

/* ---- what is put into the batch */

#define KEY_BYTES   32u  /* of one, at most */
#define VALUE_BYTES 128u /* of one, besides texts, bodies and sets */

/* Before a thing is taken: without memory it stays where it is. */
static bool has_room(struct capture *c, uint32_t changes, size_t bytes)
{
    const bool is_there =
        checkpoint_reserve(c->batch, changes, changes * (size_t)(KEY_BYTES + VALUE_BYTES) + bytes);
    c->is_starved = c->is_starved || !is_there;
    return is_there;
}

/* A delivery and its body. Identifiers take a quarter more than in memory, at most. */
static size_t bytes_of_delivery(const struct delivery *d)
{
    const size_t bytes = d->message == NULL ? 0 : outqueue_delivery_bytes(d);
    return bytes + bytes / 4;
}

static size_t bytes_of_filters(const struct session *session)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < session->filters.count; i++) {
        bytes += local_filter_name(pointer_at(pointer_set_places(&session->filters)[i])).len;
    }
    return bytes;
}

static size_t bytes_of_session(const struct session *session)
{
    const size_t received = session_received(session) * (size_t)3;
    const size_t will = session->will == NULL ? 0 : message_bytes(session->will->message);
    return session->client_id_len + received + will;
}

static void put(struct capture *c, struct record_key key)
{
    if (c->value.failed) {
        store_out_of_memory();
    }
    checkpoint_put(c->batch, record_key_bytes(&key), field_written(&c->value));
}

static void drop(struct capture *c, struct record_key key)
{
    checkpoint_delete(c->batch, record_key_bytes(&key));
}

static void drop_all(struct capture *c, char letter, uint64_t serial)
{
    const struct record_key key = record_key_of(letter, serial);
    checkpoint_delete_prefix(c->batch, record_key_bytes(&key));
}

/* One delivery more refers to it; when that goes, the checkpoint counts it down by itself. */
static void add_to_body(struct capture *c, uint64_t id, const struct message *if_new)
{
    const struct record_key key = record_key_of('b', id);
    struct bytes value = bytes_of(NULL, 0);
    if (if_new != NULL) {
        field_writer_begin(&c->value);
        kept_message_write(c->shard, &c->value, if_new);
        if (c->value.failed) {
            store_out_of_memory();
        }
        value = field_written(&c->value);
    }
    checkpoint_add(c->batch, record_key_bytes(&key), 1, value);
}

static void put_delivery(struct capture *c, const struct session *session, const struct delivery *d)
{
    struct shard *const s = c->shard;
    struct delivery_record record;
    kept_delivery_of(session, d, &record.delivery);
    bool is_new = false;
    record.body = d->message == NULL ? 0 : difference_body(s, d->message, &is_new);
    record.bytes = d->message == NULL ? 0 : outqueue_delivery_bytes(d);
    field_writer_begin(&c->value);
    delivery_record_write(&c->value, &record);
    put(c, record_key_delivery(session->serial, d->number));
    if (record.body != 0) {
        add_to_body(c, record.body, is_new ? d->message : NULL);
    }
}

static void put_filters(struct capture *c, struct session *session)
{
    drop_all(c, 'f', session->serial);
    for (uint32_t i = 0; i < session->filters.count; i++) {
        struct local_filter *const f = pointer_at(pointer_set_places(&session->filters)[i]);
        const struct bytes name = local_filter_name(f);
        const struct subscribe_options o = local_options(session, f);
        field_writer_begin(&c->value);
        put_run(&c->value, name);
        stored_options_write(
            &c->value, &(struct stored_options){.identifier = o.identifier,
                                                .qos = o.qos,
                                                .no_local = o.no_local,
                                                .retain_as_published = o.retain_as_published});
        put(c, record_key_filter(session->serial, name));
    }
}

static struct bytes received_of(struct capture *c, const struct session *session)
{
    static const struct packet_ids none;
    const struct packet_ids *const received =
        session->pending == NULL ? &none : &session->pending->received;
    field_writer_begin(&c->part);
    for (uint32_t i = 0; i < received->capacity; i++) {
        const uint16_t packet_id = received->slots[i];
        if (packet_id != 0) {
            put_number(&c->part, packet_id);
        }
    }
    if (c->part.failed) {
        store_out_of_memory();
    }
    return field_written(&c->part);
}

static void put_session(struct capture *c, struct session *session)
{
    struct shard *const s = c->shard;
    const struct will *const will = session->will;
    struct session_record r = {
        .client_id = session_client_id(session),
        .expiry_s = session->expiry_s,
        .connected = session->conn != NULL,
        .ends_ms = kept_wall_ms(s, session->ends_ms),
        .next_number = session->kept->stored_end, /* what comes after it the journal has */
        .sent_end = backlog_sent_end(session),
        .exchange = session->kept->exchange,
        .will_due_ms = will == NULL ? NEVER : kept_wall_ms(s, will->due_ms),
        .received = received_of(c, session),
    };
    field_writer_begin(&c->will);
    if (will != NULL) {
        kept_message_write(s, &c->will, will->message);
        r.will = (struct stored_will){.message = field_written(&c->will),
                                      .delay_s = will->delay_s,
                                      .has_expiry = will->has_expiry,
                                      .expiry_s = will->expiry_s};
    }
    field_writer_begin(&c->value);
    session_record_write(&c->value, &r);
    c->value.failed = c->value.failed || c->will.failed;
    put(c, record_key_of('s', session->serial));
}

/* ---- taking what has changed; each returns how many steps it has left */

static unsigned take_deliveries(struct capture *c, struct kept *kept, struct outqueue *q,
                                unsigned steps)
{
    uint64_t at = outqueue_place(q, kept->stored_end);
    for (; steps > 0; steps--) {
        const struct delivery *const d = outqueue_walk(q, &at);
        if (d == NULL || d->number >= c->end) {
            return steps;
        }
        if (!has_room(c, 2, bytes_of_delivery(d))) {
            return 0;
        }
        put_delivery(c, kept->session, d);
        kept->stored_end = d->number + 1;
    }
    return 0;
}

/* What the checkpoint lacks of the queue, as far as there is time for it. */
static unsigned take_queue(struct capture *c, struct kept *kept, unsigned steps)
{
    struct session *const session = kept->session;
    if (c->at != kept) {
        c->at = kept;
        c->end = session->out.next_number;
    }
    steps = take_deliveries(c, kept, &session->out, steps);
    if (steps > 0 && kept->backlog != NULL && kept->backlog->after != NULL) {
        steps = take_deliveries(c, kept, kept->backlog->after, steps);
    }
    if (steps > 0) {
        kept->stored_end = c->end;
        c->at = NULL;
    }
    return steps;
}

/* When all this is on disk. */
static void remember_to_spill(struct capture *c, struct kept *kept)
{
    if (kept->spill_place != 0 || !backlog_may_spill(kept->session)) {
        return;
    }
    if (c->spill_count == c->spill_capacity) {
        const size_t capacity = c->spill_capacity == 0 ? 64 : c->spill_capacity * 2;
        struct kept **const at =
            capacity > UINT32_MAX ? NULL : realloc(c->spill, capacity * sizeof(struct kept *));
        if (at == NULL) {
            return; /* it stays in memory until it changes again */
        }
        c->spill = at;
        c->spill_capacity = capacity;
    }
    c->spill[c->spill_count++] = kept;
    kept->spill_place = (uint32_t)c->spill_count;
}

void capture_forget(struct shard *s, struct kept *kept)
{
    struct capture *const c = s->capture;
    if (c == NULL) {
        return;
    }
    if (c->at == kept) {
        c->at = NULL;
    }
    if (kept->spill_place != 0) {
        c->spill[kept->spill_place - 1] = NULL;
    }
}

/* true: that was all. */
static bool spill(struct capture *c, unsigned steps)
{
    while (steps > 0 && c->spill_at < c->spill_count) {
        struct kept *const kept = c->spill[c->spill_at];
        if (kept != NULL) {
            steps = backlog_spill(kept->session, steps);
            if (steps == 0) {
                break;
            }
            kept->spill_place = 0;
        }
        c->spill_at++;
        steps--;
    }
    if (c->spill_at < c->spill_count) {
        return false;
    }
    free(c->spill);
    c->spill = NULL;
    c->spill_count = c->spill_capacity = c->spill_at = 0;
    return true;
}

static unsigned take_sessions(struct capture *c, unsigned steps)
{
    struct kept_link *const all = &c->taking.sessions;
    while (steps > 0 && !kept_link_is_alone(all)) {
        struct kept *const kept = table_object(all->next, struct kept, changed);
        steps = take_queue(c, kept, steps);
        if (steps == 0) {
            break;
        }
        const unsigned count = kept->filters_changed ? kept->session->filters.count : 0;
        const size_t bytes = kept->filters_changed ? bytes_of_filters(kept->session) : 0;
        if (!has_room(c, count + 2, bytes + bytes_of_session(kept->session))) {
            return 0;
        }
        steps--;
        if (kept->filters_changed) {
            put_filters(c, kept->session);
            kept->filters_changed = false;
            steps -= count < steps ? count : steps;
        }
        put_session(c, kept->session);
        kept_link_remove(&kept->changed);
        if (kept->stored_end < kept->session->out.next_number) {
            difference_session(c->shard, kept);
        }
        remember_to_spill(c, kept);
    }
    return steps;
}

static unsigned take_topics(struct capture *c, unsigned steps)
{
    const struct changed_topic *t;
    for (; steps > 0 && (t = changed_topics_first(&c->taking.topics)) != NULL; steps--) {
        const struct bytes topic = changed_topic_name(t);
        const struct message *const m = retained_get(c->shard->retained, topic);
        if (!has_room(c, 1, m == NULL ? 0 : message_bytes(m))) {
            return 0;
        }
        if (m == NULL) {
            drop(c, record_key_retained(topic));
        } else {
            field_writer_begin(&c->value);
            kept_message_write(c->shard, &c->value, m);
            put(c, record_key_retained(topic));
        }
        changed_topics_drop(&c->taking.topics);
    }
    return steps;
}

/* What the cluster's retained messages leave behind. */
static unsigned take_graves(struct capture *c, unsigned steps)
{
    const struct changed_topic *t;
    for (; steps > 0 && (t = changed_topics_first(&c->taking.graves)) != NULL; steps--) {
        const struct bytes topic = changed_topic_name(t);
        struct retained_version version;
        if (!has_room(c, 1, topic.len)) {
            return 0;
        }
        if (replicated_is_buried(c->shard, topic, &version)) {
            field_writer_begin(&c->value);
            stored_version_write(&c->value, &version);
            put_raw(&c->value, topic);
            put(c, record_key_grave(topic));
        } else {
            drop(c, record_key_grave(topic));
        }
        changed_topics_drop(&c->taking.graves);
    }
    return steps;
}

static void change_delivery(struct capture *c, const struct changed_delivery *d)
{
    const struct record_key key = record_key_delivery(d->serial, d->number);
    if (d->gone) {
        drop(c, key);
        return;
    }
    const struct delivery_record released = {.delivery = {.number = d->number, .qos = 2}};
    field_writer_begin(&c->value);
    delivery_record_write(&c->value, &released);
    put(c, key);
}

static unsigned take_lists(struct capture *c, unsigned steps)
{
    const struct changes *const t = &c->taking;
    for (; steps > 0 && c->delivery_at < t->deliveries.count; steps--) {
        if (!has_room(c, 1, 0)) {
            return 0;
        }
        change_delivery(c, &t->deliveries.at[c->delivery_at++]);
    }
    for (; steps > 0 && c->ended_at < t->ended.count; steps--) {
        if (!has_room(c, 3, 0)) {
            return 0;
        }
        const uint64_t serial = t->ended.at[c->ended_at++];
        drop(c, record_key_of('s', serial));
        drop_all(c, 'f', serial);
        drop_all(c, 'q', serial);
    }
    return steps;
}

/* true: that was all. */
static bool take(struct capture *c, unsigned steps)
{
    c->is_starved = false;
    steps = take_lists(c, steps);
    steps = take_topics(c, steps);
    steps = take_graves(c, steps);
    steps = take_sessions(c, steps);
    return steps > 0;
}

/* Entries up to the partition's last one are in this checkpoint. */
static void put_applied(struct capture *c, unsigned partition)
{
    const struct shard *const s = c->shard;
    const uint64_t index = s->store->index[partition];
    if (c->upto[partition] == index) {
        return;
    }
    c->upto[partition] = index;
    field_writer_begin(&c->value);
    put_number(&c->value, index);
    put(c, record_key_of('p', revive_place(s->id, partition)));
}

/* What an earlier process had under a lower number is over: all of it is in this checkpoint. */
static void put_least(struct capture *c, struct shard *const *shards, unsigned count)
{
    uint64_t least = NEVER;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t next = shards[i]->next_serial * STORE_JOURNALS_MAX;
        least = next < least ? next : least;
    }
    field_writer_begin(&c->value);
    put_number(&c->value, least);
    put(c, record_key_of('n', 0));
}

/* ---- the course of it */

static bool begin(struct capture *c, struct checkpoint_batch *batch)
{
    struct shard *const s = c->shard;
    c->batch = batch;
    if (batch == NULL || !has_room(c, RECORD_PARTITIONS, 0)) {
        return false;
    }
    kept_flush(s); /* what gathers is in no entry yet */
    changes_move(&c->taking, &s->difference.now);
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        put_applied(c, p);
    }
    c->begun_ms = s->node->clock_ms(); /* not s->now_ms: a visitor's, or before this turn's mail */
    c->begun_bytes = store_bytes(s->store);
    c->ended_at = c->delivery_at = 0;
    c->state = CAPTURE_COLLECTING;
    return true;
}

/* By the checkpoint's thread. */
static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    struct capture *const c = context;
    (void)batch; /* it is c->batch */
    atomic_store_explicit(&c->answer, 1 + (int)err, memory_order_release);
    io_wake_external(c->shard->io);
}

static void submit(struct capture *c)
{
    c->state = CAPTURE_WRITING;
    atomic_store_explicit(&c->answer, 0, memory_order_relaxed);
    checkpoint_submit(c->checkpoint, c->batch, on_done, c);
}

static void say_failed(struct capture *c, enum checkpoint_err err)
{
    log_event(LOG_ERROR, "checkpoint_failed", LOG_NUMBER("shard", c->shard->id),
              LOG_TEXT("reason", checkpoint_err_text(err)),
              LOG_TEXT("meaning", "nothing is lost; the journal grows until it succeeds"));
    shard_count(c->shard, METRIC_checkpoint_failures);
    c->due_ms = c->shard->now_ms + AGAIN_MS;
}

static void finish(struct capture *c, enum checkpoint_err err)
{
    struct shard *const s = c->shard;
    if (err != CHECKPOINT_OK) {
        say_failed(c, err);
        c->state = CAPTURE_AGAIN;
        return;
    }
    const uint64_t now_ms = s->node->clock_ms();
    histogram_add(&s->histograms, HISTOGRAM_checkpoint, (now_ms - c->begun_ms) * 1000, 1);
    if (c->batch != NULL) { /* the first checkpoint of all shards is the first shard's */
        metrics_add(&s->metrics, METRIC_checkpoint_bytes, checkpoint_batch_bytes(c->batch));
    }
    atomic_store_explicit(&s->checkpoint_ms, c->begun_ms, memory_order_relaxed);
    checkpoint_batch_destroy(c->batch);
    c->batch = NULL;
    changes_are_taken(&c->taking, &s->difference);
    c->taking.entries = false;
    for (uint16_t p = 0; p < RECORD_PARTITIONS; p++) {
        store_checkpointed(s->store, p, c->upto[p]);
    }
    shard_count(s, METRIC_checkpoints);
    c->state = CAPTURE_SPILLING;
    c->due_ms = s->now_ms + c->interval_ms;
}

static bool memory_presses(const struct capture *c)
{
    const struct shard *const s = c->shard;
    return s->now_ms >= c->begun_ms + PRESSED_MS && backlog_memory_presses(s);
}

static bool is_due(const struct capture *c)
{
    const struct shard *const s = c->shard;
    if (changes_are_none(&s->difference.now) || (c->is_starved && s->now_ms < c->due_ms)) {
        return false;
    }
    return s->now_ms >= c->due_ms || memory_presses(c) ||
           store_bytes(s->store) - c->begun_bytes >= store_segment_bytes(s->store);
}

/* Until then the journals may be all that knows of an exchange or a will that is not over. */
static bool may_finish(const struct capture *c)
{
    const struct node *const node = c->shard->node;
    return owed_none_since(node, c->begun_ms) && will_none_since(node, c->begun_ms);
}

/* One step; `steps` of collecting. */
static void go_on(struct capture *c, unsigned steps)
{
    struct shard *const s = c->shard;
    switch (c->state) {
    case CAPTURE_NOT_YET:
        break;
    case CAPTURE_IDLE:
        if (is_due(c) && !begin(c, checkpoint_batch_create())) {
            checkpoint_batch_destroy(c->batch);
            c->batch = NULL;
            c->is_starved = true;
            say_failed(c, CHECKPOINT_NO_MEMORY);
        }
        break;
    case CAPTURE_COLLECTING:
        if (take(c, steps)) {
            kept_flush(s);
            c->position = store_last(s->store);
            c->state = CAPTURE_SETTLING;
        } else if (c->is_starved) {
            c->state = CAPTURE_STARVED;
            say_failed(c, CHECKPOINT_NO_MEMORY);
        }
        break;
    case CAPTURE_STARVED:
        if (s->now_ms >= c->due_ms) {
            c->state = CAPTURE_COLLECTING;
        }
        break;
    case CAPTURE_SETTLING:
        if (store_is_written(s->store, c->position)) {
            submit(c);
        }
        break;
    case CAPTURE_WRITING: {
        const int answer = atomic_load_explicit(&c->answer, memory_order_acquire);
        if (answer != 0 && may_finish(c)) {
            finish(c, (enum checkpoint_err)(answer - 1));
        }
        break;
    }
    case CAPTURE_AGAIN:
        if (s->now_ms >= c->due_ms) {
            submit(c);
        }
        break;
    case CAPTURE_SPILLING:
        if (spill(c, steps)) {
            c->state = CAPTURE_IDLE;
        }
        break;
    }
}

void capture_turn(struct shard *s)
{
    struct capture *const c = s->capture;
    if (c != NULL) { /* always more than comes */
        const uint64_t queued = s->keeping.queued_count - c->queued;
        c->queued = s->keeping.queued_count;
        go_on(c, PER_TURN + (unsigned)(2 * queued));
    }
}

uint64_t capture_sleep_ms(const struct shard *s)
{
    const struct capture *const c = s->capture;
    if (c != NULL && c->state == CAPTURE_WRITING &&
        atomic_load_explicit(&c->answer, memory_order_relaxed) != 0) {
        return OPEN_MS; /* on some shard an exchange or a will is open */
    }
    if (c == NULL || c->state == CAPTURE_NOT_YET || c->state == CAPTURE_SETTLING ||
        c->state == CAPTURE_WRITING ||
        (c->state == CAPTURE_IDLE && changes_are_none(&s->difference.now))) {
        return NEVER; /* the disk wakes us, or who changes something */
    }
    if (c->state == CAPTURE_COLLECTING || c->state == CAPTURE_SPILLING || c->due_ms <= s->now_ms) {
        return 0;
    }
    return c->due_ms - s->now_ms;
}

bool capture_all(struct shard *s)
{
    struct capture *const c = s->capture;
    static const struct timespec pause = {.tv_nsec = 1000000};
    if (c->state == CAPTURE_NOT_YET) {
        return false; /* the start failed */
    }
    while (c->state != CAPTURE_IDLE || !changes_are_none(&s->difference.now)) {
        c->due_ms = 0;
        go_on(c, UINT32_MAX);
        if (c->state == CAPTURE_AGAIN || c->state == CAPTURE_STARVED ||
            (c->state == CAPTURE_IDLE && c->is_starved)) {
            return false;
        }
        if (c->state == CAPTURE_SETTLING && !store_is_written(s->store, c->position)) {
            return false; /* the disk takes nothing any more */
        }
        if (c->state == CAPTURE_WRITING) {
            if (atomic_load_explicit(&c->answer, memory_order_acquire) != 0 && !may_finish(c)) {
                return false; /* what was open when the shards ended stays so */
            }
            nanosleep(&pause, NULL);
        }
    }
    return true;
}

static int wait_for_answer(struct capture *c)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    int answer;
    while ((answer = atomic_load_explicit(&c->answer, memory_order_acquire)) == 0) {
        nanosleep(&pause, NULL);
    }
    return answer;
}

/* All put the partitions' indexes, the last one wins: so they have to be the same. */
static void agree_on_indexes(struct shard *const *shards, unsigned count)
{
    for (unsigned from = 0; from < count; from++) {
        shard_self = shards[from];
        kept_flush(shard_self);
        for (uint16_t p = 0; p < RECORD_PARTITIONS; p++) {
            for (unsigned to = 0; p != STORE_RETAINED && to < count; to++) {
                store_continue(shards[to]->store, p, shards[from]->store->index[p]);
            }
        }
    }
}

bool capture_first(struct shard *const *shards, unsigned count)
{
    struct checkpoint_batch *const batch = checkpoint_batch_create();
    agree_on_indexes(shards, count);
    bool is_all = batch != NULL;
    for (unsigned i = 0; i < count && is_all; i++) {
        struct capture *const c = shards[i]->capture;
        shard_self = shards[i];
        shard_enter(shard_self);
        is_all = begin(c, batch) && take(c, UINT32_MAX);
    }
    shard_self = NULL;
    if (!is_all) { /* no memory */
        for (unsigned i = 0; i < count; i++) {
            shards[i]->capture->batch = NULL;
            shards[i]->capture->state = CAPTURE_NOT_YET;
        }
        checkpoint_batch_destroy(batch);
        return false;
    }
    put_least(shards[0]->capture, shards, count);
    checkpoint_put_format(batch);
    submit(shards[0]->capture);
    const int answer = wait_for_answer(shards[0]->capture);
    for (unsigned i = 1; i < count; i++) {
        shards[i]->capture->batch = NULL; /* the first one's */
    }
    for (unsigned i = 0; i < count; i++) {
        shard_self = shards[i];
        if (answer == 1 + CHECKPOINT_OK) {
            finish(shards[i]->capture, CHECKPOINT_OK);
        } else {
            shards[i]->capture->state = CAPTURE_NOT_YET;
        }
    }
    shard_self = NULL;
    return answer == 1 + CHECKPOINT_OK;
}

bool capture_floor(struct shard *s, uint64_t floor)
{
    struct capture *const c = s->capture;
    c->batch = checkpoint_batch_create();
    if (c->batch == NULL || !has_room(c, 1, 0)) {
        checkpoint_batch_destroy(c->batch);
        c->batch = NULL;
        return false;
    }
    field_writer_begin(&c->value);
    put_number(&c->value, floor);
    put(c, record_key_of('h', 0));
    submit(c);
    const int answer = wait_for_answer(c);
    checkpoint_batch_destroy(c->batch);
    c->batch = NULL;
    c->state = CAPTURE_IDLE;
    return answer == 1 + CHECKPOINT_OK;
}

/* ---- beginning and end */

struct capture *capture_create(struct shard *s, struct checkpoint *checkpoint, uint64_t interval_ms)
{
    struct capture *c = calloc(1, sizeof *c);
    if (c == NULL || !changes_init(&c->taking)) {
        free(c);
        return NULL;
    }
    c->shard = s;
    c->checkpoint = checkpoint;
    c->interval_ms = interval_ms;
    c->due_ms = s->now_ms + interval_ms;
    return c;
}

void capture_destroy(struct capture *c)
{
    if (c == NULL) {
        return;
    }
    checkpoint_batch_destroy(c->batch);
    while (!kept_link_is_alone(&c->taking.sessions)) { /* it was ended in the middle of it */
        kept_link_remove(c->taking.sessions.next);
    }
    changes_fini(&c->taking);
    field_writer_fini(&c->will);
    field_writer_fini(&c->value);
    field_writer_fini(&c->part);
    free(c->spill);
    free(c);
}
