/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/kept.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/conn/owed.h"
#include "broker/message.h"
#include "broker/partitions/ledger.h"
#include "broker/route/local.h"
#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/capture.h"
#include "broker/store/difference.h"
#include "broker/store/origins.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"

#define NEVER UINT64_MAX

/* An entry is written when it has become as long as this, and another one begun. */
#define QUEUED_BYTES_MAX (256u << 10)

static unsigned partition_of_hash(uint64_t client_hash)
{
    return (unsigned)(client_hash % PARTITIONS);
}

static unsigned partition_of(const struct session *session)
{
    return partition_of_hash(session->client_hash);
}

/* ---- memory */

void keeping_init(struct keeping *k)
{
    *k = (struct keeping){.message = NULL};
    kept_link_init(&k->gated);
}

void keeping_fini(struct keeping *k)
{
    assert(kept_link_is_alone(&k->gated));
    message_put(k->message);
    field_writer_fini(&k->stored);
    field_writer_fini(&k->entry);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        field_writer_fini(&k->queued[i]);
        field_writer_fini(&k->done[i]);
    }
}

/* ---- time */

uint64_t kept_wall_ms(const struct shard *s, uint64_t ms)
{
    return ms == NEVER ? NEVER : (uint64_t)((int64_t)ms + s->node->wall_offset_ms);
}

uint64_t kept_clock_ms(const struct shard *s, uint64_t wall_ms)
{
    if (wall_ms == NEVER) {
        return NEVER;
    }
    const int64_t ms = (int64_t)wall_ms - s->node->wall_offset_ms;
    return ms < 0 ? 0 : (uint64_t)ms; /* before this machine was started: it is over */
}

/* ---- messages */

void kept_message_write(const struct shard *s, struct field_writer *w, const struct message *m)
{
    const struct stored_message stored = {
        .topic = message_topic(m),
        .properties = message_properties(m),
        .payload = message_payload(m),
        .qos = m->qos,
        .retain = m->retain,
        .has_expiry = m->has_expiry,
        .expires_ms = m->has_expiry ? kept_wall_ms(s, m->expires_ms) : 0,
        .version = m->versioned ? message_version(m) : (struct retained_version){.stamp = 0},
    };
    uint8_t head[STORED_MESSAGE_HEAD];
    stored_message_head(&stored, head);
    put_raw(w, bytes_of(head, sizeof head));
    if (stored.version.stamp > 0) {
        stored_version_write(w, &stored.version);
    }
    put_raw(w, bytes_of(m->body, (size_t)m->topic_len + m->properties_len + m->payload_len));
}

static struct message *versioned(struct message *m, const struct retained_version *version)
{
    struct message *const v = message_with_version(m);
    if (v == NULL) {
        message_put(m);
    } else {
        message_set_version(v, version);
    }
    return v;
}

struct message *kept_message_make(const struct shard *s, struct bytes in)
{
    struct stored_message stored;
    const bool is_one = stored_message_read(in, &stored);
    assert(is_one); /* whoever read the entry or the record has looked */
    struct message *m = message_create(stored.topic, stored.properties, stored.payload);
    if (m != NULL) {
        m->qos = stored.qos;
        m->retain = stored.retain;
        m->has_expiry = stored.has_expiry;
        m->expires_ms = stored.has_expiry ? kept_clock_ms(s, stored.expires_ms) : 0;
    }
    return m == NULL || stored.version.stamp == 0 ? m : versioned(m, &stored.version);
}

bool kept_hurries(const struct shard *keeper, const struct message *m)
{
    return m->hurried && !shard_disk_is_congested(keeper);
}

/* ---- entries */

static void append(struct shard *s, unsigned partition, struct field_writer *w, bool waited_for)
{
    if (w->failed) {
        store_out_of_memory();
    }
    if (s->ledger != NULL && partition < PARTITIONS) {
        partition_append(s, partition, field_written(w), waited_for);
    } else {
        store_append(s, (uint16_t)partition, field_written(w), waited_for);
    }
}

static void write_entry(struct shard *s, unsigned partition, const struct entry *e, bool waited_for)
{
    struct field_writer *const w = &s->keeping.entry;
    field_writer_begin(w);
    entry_write(w, e);
    append(s, partition, w, waited_for);
}

/* Entries of one partition are in the order in which things happened; only acknowledgements may be
 * later, as nothing that comes after them undoes them. */
static void write_queued(struct shard *s)
{
    struct keeping *const k = &s->keeping;
    for (uint64_t set = k->queued_set; set != 0; set &= set - 1) {
        const unsigned partition = (unsigned)__builtin_ctzll(set);
        append(s, partition, &k->queued[partition], !kept_hurries(s, k->message));
    }
    k->queued_set = 0;
    message_put(k->message);
    k->message = NULL;
}

static void write_gathered(struct shard *s)
{
    struct keeping *const k = &s->keeping;
    write_queued(s);
    for (uint64_t set = k->done_set; set != 0; set &= set - 1) {
        const unsigned partition = (unsigned)__builtin_ctzll(set);
        append(s, partition, &k->done[partition], false);
    }
    k->done_set = 0;
}

void kept_flush(struct shard *s)
{
    const struct kept_link *const gated = &s->keeping.gated;
    if (s->store == NULL) {
        return;
    }
    write_gathered(s);
    for (struct kept_link *l = gated->next; l != gated; l = l->next) {
        struct kept_gate *const gate = table_object(l, struct kept_gate, link);
        if (gate->position == NEVER || gate->done_position == NEVER) {
            s->store->wanted = true; /* it may hang on what would wait for company, */
            s->settled = NEVER;      /* or be kept already: kept_settle() is to look */
        }
        if (gate->position == NEVER) {
            gate->position = ledger_last(s);
        }
        if (gate->done_position == NEVER) {
            gate->done_position = ledger_last(s);
        }
    }
}

/* ---- a session begins, and ends */

bool kept_begin(struct session *session)
{
    assert(session->kept == NULL);
    struct kept *kept = calloc(1, sizeof *kept);
    if (kept == NULL) {
        return false;
    }
    struct shard *const s = session->shard;
    const unsigned partition = partition_of(session);
    if (ledger_term(s, partition) != 0 && serial_is_local(session->serial)) {
        session->serial = ledger_number(s, partition); /* nobody has heard of the other one */
    }
    kept->session = session;
    kept_link_init(&kept->changed);
    session->kept = kept;
    atomic_fetch_add_explicit(&s->node->kept_sessions, 1, memory_order_relaxed);
    return true;
}

bool kept_attach(struct session *session)
{
    struct shard *const s = session->shard;
    assert(session->kept->gate == NULL);
    struct kept_gate *const gate = malloc(sizeof *gate);
    if (gate == NULL) {
        return false;
    }
    write_gathered(s);
    *gate = (struct kept_gate){.session = session,
                               .number = session->out.next_number,
                               .position = ledger_last(s),
                               .done_old = KEPT_DONE_AHEAD_MAX,
                               .done_position = ledger_last(s)};
    kept_link_init(&gate->link);
    session->kept->gate = gate;
    return true;
}

static void close_gate(struct kept *kept)
{
    if (kept->gate != NULL) {
        kept_link_remove(&kept->gate->link);
        free(kept->gate);
        kept->gate = NULL;
    }
}

static void write_will(struct shard *s, struct session *session, struct stored_will *stored)
{
    const struct will *const will = session->will;
    *stored = (struct stored_will){.message = bytes_of(NULL, 0)};
    if (will == NULL) {
        return;
    }
    struct field_writer *const w = &s->keeping.stored;
    field_writer_begin(w);
    kept_message_write(s, w, will->message);
    *stored = (struct stored_will){.message = field_written(w),
                                   .delay_s = will->delay_s,
                                   .has_expiry = will->has_expiry,
                                   .expiry_s = will->expiry_s};
}

void kept_opened(struct session *session)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    struct entry e = {
        .type = ENTRY_OPENED,
        .serial = session->serial,
        .opened = {.client_id = session_client_id(session), .expiry_s = session->expiry_s}};
    write_queued(s); /* its scratch is used now */
    write_will(s, session, &e.opened.will);
    write_entry(s, partition_of(session), &e, true);
    difference_session(s, session->kept);
}

void kept_closed(struct session *session)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL) {
        return;
    }
    close_gate(session->kept);
    if (s->store == NULL) {
        return;
    }
    write_queued(s);
    const struct entry e = {
        .type = ENTRY_CLOSED,
        .serial = session->serial,
        .closed = {.expiry_s = session->expiry_s,
                   .ends_ms = kept_wall_ms(s, session->ends_ms),
                   .sent_end = backlog_sent_end(session),
                   .will_due_ms =
                       session->will == NULL ? NEVER : kept_wall_ms(s, session->will->due_ms)}};
    write_entry(s, partition_of(session), &e, true);
    difference_session(s, session->kept);
}

/* What it had in its queue has gone. */
static void no_more(struct session *session)
{
    struct shard *const s = session->shard;
    struct kept *const kept = session->kept;
    capture_forget(s, kept);
    local_not_kept(session);
    close_gate(kept);
    kept_link_remove(&kept->changed);
    free(kept);
    session->kept = NULL;
    atomic_fetch_sub_explicit(&s->node->kept_sessions, 1, memory_order_relaxed);
}

void kept_end(struct session *session)
{
    struct shard *const s = session->shard;
    struct kept *const kept = session->kept;
    if (kept == NULL) {
        return;
    }
    if (s->store != NULL) { /* else all ends, or has not begun yet */
        write_queued(s);
        const struct entry e = {.type = ENTRY_ENDED, .serial = session->serial};
        write_entry(s, partition_of(session), &e, true);
        owed_forget(s, session);
    }
    difference_ended(s, kept);
    backlog_end(session);
    no_more(session);
}

void kept_vanish(struct session *session)
{
    struct shard *const s = session->shard;
    struct kept *const kept = session->kept;
    owed_forget(s, session);
    difference_ended(s, kept);
    backlog_vanish(session);
    no_more(session);
}

void kept_forget_gathered(struct shard *s, unsigned partition)
{
    s->keeping.queued_set &= ~(1ull << partition);
    s->keeping.done_set &= ~(1ull << partition);
}

/* ---- what changes in it */

void kept_subscribed(struct session *session, struct bytes filter,
                     const struct subscribe_options *options)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    const struct entry e = {
        .type = ENTRY_SUBSCRIBED,
        .serial = session->serial,
        .subscribed = {.filter = filter,
                       .options = {.identifier = options->identifier,
                                   .qos = options->qos,
                                   .no_local = options->no_local,
                                   .retain_as_published = options->retain_as_published}}};
    write_entry(s, partition_of(session), &e, true);
    session->kept->filters_changed = true;
    difference_session(s, session->kept);
}

void kept_unsubscribed(struct session *session, struct bytes filter)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    const struct entry e = {
        .type = ENTRY_UNSUBSCRIBED, .serial = session->serial, .subscribed = {.filter = filter}};
    write_entry(s, partition_of(session), &e, true);
    session->kept->filters_changed = true;
    difference_session(s, session->kept);
}

static void begin_message(struct shard *s, struct message *message)
{
    struct keeping *const k = &s->keeping;
    write_queued(s);
    k->message = message_take(message, 1);
    field_writer_begin(&k->stored);
    kept_message_write(s, &k->stored, message);
}

/* What stands before the recipients. more: this is not the last entry of the operation. */
static void write_queued_head(const struct keeping *k, struct field_writer *w, bool more)
{
    const struct message *const m = k->message;
    const struct entry e = {
        .type = k->stream != 0 ? ENTRY_DISPATCHED : ENTRY_QUEUED,
        .queued = {.message = field_written(&k->stored),
                   .origin = m->exchange != 0 ? m->publisher : 0,
                   .exchange = m->exchange,
                   .packet_id = m->packet_id,
                   .stream = k->stream,
                   .operation = k->operation | (more ? ENTRY_MORE_FOLLOWS : 0)}};
    field_writer_begin(w);
    entry_write(w, &e);
    w->failed = w->failed || k->stored.failed;
}

static void begin_queued(struct shard *s, unsigned partition)
{
    struct keeping *const k = &s->keeping;
    struct field_writer *const w = &k->queued[partition];
    write_queued_head(k, w, false);
    k->queued_head[partition] = w->len;
    k->queued_set |= 1ull << partition;
}

/* There are more recipients than one entry is to have. */
static void write_part_of_queued(struct shard *s, unsigned partition)
{
    struct keeping *const k = &s->keeping;
    const struct field_writer *const part = &k->queued[partition];
    const size_t head = k->queued_head[partition];
    write_queued_head(k, &k->entry, true);
    put_raw(&k->entry, bytes_of(part->at + head, part->len - head));
    k->entry.failed = k->entry.failed || part->failed;
    append(s, partition, &k->entry, !kept_hurries(s, k->message));
    k->queued_set &= ~(1ull << partition);
}

static void write_identifiers(struct field_writer *w, const struct delivery *d)
{
    const struct delivery_more *const more = delivery_more(d);
    field_writer_begin(w);
    if (more == NULL && d->identifier != 0) {
        put_number(w, d->identifier);
    }
    for (uint32_t i = 0; more != NULL && i < more->identifier_count; i++) {
        put_number(w, more->identifiers[i]);
    }
}

void kept_delivery_of(const struct session *session, const struct delivery *d,
                      struct stored_delivery *stored)
{
    struct shard *const s = session->shard;
    struct field_writer *const w = &s->keeping.entry;
    write_identifiers(w, d);
    if (w->failed) {
        store_out_of_memory();
    }
    *stored =
        (struct stored_delivery){.number = d->number,
                                 .qos = d->qos,
                                 .retain = d->retain,
                                 .group = d->of_group ? local_group_hash(session, d->group_id) : 0,
                                 .identifiers = field_written(w)};
}

void kept_queued(struct session *session, const struct delivery *d)
{
    struct shard *const s = session->shard;
    struct keeping *const k = &s->keeping;
    const unsigned partition = partition_of(session);
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    if (k->message != d->message) {
        begin_message(s, d->message);
    }
    if ((k->queued_set >> partition & 1) != 0 &&
        k->queued[partition].len >= k->stored.len + QUEUED_BYTES_MAX) {
        write_part_of_queued(s, partition);
    }
    if ((k->queued_set >> partition & 1) == 0) {
        begin_queued(s, partition);
    }
    struct stored_delivery stored;
    kept_delivery_of(session, d, &stored);
    entry_write_recipient(&k->queued[partition], session->serial, &stored);
    k->queued_count++;
    difference_session(s, session->kept);
}

void kept_operation(struct shard *s, uint64_t stream, uint64_t operation)
{
    struct keeping *const k = &s->keeping;
    write_queued(s);
    k->stream = stream;
    k->operation = operation;
}

uint64_t kept_number(struct session *session)
{
    struct shard *const s = session->shard;
    return serial_is_local(session->serial) ? shard_serial(s)
                                            : ledger_number(s, partition_of(session));
}

bool kept_delivery_make(struct message *message, const struct stored_delivery *stored,
                        struct delivery *d)
{
    struct field_reader identifiers = {.rest = stored->identifiers};
    uint32_t count = 0;
    *d = (struct delivery){.message = message,
                           .number = stored->number,
                           .qos = stored->qos,
                           .retain = stored->retain,
                           .state = message == NULL ? DELIVERY_RELEASED : DELIVERY_WAITING};
    for (; identifiers.rest.len > 0; count++) {
        d->identifier = (uint32_t)get_number(&identifiers);
    }
    if (count <= 1) {
        d->of_group = stored->group != 0;
        d->group_id = stored->group;
        return true;
    }
    d->more = calloc(1, sizeof *d->more + count * sizeof d->more->identifiers[0]);
    if (d->more == NULL) {
        message_put(message);
        return false;
    }
    d->identifier = 0;
    identifiers.rest = stored->identifiers;
    for (; d->more->identifier_count < count; d->more->identifier_count++) {
        d->more->identifiers[d->more->identifier_count] = (uint32_t)get_number(&identifiers);
    }
    return true;
}

static void write_done(struct session *session, uint64_t number)
{
    struct shard *const s = session->shard;
    struct keeping *const k = &s->keeping;
    const unsigned partition = partition_of(session);
    struct field_writer *const w = &k->done[partition];
    if ((k->done_set >> partition & 1) == 0) {
        const struct entry e = {.type = ENTRY_DONE};
        field_writer_begin(w);
        entry_write(w, &e);
        k->done_set |= 1ull << partition;
    }
    entry_write_done(w, session->serial, number);
    if (session->kept->gate != NULL) {
        session->kept->gate->done_new++;
    }
    if (w->len >= QUEUED_BYTES_MAX) {
        write_queued(s); /* what is done comes after it was queued */
        append(s, partition, w, false);
        k->done_set &= ~(1ull << partition);
    }
}

void kept_done(struct session *session, const struct delivery *d)
{
    if (session->kept != NULL && session->shard->store != NULL) {
        write_done(session, d->number);
        difference_delivery(session->shard, session->kept, d, true);
    }
}

void kept_done_on_disk(struct session *session, uint64_t number)
{
    if (session->shard->store != NULL) {
        write_done(session, number);
        difference_delivery_on_disk(session->shard, session->kept, number);
    }
}

void kept_released(struct session *session, const struct delivery *d)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    write_queued(s);
    const struct entry e = {
        .type = ENTRY_RELEASED, .serial = session->serial, .released = d->number};
    write_entry(s, partition_of(session), &e, true);
    difference_delivery(s, session->kept, d, false);
}

/* Of those there are few: the client has them under way. */
static struct begun_exchange *find_begun(const struct session *session, uint16_t packet_id)
{
    const struct fifo *const begun = session->pending == NULL ? NULL : &session->pending->begun;
    for (uint32_t i = 0; begun != NULL && i < begun->count; i++) {
        struct begun_exchange *const b = fifo_at(begun, i);
        if (b->packet_id == packet_id) {
            return b;
        }
    }
    return NULL;
}

bool kept_begun_before(struct session *session, uint16_t packet_id, uint64_t exchange)
{
    struct begun_exchange *const known = find_begun(session, packet_id);
    if (known != NULL) {
        known->exchange = exchange;
        return true;
    }
    struct pending *const pending = session_pending(session);
    const struct begun_exchange b = {.exchange = exchange, .packet_id = packet_id};
    if (pending == NULL) {
        return false;
    }
    pending->begun.item = sizeof b;
    return fifo_push(&pending->begun, &b);
}

bool kept_begun(struct session *session, uint16_t packet_id, uint64_t exchange)
{
    struct shard *const s = session->shard;
    assert(!serial_is_local(session->serial));
    if (!kept_begun_before(session, packet_id, exchange)) {
        return false;
    }
    const struct entry e = {.type = ENTRY_BEGUN,
                            .serial = session->serial,
                            .received = {.packet_id = packet_id, .exchange = exchange}};
    write_entry(s, partition_of(session), &e, true);
    return true;
}

uint64_t kept_exchange_begun(const struct session *session, uint16_t packet_id)
{
    const struct begun_exchange *const b = find_begun(session, packet_id);
    return b == NULL ? 0 : b->exchange;
}

static void end_begun(struct session *session, uint16_t packet_id)
{
    struct begun_exchange *const b = find_begun(session, packet_id);
    if (b != NULL) {
        struct fifo *const begun = &session->pending->begun;
        *b = *(const struct begun_exchange *)fifo_first(begun);
        fifo_pop(begun);
    }
}

void kept_received(struct session *session, uint16_t packet_id, uint64_t exchange)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    end_begun(session, packet_id);
    const struct entry e = {.type = ENTRY_RECEIVED,
                            .serial = session->serial,
                            .received = {.packet_id = packet_id, .exchange = exchange}};
    write_entry(s, partition_of(session), &e, true);
    session->kept->exchange = exchange;
    difference_session(s, session->kept);
}

void kept_freed(struct session *session, uint16_t packet_id)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return;
    }
    const struct entry e = {
        .type = ENTRY_FREED, .serial = session->serial, .received = {.packet_id = packet_id}};
    write_entry(s, partition_of(session), &e, true);
    difference_session(s, session->kept);
}

/* ---- its will */

void kept_will_due(struct session *session, const struct message *m)
{
    struct shard *const s = session->shard;
    struct field_writer *const w = &s->keeping.stored;
    write_queued(s); /* its scratch is used now */
    field_writer_begin(w);
    kept_message_write(s, w, m);
    if (w->failed) {
        store_out_of_memory();
    }
    const struct entry e = {.type = ENTRY_WILL_DUE,
                            .serial = session->serial,
                            .will = {.number = m->exchange, .message = field_written(w)}};
    write_entry(s, partition_of(session), &e, true);
    difference_session(s, session->kept);
}

/* It stands behind RETAINED or UNRETAINED: if it is missing, nothing newer can have been stored. */
void kept_will_retained(struct shard *s, const struct message *m)
{
    if (s->store == NULL || !message_is_will(m)) {
        return;
    }
    const struct entry e = {
        .type = ENTRY_WILL_RETAINED, .serial = m->publisher, .will = {.number = m->exchange}};
    write_entry(s, STORE_RETAINED, &e, true);
    difference_entry(s);
}

void kept_will_gone(struct shard *s, uint64_t serial, uint64_t client_hash, uint64_t number)
{
    const struct entry e = {.type = ENTRY_WILL_GONE, .serial = serial, .will = {.number = number}};
    write_entry(s, partition_of_hash(client_hash), &e, false);
    difference_entry(s);
}

/* ---- retained messages */

void kept_retained(struct shard *s, struct message *message)
{
    if (s->store == NULL) {
        return;
    }
    write_queued(s);
    struct field_writer *const w = &s->keeping.stored;
    field_writer_begin(w);
    kept_message_write(s, w, message);
    const struct entry e = {.type = ENTRY_RETAINED, .message = field_written(w)};
    if (w->failed) {
        store_out_of_memory();
    }
    write_entry(s, STORE_RETAINED, &e, !kept_hurries(s, message));
    difference_topic(s, message_topic(message), message->topic_hash);
}

void kept_unretained(struct shard *s, const struct message *message)
{
    if (s->store == NULL) {
        return;
    }
    const struct entry e = {.type = ENTRY_UNRETAINED, .topic = message_topic(message)};
    write_entry(s, STORE_RETAINED, &e, !kept_hurries(s, message));
    difference_topic(s, message_topic(message), message->topic_hash);
}

void kept_buried(struct shard *s, struct bytes topic, uint64_t topic_hash,
                 const struct retained_version *version, bool waited_for)
{
    if (s->store == NULL) {
        return;
    }
    const struct entry e = {.type = ENTRY_BURIED, .buried = {.topic = topic, .version = *version}};
    write_entry(s, STORE_RETAINED, &e, waited_for);
    difference_grave(s, topic, topic_hash);
}

/* ---- what may leave */

/* Is this one's number kept? Otherwise it would mean another message to the next process. */
static bool has_its_number(struct shard *s, struct kept_gate *gate, const struct delivery *d)
{
    if (d->qos != 2 || d->number < gate->sendable) {
        return true;
    }
    if (gate->position != NEVER && gate->position <= ledger_kept(s)) {
        gate->sendable = gate->number;
        if (d->number < gate->sendable) {
            return true;
        }
        /* All that is queued by now, when it is written at the end of the turn. */
        gate->number = gate->session->out.next_number;
        gate->position = NEVER;
    }
    return false;
}

static bool is_far_ahead(struct shard *s, struct kept_gate *gate)
{
    if (gate->done_old > 0 && gate->done_position <= ledger_kept(s)) {
        gate->done_old = 0;
    }
    if (gate->done_old + gate->done_new < KEPT_DONE_AHEAD_MAX) {
        return false;
    }
    if (gate->done_old == 0) {
        gate->done_old = gate->done_new;
        gate->done_new = 0;
        gate->done_position = NEVER; /* as above */
    }
    return true;
}

bool kept_may_send(struct session *session, const struct delivery *d)
{
    struct shard *const s = session->shard;
    if (session->kept == NULL || s->store == NULL) {
        return true;
    }
    struct kept_gate *const gate = session->kept->gate;
    assert(gate != NULL); /* its client is there */
    if (has_its_number(s, gate, d) && !is_far_ahead(s, gate)) {
        return true;
    }
    if (kept_link_is_alone(&gate->link)) {
        kept_link_append(&s->keeping.gated, &gate->link);
    }
    return false;
}

bool kept_has_news(const struct shard *s)
{
    const struct keeping *const k = &s->keeping;
    return s->store != NULL && (k->queued_set != 0 || k->done_set != 0 || s->promised_set != 0 ||
                                !kept_link_is_alone(&k->gated) || s->store->oldest_ms != NEVER);
}

void kept_settle(struct shard *s)
{
    struct keeping *const k = &s->keeping;
    if (kept_link_is_alone(&k->gated)) {
        return;
    }
    const struct kept_link *const last = k->gated.prev;
    for (bool more = true; more && !kept_link_is_alone(&k->gated);) {
        struct kept_gate *const gate = table_object(k->gated.next, struct kept_gate, link);
        more = &gate->link != last;
        kept_link_remove(&gate->link);
        session_pump(gate->session); /* which may put it there again */
    }
}
