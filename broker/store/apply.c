/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/place.h"
#include "broker/store/apply.h"

#include <assert.h>

#include "broker/store/origins.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"
#include "broker/store/stored_fair.h"
#include "broker/store/stored_message.h"

#define NEVER UINT64_MAX

const char *apply_err_text(enum apply_err err)
{
    static const char *const texts[APPLY_ERRS] = {
        [APPLY_OK] = "it is applied",
        [APPLY_UNKNOWN] = "an entry that this version does not understand",
        [APPLY_NOT_OF_SESSIONS] = "an entry of a retained message among those of sessions",
        [APPLY_OTHER_PARTITION] = "an entry about a session of another partition",
        [APPLY_UNFIT] = "an entry with a name, a filter or a message that is none",
        [APPLY_NO_INDEX] = "an entry without an index",
        [APPLY_RECORDS] = "the records cannot be read or changed",
    };
    return texts[err];
}

void applier_init(struct applier *a, const struct records *records, unsigned partition)
{
    assert(partition < SERIAL_PARTITIONS);
    *a = (struct applier){.records = records, .partition = partition, .origins_max = ORIGINS_MAX};
}

void applier_fini(struct applier *a)
{
    field_writer_fini(&a->value);
    field_writer_fini(&a->part);
    field_writer_fini(&a->begun);
}

/* ---- records */

static enum apply_err told(struct applier *a, enum checkpoint_err err)
{
    a->err = err;
    return err == CHECKPOINT_OK ? APPLY_OK : APPLY_RECORDS;
}

static enum apply_err put(struct applier *a, const struct record_key *key)
{
    if (a->value.failed || a->part.failed) {
        return told(a, CHECKPOINT_NO_MEMORY);
    }
    return told(a, records_put(a->records, key, field_written(&a->value)));
}

static enum apply_err drop(struct applier *a, const struct record_key *key)
{
    return told(a, records_drop(a->records, key));
}

static enum apply_err drop_all(struct applier *a, char letter, uint64_t serial)
{
    const struct record_key prefix = record_key_of(letter, serial);
    return told(a, records_drop_all(a->records, &prefix));
}

/* *record points into what records.h has, until its next call. */
static enum apply_err find_session(struct applier *a, uint64_t serial,
                                   struct session_record *record, bool *is_there)
{
    const struct record_key key = record_key_of('s', serial);
    struct bytes value;
    const enum apply_err err = told(a, records_get(a->records, &key, &value));
    *is_there = err == APPLY_OK && value.at != NULL;
    if (*is_there && !session_record_read(value, record)) {
        return told(a, CHECKPOINT_CORRUPT);
    }
    return err;
}

static enum apply_err put_session(struct applier *a, uint64_t serial,
                                  const struct session_record *record)
{
    const struct record_key key = record_key_of('s', serial);
    field_writer_begin(&a->value);
    session_record_write(&a->value, record);
    return put(a, &key);
}

/* ---- sessions */

static enum apply_err opened(struct applier *a, const struct entry *e)
{
    struct session_record r;
    bool is_there;
    const enum apply_err err = find_session(a, e->serial, &r, &is_there);
    if (err != APPLY_OK) {
        return err;
    }
    if (!is_there) {
        r = (struct session_record){.client_id = e->opened.client_id};
    }
    r.expiry_s = e->opened.expiry_s;
    r.connected = true;
    r.ends_ms = r.will_due_ms = NEVER;
    r.will = e->opened.will;
    return put_session(a, e->serial, &r);
}

/* The packet identifiers in ascending order, with that one or without it. */
static void change_received(struct applier *a, struct bytes received, uint16_t packet_id,
                            bool is_there)
{
    uint64_t set[(UINT16_MAX + 1) / 64] = {0};
    struct field_reader f = {.rest = received};
    while (f.rest.len > 0) { /* session_record_read() has looked at them all */
        const uint16_t one = get_packet_id(&f);
        set[one / 64] |= 1ull << one % 64;
    }
    set[packet_id / 64] &= ~(1ull << packet_id % 64);
    set[packet_id / 64] |= (uint64_t)is_there << packet_id % 64;
    field_writer_begin(&a->part);
    for (unsigned i = 0; i < sizeof set / sizeof set[0]; i++) {
        for (uint64_t rest = set[i]; rest != 0; rest &= rest - 1) {
            put_number(&a->part, (uint64_t)i * 64 + (unsigned)__builtin_ctzll(rest));
        }
    }
}

/* The exchanges that the client began, without that of the packet identifier, or with another one.
 * There are few. */
static void change_begun(struct field_writer *w, struct bytes begun, uint16_t packet_id,
                         uint64_t exchange)
{
    uint16_t one;
    uint64_t number;
    field_writer_begin(w);
    while (session_record_next_begun(&begun, &one, &number)) {
        if (one != packet_id) {
            put_number(w, one);
            put_number(w, number);
        }
    }
    if (exchange != 0) {
        put_number(w, packet_id);
        put_number(w, exchange);
    }
}

static void closed(struct session_record *r, const struct entry *e)
{
    r->connected = false;
    r->expiry_s = e->closed.expiry_s;
    r->ends_ms = e->closed.ends_ms;
    r->sent_end = e->closed.sent_end;
    r->will_due_ms = e->closed.will_due_ms;
    if (r->will_due_ms == NEVER) {
        r->will = (struct stored_will){.delay_s = 0};
    }
}

/* What is in the session's own record. */
static enum apply_err in_session(struct applier *a, const struct entry *e)
{
    struct session_record r;
    bool is_there;
    const enum apply_err err = find_session(a, e->serial, &r, &is_there);
    if (err != APPLY_OK || !is_there) {
        return err;
    }
    switch (e->type) {
    case ENTRY_CLOSED:
        closed(&r, e);
        break;
    case ENTRY_RECEIVED:
    case ENTRY_FREED:
        change_received(a, r.received, e->received.packet_id, e->type == ENTRY_RECEIVED);
        r.received = field_written(&a->part);
        change_begun(&a->begun, r.begun, e->received.packet_id, 0);
        r.begun = field_written(&a->begun);
        if (e->type == ENTRY_RECEIVED && e->received.exchange > r.exchange) {
            r.exchange = e->received.exchange;
        }
        break;
    case ENTRY_BEGUN:
        change_begun(&a->begun, r.begun, e->received.packet_id, e->received.exchange);
        r.begun = field_written(&a->begun);
        break;
    default: /* of its will */
        r.will = (struct stored_will){.delay_s = 0};
        r.will_due_ms = NEVER;
        break;
    }
    return put_session(a, e->serial, &r);
}

/* Also what is there of a session that ended while it was captured or copied. */
static enum apply_err ended(struct applier *a, uint64_t serial)
{
    const struct record_key key = record_key_of('s', serial);
    enum apply_err err = drop(a, &key);
    if (err == APPLY_OK) {
        err = drop_all(a, 'f', serial);
    }
    return err == APPLY_OK ? drop_all(a, 'q', serial) : err;
}

static enum apply_err subscribed(struct applier *a, const struct entry *e)
{
    const struct record_key key = record_key_filter(e->serial, e->subscribed.filter);
    struct session_record r;
    bool is_there;
    const enum apply_err err = find_session(a, e->serial, &r, &is_there);
    if (err != APPLY_OK || !is_there) {
        return err;
    }
    field_writer_begin(&a->value);
    put_run(&a->value, e->subscribed.filter);
    stored_options_write(&a->value, &e->subscribed.options);
    return put(a, &key);
}

/* ---- deliveries */

static enum apply_err put_delivery(struct applier *a, uint64_t serial, uint64_t body,
                                   const struct entry *e, const struct stored_delivery *d)
{
    const struct record_key key = record_key_delivery(serial, d->number);
    const struct record_key body_key = record_key_of('b', body);
    const struct delivery_record record = {
        .body = body,
        .bytes = delivery_record_bytes(e->queued.message, d->identifiers),
        .delivery = *d,
    };
    field_writer_begin(&a->value);
    delivery_record_write(&a->value, &record);
    const enum apply_err err = put(a, &key);
    return err == APPLY_OK ? told(a, records_add(a->records, &body_key, e->queued.message)) : err;
}

/* A repetition takes up the number all the same, as it has it at the node that said so: if it is
 * applied once more, it is known by that. */
static enum apply_err queue_in(struct applier *a, uint64_t index, const struct entry *e,
                               uint64_t serial, const struct stored_delivery *d,
                               struct applied *applied)
{
    struct session_record r;
    bool is_there;
    enum apply_err err = find_session(a, serial, &r, &is_there);
    if (err != APPLY_OK || !is_there || d->number < r.next_number) {
        return err; /* it has ended; or the records have it, and perhaps not any more */
    }
    r.next_number = d->number + 1;
    err = put_session(a, serial, &r);
    if (err == APPLY_OK && !applied->repetition) {
        err = put_delivery(a, serial, serial_body_of_entry(a->partition, index), e, d);
        applied->deliveries++;
    }
    return err;
}

static enum apply_err queued(struct applier *a, uint64_t index, const struct entry *e,
                             struct applied *applied)
{
    struct bytes rest = e->queued.recipients;
    enum apply_err err = APPLY_OK;
    uint64_t serial;
    struct stored_delivery d;
    while (err == APPLY_OK && entry_next_recipient(&rest, &serial, &d)) {
        err = queue_in(a, index, e, serial, &d, applied);
    }
    return err;
}

static enum apply_err done(struct applier *a, const struct entry *e)
{
    struct bytes rest = e->done;
    enum apply_err err = APPLY_OK;
    uint64_t serial, number;
    while (err == APPLY_OK && entry_next_done(&rest, &serial, &number)) {
        const struct record_key key = record_key_delivery(serial, number);
        err = drop(a, &key);
    }
    return err;
}

static enum apply_err released(struct applier *a, const struct entry *e)
{
    const struct record_key key = record_key_delivery(e->serial, e->released);
    struct delivery_record r;
    struct bytes value;
    const enum apply_err err = told(a, records_get(a->records, &key, &value));
    if (err != APPLY_OK || value.at == NULL) {
        return err;
    }
    if (!delivery_record_read(value, &r)) {
        return told(a, CHECKPOINT_CORRUPT);
    }
    if (r.delivery.qos != 2) {
        return APPLY_OK;
    }
    r = (struct delivery_record){.delivery = {.number = e->released, .qos = 2}};
    field_writer_begin(&a->value);
    delivery_record_write(&a->value, &r);
    return put(a, &key);
}

/* ---- what a capture does not write */

/* An entry may be of two operations: of a source that it came from, and of the exchange or the will
 * that it is. Where it is a repetition of one of them, it is one. Each has a place of its own among
 * the uses. */
static enum apply_err note(struct applier *a, uint64_t index, const struct operation *operation,
                           struct applied *applied)
{
    bool seen = false;
    const uint64_t use = index * 2 + (operation->kind != ORIGIN_STREAM);
    const enum apply_err err =
        told(a, origins_note(a->records, a->partition, use, operation, a->origins_max, &seen));
    applied->repetition = applied->repetition || seen;
    return err;
}

static enum apply_err note_stream(struct applier *a, uint64_t index, const struct entry *e,
                                  struct applied *applied)
{
    const struct operation operation = {
        .origin = e->queued.stream,
        .number = e->queued.operation & ~ENTRY_MORE_FOLLOWS,
        .kind = ORIGIN_STREAM,
        .is_whole = (e->queued.operation & ENTRY_MORE_FOLLOWS) == 0,
    };
    return note(a, index, &operation, applied);
}

static enum apply_err note_operation(struct applier *a, uint64_t index, const struct entry *e,
                                     struct applied *applied)
{
    const bool of_session = !serial_is_local(e->queued.origin);
    const struct operation operation = {
        .origin = e->queued.origin,
        .number = e->queued.exchange & ~ENTRY_MORE_FOLLOWS,
        .kind = !of_session                ? ORIGIN_STREAM
                : e->queued.packet_id != 0 ? ORIGIN_EXCHANGES
                                           : ORIGIN_WILLS,
        .is_whole = ((e->queued.exchange | e->queued.operation) & ENTRY_MORE_FOLLOWS) == 0,
    };
    const enum apply_err err =
        e->type == ENTRY_DISPATCHED ? note_stream(a, index, e, applied) : APPLY_OK;
    return err != APPLY_OK || operation.origin == 0 ? err : note(a, index, &operation, applied);
}

bool due_will_read(struct bytes in, struct due_will *will)
{
    struct field_reader f = {.rest = in};
    struct stored_message m;
    will->is_retained = get_number_to(&f, 1) != 0;
    will->message = get_run(&f);
    return fields_are_over(&f) && stored_message_read(will->message, &m);
}

static enum apply_err put_due_will(struct applier *a, const struct record_key *key,
                                   const struct due_will *will)
{
    field_writer_begin(&a->value);
    put_number(&a->value, will->is_retained);
    put_run(&a->value, will->message);
    return put(a, key);
}

static enum apply_err due_will(struct applier *a, const struct entry *e)
{
    const struct record_key key = record_key_due_will(e->serial, e->will.number);
    struct due_will will = {.message = e->will.message};
    struct bytes value = bytes_of(NULL, 0);
    if (e->type == ENTRY_WILL_GONE) {
        return drop(a, &key);
    }
    if (e->type == ENTRY_WILL_RETAINED) {
        const enum apply_err err = told(a, records_get(a->records, &key, &value));
        if (err != APPLY_OK || value.at == NULL) {
            return err;
        }
        if (!due_will_read(value, &will)) {
            return told(a, CHECKPOINT_CORRUPT);
        }
        will.is_retained = true;
    }
    return put_due_will(a, &key, &will);
}

static enum apply_err beside(struct applier *a, uint64_t index, const struct entry *e,
                             struct applied *applied)
{
    switch (e->type) {
    case ENTRY_QUEUED:
    case ENTRY_DISPATCHED:
        return note_operation(a, index, e, applied);
    case ENTRY_WILL_DUE:
    case ENTRY_WILL_RETAINED:
    case ENTRY_WILL_GONE:
        return due_will(a, e);
    default:
        return APPLY_OK;
    }
}

/* ---- entries */

static bool is_ours(const struct applier *a, uint64_t serial)
{
    return serial_partition(serial) == a->partition;
}

static bool are_ours(const struct applier *a, const struct entry *e)
{
    struct bytes rest = entry_is_queued(e) ? e->queued.recipients : e->done;
    struct stored_delivery d;
    uint64_t serial, number;
    bool all = true;
    if (entry_is_queued(e)) {
        while (all && entry_next_recipient(&rest, &serial, &d)) {
            all = is_ours(a, serial);
        }
    } else {
        while (all && entry_next_done(&rest, &serial, &number)) {
            all = is_ours(a, serial);
        }
    }
    return all;
}

static bool is_fit(const struct entry *e)
{
    switch (e->type) {
    case ENTRY_OPENED:
        return stored_fair_client_id(e->opened.client_id) &&
               (e->opened.will.message.len == 0 || stored_fair_message(e->opened.will.message));
    case ENTRY_SUBSCRIBED:
        return stored_fair_filter(e->subscribed.filter);
    case ENTRY_DISPATCHED:
        if (!serial_is_local(e->queued.stream) || e->queued.stream == 0 ||
            (e->queued.operation & ~ENTRY_MORE_FOLLOWS) == 0) {
            return false;
        } /* and as */
        __attribute__((fallthrough));
    case ENTRY_QUEUED:
        return stored_fair_message(e->queued.message) &&
               (e->queued.origin == 0 || (e->queued.exchange & ~ENTRY_MORE_FOLLOWS) != 0);
    case ENTRY_WILL_DUE:
        return stored_fair_message(e->will.message);
    default:
        return true;
    }
}

static enum apply_err judge(const struct applier *a, uint64_t index, struct bytes in,
                            struct entry *e)
{
    if (index == 0 || index > SERIAL_INDEX_MAX) {
        return APPLY_NO_INDEX;
    }
    if (!entry_read(in, e)) {
        return APPLY_UNKNOWN;
    }
    switch (e->type) {
    case ENTRY_RETAINED:
    case ENTRY_UNRETAINED:
    case ENTRY_BURIED:
        return APPLY_NOT_OF_SESSIONS;
    case ENTRY_QUEUED:
    case ENTRY_DISPATCHED:
    case ENTRY_DONE:
        if (!are_ours(a, e)) {
            return APPLY_OTHER_PARTITION;
        }
        break;
    case ENTRY_SEALED:
        break;
    default:
        if (!is_ours(a, e->serial)) {
            return APPLY_OTHER_PARTITION;
        }
    }
    return is_fit(e) ? APPLY_OK : APPLY_UNFIT;
}

static enum apply_err apply(struct applier *a, uint64_t index, const struct entry *e,
                            struct applied *applied)
{
    switch (e->type) {
    case ENTRY_OPENED:
        return opened(a, e);
    case ENTRY_ENDED:
        return ended(a, e->serial);
    case ENTRY_SUBSCRIBED:
        return subscribed(a, e);
    case ENTRY_UNSUBSCRIBED: {
        const struct record_key key = record_key_filter(e->serial, e->subscribed.filter);
        return drop(a, &key);
    }
    case ENTRY_QUEUED:
    case ENTRY_DISPATCHED:
        return queued(a, index, e, applied);
    case ENTRY_DONE:
        return done(a, e);
    case ENTRY_SEALED:
        applied->sealed = partition_end(e->term, index);
        return APPLY_OK;
    case ENTRY_RELEASED:
        return released(a, e);
    case ENTRY_CLOSED:
    case ENTRY_BEGUN:
    case ENTRY_RECEIVED:
    case ENTRY_FREED:
    case ENTRY_WILL_OVER:
    case ENTRY_WILL_DUE:
        return in_session(a, e);
    default: /* of a will on its way: beside() */
        return APPLY_OK;
    }
}

enum apply_err apply_entry(struct applier *a, uint64_t index, struct bytes entry,
                           struct applied *applied)
{
    struct entry e;
    *applied = (struct applied){.repetition = false};
    enum apply_err err = judge(a, index, entry, &e);
    if (err == APPLY_OK) {
        err = beside(a, index, &e, applied);
    }
    return err == APPLY_OK ? apply(a, index, &e, applied) : err;
}

enum apply_err apply_beside(struct applier *a, uint64_t index, struct bytes entry,
                            struct applied *applied)
{
    struct entry e;
    *applied = (struct applied){.repetition = false};
    const enum apply_err err = judge(a, index, entry, &e);
    return err == APPLY_OK ? beside(a, index, &e, applied) : err;
}
