/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/partition_hash.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/store/apply.h"
#include "broker/store/origins.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"

#define BODIES 4096u /* whose hashes are remembered */

/* The records of one letter, in order; what it stands at is copied. */
struct cursor {
    struct record_key prefix, at; /* at.len 0: at the end */
    struct field_writer value;
};

struct hashing {
    const struct records *records;
    XXH3_state_t *state;
    struct cursor sessions, filters, deliveries;
    struct field_writer part; /* scratch: what is hashed next */
    struct {
        uint64_t id, hash;
    } bodies[BODIES];
    struct partition_hash *out;
};

static enum checkpoint_err move(struct hashing *h, struct cursor *c)
{
    struct bytes value;
    const enum checkpoint_err err = records_next(h->records, &c->prefix, &c->at, &value);
    field_writer_begin(&c->value);
    if (err == CHECKPOINT_OK && c->at.len > 0) {
        put_raw(&c->value, value);
    }
    return err == CHECKPOINT_OK && c->value.failed ? CHECKPOINT_NO_MEMORY : err;
}

static enum checkpoint_err add(struct hashing *h)
{
    if (h->part.failed) {
        return CHECKPOINT_NO_MEMORY;
    }
    XXH3_64bits_update(h->state, h->part.at, h->part.len);
    return CHECKPOINT_OK;
}

/* Of the key that it stands at: the session's. */
static bool is_of(const struct cursor *c, size_t key_len, uint64_t serial)
{
    return c->at.len == key_len && record_key_number(record_key_bytes(&c->at), 1) == serial;
}

/* Past those of sessions that are not there. */
static enum checkpoint_err skip_to(struct hashing *h, struct cursor *c, uint64_t serial)
{
    enum checkpoint_err err = CHECKPOINT_OK;
    while (err == CHECKPOINT_OK && c->at.len >= 9 &&
           record_key_number(record_key_bytes(&c->at), 1) < serial) {
        err = move(h, c);
    }
    return err;
}

static int compare_ids(const void *left, const void *right)
{
    return *(const uint16_t *)left - *(const uint16_t *)right;
}

static bool put_received(struct field_writer *w, struct bytes received)
{
    struct field_reader f = {.rest = received};
    size_t count = 0;
    uint16_t *const ids = calloc(received.len + 1, sizeof ids[0]);
    if (ids == NULL) {
        return false;
    }
    while (f.rest.len > 0) {
        ids[count++] = get_packet_id(&f);
    }
    qsort(ids, count, sizeof ids[0], compare_ids);
    for (size_t i = 0; i < count; i++) {
        put_number(w, ids[i]);
    }
    put_number(w, 0);
    free(ids);
    return true;
}

/* All but how far it was sent, which is not known yet. */
static enum checkpoint_err add_session(struct hashing *h, uint64_t serial,
                                       const struct session_record *r)
{
    struct field_writer *const w = &h->part;
    const bool waits = !r->connected && r->will.message.len > 0;
    field_writer_begin(w);
    put_number(w, serial);
    put_run(w, r->client_id);
    put_number(w, r->expiry_s);
    put_number(w, r->connected);
    put_number(w, r->connected ? 0 : r->ends_ms);
    put_number(w, r->next_number);
    put_number(w, r->exchange);
    stored_will_write(w, &r->will);
    put_number(w, waits ? r->will_due_ms : 0);
    put_run(w, r->begun);
    return put_received(w, r->received) ? add(h) : CHECKPOINT_NO_MEMORY;
}

static enum checkpoint_err add_filters(struct hashing *h, uint64_t serial)
{
    struct cursor *const c = &h->filters;
    enum checkpoint_err err = skip_to(h, c, serial);
    for (; err == CHECKPOINT_OK && is_of(c, 25, serial); h->out->filters++) {
        field_writer_begin(&h->part);
        put_raw(&h->part, field_written(&c->value));
        err = add(h);
        err = err == CHECKPOINT_OK ? move(h, c) : err;
    }
    return err;
}

static enum checkpoint_err hash_body(struct hashing *h, uint64_t id, uint64_t *hash)
{
    const size_t slot = (size_t)(id * 0x9e3779b97f4a7c15u >> 32) % BODIES;
    if (h->bodies[slot].id != id) {
        const struct record_key key = record_key_of('b', id);
        struct bytes body;
        const enum checkpoint_err err = records_get(h->records, &key, &body);
        if (err != CHECKPOINT_OK || body.at == NULL) {
            return err != CHECKPOINT_OK ? err : CHECKPOINT_CORRUPT;
        }
        h->bodies[slot].id = id;
        h->bodies[slot].hash = XXH3_64bits(body.at, body.len);
    }
    *hash = h->bodies[slot].hash;
    return CHECKPOINT_OK;
}

static enum checkpoint_err add_delivery(struct hashing *h, const struct delivery_record *r)
{
    uint64_t hash = 0;
    struct stored_delivery d = {.number = r->delivery.number, .qos = 2}; /* released */
    if (r->body != 0) {
        const enum checkpoint_err err = hash_body(h, r->body, &hash);
        if (err != CHECKPOINT_OK) {
            return err;
        }
        d = r->delivery;
        d.group = 0;
    }
    field_writer_begin(&h->part);
    stored_delivery_write(&h->part, &d);
    put_number(&h->part, r->body != 0);
    put_number(&h->part, hash);
    return add(h);
}

/* *sent_end: of the first that was not sent; without one as it is. */
static enum checkpoint_err add_deliveries(struct hashing *h, uint64_t serial, uint64_t *sent_end,
                                          uint64_t next_number)
{
    struct cursor *const c = &h->deliveries;
    uint64_t first_unsent = next_number;
    enum checkpoint_err err = skip_to(h, c, serial);
    for (; err == CHECKPOINT_OK && is_of(c, 17, serial); h->out->deliveries++) {
        struct delivery_record r;
        if (!delivery_record_read(field_written(&c->value), &r)) {
            return CHECKPOINT_CORRUPT;
        }
        if (r.delivery.number >= *sent_end && r.delivery.number < first_unsent) {
            first_unsent = r.delivery.number;
        }
        err = add_delivery(h, &r);
        err = err == CHECKPOINT_OK ? move(h, c) : err;
    }
    *sent_end = first_unsent;
    return err;
}

static enum checkpoint_err add_all_of(struct hashing *h, uint64_t serial)
{
    struct session_record r;
    if (!session_record_read(field_written(&h->sessions.value), &r)) {
        return CHECKPOINT_CORRUPT;
    }
    uint64_t sent_end = r.sent_end;
    enum checkpoint_err err = add_session(h, serial, &r);
    if (err == CHECKPOINT_OK) {
        err = add_filters(h, serial);
    }
    if (err == CHECKPOINT_OK) {
        err = add_deliveries(h, serial, &sent_end, r.next_number);
    }
    if (err == CHECKPOINT_OK) {
        field_writer_begin(&h->part);
        put_number(&h->part, r.connected ? 0 : sent_end);
        err = add(h);
    }
    h->out->sessions++;
    return err;
}

static enum checkpoint_err hash_sessions(struct hashing *h)
{
    enum checkpoint_err err = move(h, &h->filters);
    err = err == CHECKPOINT_OK ? move(h, &h->deliveries) : err;
    err = err == CHECKPOINT_OK ? move(h, &h->sessions) : err;
    while (err == CHECKPOINT_OK && h->sessions.at.len == 9) {
        err = add_all_of(h, record_key_number(record_key_bytes(&h->sessions.at), 1));
        err = err == CHECKPOINT_OK ? move(h, &h->sessions) : err;
    }
    return err;
}

/* Of each the key and the value, which are the same on all nodes. */
static enum checkpoint_err hash_beside(struct hashing *h, char letter, unsigned partition,
                                       uint64_t *count)
{
    struct cursor *const c = &h->sessions;
    c->prefix = serial_prefix(letter, partition);
    c->at.len = 0;
    enum checkpoint_err err = move(h, c);
    for (; err == CHECKPOINT_OK && c->at.len > 0; ++*count) {
        field_writer_begin(&h->part);
        put_raw(&h->part, record_key_bytes(&c->at));
        put_run(&h->part, field_written(&c->value));
        err = add(h);
        err = err == CHECKPOINT_OK ? move(h, c) : err;
    }
    return err;
}

enum checkpoint_err partition_hash(const struct records *records, unsigned partition,
                                   struct partition_hash *out)
{
    enum checkpoint_err err = CHECKPOINT_NO_MEMORY;
    *out = (struct partition_hash){.sessions = 0};
    struct hashing *const h = calloc(1, sizeof *h);
    XXH3_state_t *const state = XXH3_createState();
    if (h == NULL || state == NULL) {
        goto out;
    }
    *h = (struct hashing){.records = records,
                          .state = state,
                          .out = out,
                          .sessions.prefix = serial_prefix('s', partition),
                          .filters.prefix = serial_prefix('f', partition),
                          .deliveries.prefix = serial_prefix('q', partition)};
    XXH3_64bits_reset(state);
    err = hash_sessions(h);
    out->sessions_hash = XXH3_64bits_digest(state);
    XXH3_64bits_reset(state);
    err = err == CHECKPOINT_OK ? hash_beside(h, 'o', partition, &out->origins) : err;
    err = err == CHECKPOINT_OK ? hash_beside(h, 'w', partition, &out->wills) : err;
    out->beside_hash = XXH3_64bits_digest(state);
    field_writer_fini(&h->sessions.value);
    field_writer_fini(&h->filters.value);
    field_writer_fini(&h->deliveries.value);
    field_writer_fini(&h->part);
out:
    XXH3_freeState(state);
    free(h);
    return err;
}
