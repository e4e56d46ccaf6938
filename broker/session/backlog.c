/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/backlog.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/route/local.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/difference.h"
#include "broker/store/record_key.h"
#include "broker/store/session_record.h"

/* With less than that in memory, more is wanted. */
#define LOW_WATER       256u
#define LOW_WATER_BYTES (4 * BACKLOG_PART_BYTES)
#define TAKE_UP_AT_ONCE 4u    /* parts */
#define START_BYTES     4096u /* of a part at the start, when few are wanted of very many sessions */

#define MOVE_AT_ONCE 256u

/* One reading. The checkpoint's from backlogs_settle() until `is_done`. */
struct backlog_read {
    struct kept_link link;   /* in the shard's backlogs */
    struct session *session; /* NULL: nobody wants it any more */
    struct shard *shard;
    struct checkpoint_read read;
    bool is_under_way;
    struct record_key prefix, from;
    uint64_t end;         /* lower numbers were on disk when it was asked for */
    _Atomic bool is_done; /* by the checkpoint's thread, release */
};

static struct backlog *backlog_of(const struct session *session)
{
    return session->kept == NULL ? NULL : session->kept->backlog;
}

static uint64_t waiting_after(const struct backlog *b)
{
    return b == NULL || b->after == NULL ? 0 : outqueue_waiting(b->after);
}

static uint64_t bytes_after(const struct backlog *b)
{
    return b == NULL || b->after == NULL ? 0 : outqueue_waiting_bytes(b->after);
}

/* ---- the queue as a whole */

uint64_t backlog_waiting(const struct session *session)
{
    const struct backlog *const b = backlog_of(session);
    const uint64_t here = outqueue_waiting(&session->out);
    return b == NULL ? here : here + b->count + waiting_after(b);
}

uint64_t backlog_waiting_bytes(const struct session *session)
{
    const struct backlog *const b = backlog_of(session);
    const uint64_t here = outqueue_waiting_bytes(&session->out);
    return b == NULL ? here : here + b->bytes + bytes_after(b);
}

static struct backlog *begin(struct session *session)
{
    struct backlog *const b = calloc(1, sizeof *b);
    if (b != NULL) {
        session->kept->backlog = b;
    }
    return b;
}

static void drop_read(struct backlog *b)
{
    struct backlog_read *const r = b->read;
    b->read = NULL;
    if (r != NULL && r->is_under_way) {
        r->session = NULL; /* its shard frees it when it comes back */
    } else if (r != NULL) {
        kept_link_remove(&r->link);
        free(r);
    }
}

/* With nothing on disk and nothing after it there is none. */
static void end_if_over(struct session *session)
{
    struct backlog *const b = backlog_of(session);
    if (b->after != NULL && outqueue_is_empty(b->after)) {
        outqueue_fini(b->after);
        free(b->after);
        b->after = NULL;
    }
    if (b->count == 0 && b->after == NULL) {
        drop_read(b);
        free(b);
        session->kept->backlog = NULL;
    }
}

/* So much less is on disk. */
static void leave_disk(struct session *session, uint64_t number, uint64_t bytes)
{
    struct backlog *const b = backlog_of(session);
    assert(b->count > 0);
    b->first = number + 1;
    b->count--;
    b->bytes = b->count == 0 || bytes > b->bytes ? 0 : b->bytes - bytes;
    if (b->count == 0) {
        drop_read(b);
    }
    atomic_fetch_sub_explicit(&session->shard->node->deliveries_on_disk, 1, memory_order_relaxed);
}

static void enter_disk(struct session *session, uint64_t number, uint64_t bytes)
{
    struct backlog *const b = backlog_of(session);
    b->first = b->count == 0 || number < b->first ? number : b->first;
    b->end = b->count == 0 || number >= b->end ? number + 1 : b->end;
    b->count++;
    b->bytes += bytes;
    atomic_fetch_add_explicit(&session->shard->node->deliveries_on_disk, 1, memory_order_relaxed);
}

/* Takes it over, as the newest, when true. */
static bool append_after(struct backlog *b, const struct delivery *delivery)
{
    if (b->after == NULL) {
        b->after = calloc(1, sizeof *b->after);
        if (b->after == NULL) {
            return false;
        }
    }
    return outqueue_append(b->after, delivery);
}

enum outqueue_err backlog_push(struct session *session, const struct delivery *delivery,
                               const struct outqueue_limits *limits)
{
    struct backlog *const b = backlog_of(session);
    if (b == NULL) {
        return outqueue_push(&session->out, delivery, limits);
    }
    if (backlog_waiting(session) >= limits->messages_max ||
        backlog_waiting_bytes(session) + outqueue_delivery_bytes(delivery) > limits->bytes_max) {
        return OUTQUEUE_FULL;
    }
    struct delivery numbered = *delivery;
    numbered.number = session->out.next_number;
    if (!append_after(b, &numbered)) {
        return OUTQUEUE_NO_MEMORY;
    }
    session->out.next_number++;
    return OUTQUEUE_OK;
}

struct delivery *backlog_newest(struct session *session)
{
    const struct backlog *const b = backlog_of(session);
    return outqueue_newest(b != NULL && b->after != NULL ? b->after : &session->out);
}

static bool drop_oldest_of(struct session *session, struct outqueue *q)
{
    kept_done(session, outqueue_oldest(q));
    return outqueue_drop_oldest(q);
}

bool backlog_drop_oldest(struct session *session)
{
    struct backlog *const b = backlog_of(session);
    if (outqueue_waiting(&session->out) > 0) {
        return drop_oldest_of(session, &session->out);
    }
    if (b == NULL) {
        return false;
    }
    if (b->count > 0) {
        kept_done_on_disk(session, b->first);
        leave_disk(session, b->first, b->bytes / b->count); /* on average */
    } else {
        (void)drop_oldest_of(session, b->after);
    }
    end_if_over(session);
    return true;
}

uint64_t backlog_sent_end(const struct session *session)
{
    const struct backlog *const b = backlog_of(session);
    if (b == NULL || outqueue_waiting(&session->out) > 0) {
        return outqueue_sent_end(&session->out);
    }
    return b->count > 0 ? b->first : outqueue_sent_end(b->after);
}

/* ---- to disk */

/* Many may have the same message in memory, and would have it once each when they read it: so it is
 * only then that bytes count. */
bool backlog_memory_presses(const struct shard *s)
{
    return message_memory() > s->config->limits.message_memory_max / 2;
}

bool backlog_may_spill(const struct session *session)
{
    const struct backlog *const b = backlog_of(session);
    const uint64_t here = outqueue_waiting(&session->out);
    if (session->conn == NULL) {
        return here > 0 || b != NULL;
    }
    return (b != NULL && b->count > 0) || here + waiting_after(b) > 2 * (uint64_t)BACKLOG_KEEP ||
           (outqueue_waiting_bytes(&session->out) + bytes_after(b) >
                2 * (uint64_t)BACKLOG_KEEP_BYTES &&
            backlog_memory_presses(session->shard));
}

static bool is_spilled(const struct kept *kept, const struct delivery *d)
{
    return d->number < kept->stored_end && !d->of_group;
}

/* So many stay in memory. */
static uint64_t to_keep(struct session *session)
{
    struct outqueue *const q = &session->out;
    const uint64_t bytes_max =
        backlog_memory_presses(session->shard) ? BACKLOG_KEEP_BYTES : UINT64_MAX;
    uint64_t keep = 0;
    uint64_t bytes = 0;
    while (session->conn != NULL && keep < outqueue_waiting(q) && keep < BACKLOG_KEEP &&
           bytes < bytes_max) {
        bytes += outqueue_delivery_bytes(outqueue_waiting_at(q, keep++));
    }
    return keep;
}

/* What is beyond what stays becomes the part after the disk's, which is empty yet. NULL: that is
 * nothing, or not to be spilled, or there is no memory. */
static struct backlog *split(struct session *session)
{
    const uint64_t keep = to_keep(session);
    if (keep == outqueue_waiting(&session->out) ||
        !is_spilled(session->kept, outqueue_waiting_at(&session->out, keep))) {
        return NULL;
    }
    struct backlog *const b = begin(session);
    if (b == NULL) {
        return NULL;
    }
    b->after = calloc(1, sizeof *b->after);
    if (b->after == NULL || !outqueue_split(&session->out, keep, b->after)) {
        free(b->after);
        free(b);
        session->kept->backlog = NULL;
        return NULL;
    }
    return b;
}

static void spill_oldest(struct session *session, struct outqueue *q)
{
    struct delivery d;
    outqueue_pop(q, &d);
    enter_disk(session, d.number, outqueue_delivery_bytes(&d));
    difference_forget(session->shard, d.message);
    message_put(d.message);
    free(delivery_more(&d));
}

/* The client went before it had taken what was read for it: that goes back, all of it. How many
 * steps are left. */
static unsigned take_back(struct session *session, unsigned steps)
{
    struct kept *const kept = session->kept;
    struct backlog *const b = kept->backlog;
    struct outqueue *const q = &session->out;
    const uint64_t waiting = outqueue_waiting(q);
    for (uint64_t i = 0; i < waiting; i++) {
        if (!is_spilled(kept, outqueue_waiting_at(q, i))) {
            return steps;
        }
    }
    if (waiting == 0) {
        return steps;
    }
    drop_read(b); /* what is under way begins too late */
    for (uint64_t i = 0; i < waiting; i++) {
        spill_oldest(session, q);
    }
    return steps - (waiting < steps ? (unsigned)waiting : steps);
}

unsigned backlog_spill(struct session *session, unsigned steps)
{
    struct kept *const kept = session->kept;
    struct backlog *b = kept->backlog;
    if (!backlog_may_spill(session)) {
        return steps;
    }
    if (b == NULL) {
        b = split(session);
        if (b == NULL) {
            return steps;
        }
    }
    if (session->conn == NULL) {
        steps = take_back(session, steps);
    }
    while (steps > 0 && b->after != NULL && outqueue_waiting(b->after) > 0 &&
           is_spilled(kept, outqueue_oldest(b->after))) {
        spill_oldest(session, b->after);
        steps--;
    }
    end_if_over(session);
    session_rest(session);
    return steps;
}

/* ---- from disk */

typedef bool put_fn(struct session *session, const struct delivery *d);

/* Of a group only if the session has left it, which one process may have found out, and another
 * spilled it: its record still says so. */
static bool put_waiting(struct session *session, const struct delivery *d)
{
    struct delivery named = *d;
    if (d->of_group) {
        named.group_id = local_group_id(session, d->group_id);
        named.of_group = named.group_id != 0;
    }
    return outqueue_append(&session->out, &named);
}

/* As outqueue_restore() wants it: the number that comes next is not the one after it. */
static bool put_restored(struct session *session, const struct delivery *d)
{
    struct outqueue *const q = &session->out;
    const uint64_t next_number = q->next_number;
    q->next_number = d->number;
    const bool is_well = outqueue_restore(q, d);
    q->next_number = next_number;
    return is_well;
}

/* One delivery, and its body if it has one. */
static enum checkpoint_err take(struct session *session, const struct delivery_record *record,
                                struct bytes body, put_fn *put)
{
    struct shard *const s = session->shard;
    struct message *message = NULL;
    struct stored_message unused;
    struct delivery d;
    if (record->body != 0 ? !stored_message_read(body, &unused) : session->conn != NULL) {
        return CHECKPOINT_CORRUPT; /* what was released does not wait */
    }
    if (record->body != 0) { /* another session may have read it just before */
        struct message *const there = difference_message(s, record->body);
        message = there != NULL ? message_take(there, 1) : kept_message_make(s, body);
        if (message == NULL) {
            return CHECKPOINT_NO_MEMORY;
        }
    }
    if (!kept_delivery_make(message, &record->delivery, &d)) {
        return CHECKPOINT_NO_MEMORY;
    }
    if (!put(session, &d)) {
        message_put(message);
        free(delivery_more(&d));
        return CHECKPOINT_NO_MEMORY;
    }
    if (message != NULL) {
        difference_has_body(s, message, record->body);
    }
    leave_disk(session, record->delivery.number, record->bytes);
    return CHECKPOINT_OK;
}

/* The next delivery of those that were read, with its body; false: there is none. */
static bool next_record(const struct checkpoint_pairs *pairs, size_t *at,
                        struct delivery_record *record, struct bytes *body,
                        enum checkpoint_err *err)
{
    struct bytes key, value;
    if (!checkpoint_pairs_next(pairs, at, &key, &value)) {
        return false;
    }
    *body = bytes_of(NULL, 0);
    if (key.len != 17 || !delivery_record_read(value, record) ||
        record->delivery.number != record_key_number(key, 9) ||
        (record->body != 0 && (!checkpoint_pairs_next(pairs, at, &key, body) || key.len != 9 ||
                               record_key_number(key, 1) != record->body))) {
        *err = CHECKPOINT_CORRUPT;
        return false;
    }
    return true;
}

/* What was read of the session's part on disk, which is the beginning of it. */
static enum checkpoint_err take_all(struct session *session, const struct backlog_read *r,
                                    put_fn *put)
{
    struct backlog *const b = backlog_of(session);
    enum checkpoint_err err = CHECKPOINT_OK;
    struct delivery_record record;
    struct bytes body;
    size_t at = 0;
    while (err == CHECKPOINT_OK && b->count > 0 &&
           next_record(r->read.pairs, &at, &record, &body, &err)) {
        if (record.delivery.number >= b->first && record.delivery.number < b->end) {
            err = take(session, &record, body, put);
        }
    }
    if (err == CHECKPOINT_OK && b->count > 0 && !r->read.more && b->first < r->end) {
        err = CHECKPOINT_CORRUPT; /* there should be more */
    }
    return err;
}

static void begin_read(struct session *session, struct backlog_read *r, size_t bytes_max)
{
    const struct backlog *const b = backlog_of(session);
    r->prefix = record_key_of('q', session->serial);
    r->from = record_key_delivery(session->serial, b->first);
    r->end = b->end;
    r->read = (struct checkpoint_read){.prefix = record_key_bytes(&r->prefix),
                                       .from = record_key_bytes(&r->from),
                                       .follow = true,
                                       .bytes_max = bytes_max};
}

static void on_read(struct checkpoint_read *read)
{
    struct backlog_read *const r = table_object(read, struct backlog_read, read);
    struct io *const io = r->shard->io;
    atomic_store_explicit(&r->is_done, true, memory_order_release); /* may be gone from here on */
    io_wake_external(io);
}

static void start_reads(struct shard *s)
{
    struct backlogs *const all = &s->backlogs;
    for (struct kept_link *l = all->waiting.next;
         l != &all->waiting && all->under_way_count < BACKLOG_READS_MAX;) {
        struct backlog_read *const r = table_object(l, struct backlog_read, link);
        l = l->next;
        kept_link_remove(&r->link);
        r->is_under_way = true;
        begin_read(r->session, r, BACKLOG_PART_BYTES);
        r->read.done = on_read;
        kept_link_append(&all->under_way, &r->link);
        all->under_way_count++;
        shard_count(s, METRIC_backlog_reads);
        checkpoint_read(all->checkpoint, &r->read);
    }
}

static void want(struct session *session)
{
    struct shard *const s = session->shard;
    struct backlog *const b = backlog_of(session);
    if (b->read != NULL || s->backlogs.checkpoint == NULL) { /* or the process ends */
        return;
    }
    struct backlog_read *const r = calloc(1, sizeof *r);
    if (r == NULL) {
        conn_doom(session->conn, MQTT_REASON_SERVER_BUSY);
        return;
    }
    r->session = session;
    r->shard = s;
    b->read = r;
    kept_link_append(&s->backlogs.waiting, &r->link);
    start_reads(s);
}

/* Some of what came after is next, as nothing is on disk any more. */
static bool move_after(struct session *session)
{
    struct backlog *const b = backlog_of(session);
    unsigned moved = 0;
    for (; moved < MOVE_AT_ONCE && outqueue_waiting(b->after) > 0; moved++) {
        struct delivery d = *outqueue_oldest(b->after);
        if (!outqueue_append(&session->out, &d)) {
            conn_doom(session->conn, MQTT_REASON_SERVER_BUSY);
            break;
        }
        outqueue_pop(b->after, &d);
    }
    end_if_over(session);
    return moved > 0;
}

/* Of what is on disk no more is read than a client may be about to take, as it is in memory then;
 * while that is full, only when there is nothing else. */
static bool is_low(const struct session *session)
{
    const struct outqueue *const q = &session->out;
    return outqueue_waiting(q) == 0 ||
           (outqueue_waiting_bytes(q) < LOW_WATER_BYTES && !session->shard->memory_full);
}

bool backlog_refill(struct session *session)
{
    const struct backlog *const b = backlog_of(session);
    if (b == NULL || session->conn == NULL || outqueue_waiting(&session->out) >= LOW_WATER) {
        return false;
    }
    if (b->count == 0) {
        return move_after(session);
    }
    if (is_low(session)) {
        want(session);
    }
    return false;
}

static void fail(struct session *session, enum checkpoint_err err)
{
    log_event(LOG_ERROR, "queue_unreadable", LOG_BYTES("client_id", session_client_id(session)),
              LOG_TEXT("reason", checkpoint_err_text(err)),
              LOG_TEXT("meaning", "the client is disconnected; its messages stay where they are"));
    shard_count(session->shard, METRIC_backlog_failures);
    conn_doom(session->conn, MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR);
}

static void take_up(struct backlog_read *r)
{
    struct session *const session = r->session;
    enum checkpoint_err err = r->read.err;
    if (session == NULL) {
        return;
    }
    backlog_of(session)->read = NULL;
    if (session->conn == NULL) {
        return; /* it is read anew when the client is back */
    }
    if (err == CHECKPOINT_OK) {
        err = take_all(session, r, put_waiting);
        end_if_over(session);
    }
    if (err != CHECKPOINT_OK) {
        fail(session, err);
        return;
    }
    session_pump(session);
}

void backlogs_settle(struct shard *s)
{
    struct backlogs *const all = &s->backlogs;
    unsigned left = TAKE_UP_AT_ONCE;
    for (struct kept_link *l = all->under_way.next; l != &all->under_way && left > 0;) {
        struct backlog_read *const r = table_object(l, struct backlog_read, link);
        l = l->next;
        if (!atomic_load_explicit(&r->is_done, memory_order_acquire)) {
            continue;
        }
        left--;
        kept_link_remove(&r->link);
        all->under_way_count--;
        take_up(r); /* which may want more: that goes to the end of the list */
        free(r->read.pairs);
        free(r);
    }
    if (all->checkpoint != NULL) {
        start_reads(s);
    }
}

unsigned backlogs_read(const struct backlogs *b)
{
    unsigned count = 0;
    for (const struct kept_link *l = b->under_way.next; l != &b->under_way; l = l->next) {
        const struct backlog_read *const r = table_object(l, struct backlog_read, link);
        count += atomic_load_explicit(&r->is_done, memory_order_acquire);
    }
    return count;
}

void backlogs_init(struct backlogs *b)
{
    *b = (struct backlogs){.checkpoint = NULL};
    kept_link_init(&b->waiting);
    kept_link_init(&b->under_way);
}

static void free_reads(struct kept_link *list)
{
    for (struct kept_link *l = list->next; l != list;) {
        struct backlog_read *const r = table_object(l, struct backlog_read, link);
        l = l->next;
        free(r->read.pairs);
        free(r);
    }
    kept_link_init(list);
}

void backlogs_fini(struct backlogs *b)
{
    free_reads(&b->waiting);
    free_reads(&b->under_way);
}

void backlog_vanish(struct session *session)
{
    struct backlog *const b = backlog_of(session);
    if (b == NULL) {
        return;
    }
    atomic_fetch_sub_explicit(&session->shard->node->deliveries_on_disk, (int64_t)b->count,
                              memory_order_relaxed);
    b->count = 0;
    if (b->after != NULL) {
        outqueue_fini(b->after);
    }
    end_if_over(session);
}

void backlog_end(struct session *session)
{
    struct backlog *const b = backlog_of(session);
    if (b == NULL) {
        return;
    }
    struct shard *const s = session->shard;
    metrics_add(&s->metrics, METRIC_drop_session_ended, b->count);
    atomic_fetch_sub_explicit(&s->node->deliveries_on_disk, (int64_t)b->count,
                              memory_order_relaxed);
    b->count = 0;
    session_give_up(session, &session->out); /* first, as it is older */
    if (b->after != NULL) {
        session_give_up(session, b->after);
    }
    end_if_over(session);
}

/* ---- at the start */

bool backlog_stored(struct session *session, uint64_t number, uint64_t bytes)
{
    if (backlog_of(session) == NULL && begin(session) == NULL) {
        return false;
    }
    assert(backlog_of(session)->after == NULL);
    enter_disk(session, number, bytes);
    return true;
}

bool backlog_revive(struct session *session, const struct delivery *delivery)
{
    struct backlog *const b = backlog_of(session);
    return b == NULL ? put_restored(session, delivery) : append_after(b, delivery);
}

bool backlog_restore(struct session *session, const struct delivery *delivery)
{
    struct backlog *const b = backlog_of(session);
    const bool is_well =
        b == NULL ? outqueue_restore(&session->out, delivery) : append_after(b, delivery);
    if (is_well) {
        session->out.next_number = delivery->number + 1;
    }
    return is_well;
}

bool backlog_done(struct session *session, uint64_t number)
{
    struct backlog *const b = backlog_of(session);
    if (b == NULL || b->count == 0 || number != b->first || b->count != b->end - b->first) {
        return false; /* where numbers are missing nobody knows which is the first that is there */
    }
    leave_disk(session, number, b->bytes / b->count); /* on average */
    end_if_over(session);
    return true;
}

static enum checkpoint_err read_part(struct session *session)
{
    struct backlog_read r;
    begin_read(session, &r, START_BYTES);
    checkpoint_read_now(session->shard->backlogs.checkpoint, &r.read);
    enum checkpoint_err err = r.read.err;
    if (err == CHECKPOINT_OK) {
        err = take_all(session, &r, put_restored);
    }
    free(r.read.pairs);
    return err;
}

static bool restore_after(struct session *session)
{
    struct backlog *const b = backlog_of(session);
    while (b->after != NULL && outqueue_waiting(b->after) > 0) {
        struct delivery d = *outqueue_oldest(b->after);
        if (!put_restored(session, &d)) {
            return false;
        }
        outqueue_pop(b->after, &d);
    }
    return true;
}

enum checkpoint_err backlog_reach(struct session *session, uint64_t number)
{
    struct backlog *const b = backlog_of(session);
    enum checkpoint_err err = CHECKPOINT_OK;
    if (b == NULL) {
        return CHECKPOINT_OK;
    }
    while (err == CHECKPOINT_OK && b->count > 0 && b->first <= number) {
        err = read_part(session);
    }
    if (err == CHECKPOINT_OK && b->count == 0 && b->end <= number && !restore_after(session)) {
        err = CHECKPOINT_NO_MEMORY;
    }
    if (err == CHECKPOINT_OK) {
        end_if_over(session);
    }
    return err;
}
