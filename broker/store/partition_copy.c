/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/partition_copy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/apply.h"
#include "broker/store/key_map.h"
#include "broker/store/origins.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"
#include "broker/store/stored_fair.h"

/* In the order in which they are copied. */
#define LETTERS "owsfq"
#define END     0u

/* What a delivery takes in memory, at most: a packet (2.1.4), and what keeps track of it. */
#define DELIVERY_BYTES_MAX ((uint64_t)1 << 29)

const char *copy_err_text(enum copy_err err)
{
    static const char *const texts[COPY_ERRS] = {
        [COPY_OK] = "it is copied",
        [COPY_UNKNOWN] = "a copy that this version does not understand",
        [COPY_OTHER_PARTITION] = "a copy of another partition",
        [COPY_OUT_OF_ORDER] = "a part of the copy is missing, or comes twice",
        [COPY_UNFIT] = "a copy of a record that no node can have",
        [COPY_NOT_EMPTY] = "the partition is to be erased before it is copied",
        [COPY_RECORDS] = "the records cannot be read or changed",
    };
    return texts[err];
}

enum checkpoint_err partition_erase(const struct records *records, unsigned partition)
{
    enum checkpoint_err err = CHECKPOINT_OK;
    for (const char *letter = LETTERS "u"; *letter != '\0' && err == CHECKPOINT_OK; letter++) {
        const struct record_key prefix = serial_prefix(*letter, partition);
        err = records_drop_all(records, &prefix);
    }
    return err;
}

/* ---- from here */

struct copy_out {
    const struct records *records;
    unsigned partition;
    enum checkpoint_err err;
    uint64_t parts, items, bodies;
    unsigned letter;
    struct record_key at; /* of the last record; of 0 bytes: none yet of that letter */
    struct field_writer body, record;
    struct sent_body {
        uint64_t id, number;
    } sent[COPY_BODIES];
};

struct copy_out *copy_out_create(const struct records *records, unsigned partition)
{
    assert(partition < SERIAL_PARTITIONS);
    struct copy_out *const c = calloc(1, sizeof *c);
    if (c != NULL) {
        c->records = records;
        c->partition = partition;
    }
    return c;
}

void copy_out_destroy(struct copy_out *c)
{
    if (c != NULL) {
        field_writer_fini(&c->body);
        field_writer_fini(&c->record);
        free(c);
    }
}

enum checkpoint_err copy_out_err(const struct copy_out *c)
{
    return c->err;
}

static enum copy_err out_told(struct copy_out *c, enum checkpoint_err err)
{
    c->err = err;
    return err == CHECKPOINT_OK ? COPY_OK : COPY_RECORDS;
}

static enum copy_err out_corrupt(struct copy_out *c)
{
    return out_told(c, CHECKPOINT_CORRUPT);
}

static enum copy_err put_origin(struct copy_out *c, struct field_writer *w, struct bytes value)
{
    enum origin_kind kind;
    uint64_t origin;
    struct origin_record r;
    if (!origin_key_read(&c->at, &kind, &origin) || !origin_record_read(value, &r)) {
        return out_corrupt(c);
    }
    put_number(w, 'o');
    put_number(w, kind);
    put_number(w, origin);
    put_number(w, r.number);
    put_number(w, r.is_whole);
    put_number(w, r.index);
    return COPY_OK;
}

/* A session, a filter, or a will that is due: as it is. */
static enum copy_err put_as_it_is(struct copy_out *c, struct field_writer *w, struct bytes value)
{
    static const size_t lens[] = {['s'] = 9, ['f'] = 25, ['w'] = 17};
    const char letter = LETTERS[c->letter];
    const struct bytes key = record_key_bytes(&c->at);
    if (key.len != lens[(unsigned char)letter]) {
        return out_corrupt(c);
    }
    put_number(w, (unsigned char)letter);
    put_number(w, record_key_number(key, 1));
    if (letter == 'w') {
        put_number(w, record_key_number(key, 9));
    }
    put_run(w, value);
    return COPY_OK;
}

/* *number: of the body in the copy; c->body has it if it is new, *is_there is false if it is not
 * there. */
static enum copy_err find_body(struct copy_out *c, uint64_t id, uint64_t *number, bool *is_new,
                               bool *is_there)
{
    struct sent_body *const sent = &c->sent[(id * 0x9e3779b97f4a7c15u >> 32) % COPY_BODIES];
    *is_new = id != 0 && sent->id != id;
    *is_there = true;
    if (*is_new) {
        const struct record_key key = record_key_of('b', id);
        struct bytes body;
        const enum checkpoint_err err = records_get(c->records, &key, &body);
        if (err != CHECKPOINT_OK || body.at == NULL) {
            *is_there = false;
            return out_told(c, err);
        }
        field_writer_begin(&c->body);
        put_raw(&c->body, body);
        *sent = (struct sent_body){.id = id, .number = ++c->bodies};
    }
    *number = id == 0 ? 0 : sent->number;
    return out_told(c, c->body.failed ? CHECKPOINT_NO_MEMORY : CHECKPOINT_OK);
}

static void put_delivery(struct copy_out *c, struct field_writer *w, uint64_t serial,
                         uint64_t number, bool is_new, const struct delivery_record *r)
{
    put_number(w, 'q');
    put_number(w, serial);
    put_number(w, number);
    if (is_new) {
        put_run(w, field_written(&c->body));
    }
    put_number(w, r->bytes);
    stored_delivery_write(w, &r->delivery);
}

/* A body may have gone since the delivery was read, which then is gone, too, or released. */
static enum copy_err put_queued(struct copy_out *c, struct field_writer *w, struct bytes value)
{
    uint64_t missed = 0;
    for (;;) {
        struct delivery_record r;
        uint64_t number;
        bool is_new, is_there;
        field_writer_begin(&c->record); /* what was read is gone when the body is */
        put_raw(&c->record, value);
        if (c->record.failed) {
            return out_told(c, CHECKPOINT_NO_MEMORY);
        }
        if (c->at.len != 17 || !delivery_record_read(field_written(&c->record), &r) ||
            (missed != 0 && r.body == missed)) {
            return out_corrupt(c); /* or it is as it was, and has no body */
        }
        enum copy_err err = find_body(c, r.body, &number, &is_new, &is_there);
        if (err != COPY_OK) {
            return err;
        }
        if (is_there) {
            put_delivery(c, w, record_key_number(record_key_bytes(&c->at), 1), number, is_new, &r);
            return COPY_OK;
        }
        missed = r.body;
        err = out_told(c, records_get(c->records, &c->at, &value));
        if (err != COPY_OK || value.at == NULL) {
            c->items -= err == COPY_OK;
            return err;
        }
    }
}

static enum copy_err put_record(struct copy_out *c, struct field_writer *w, struct bytes value)
{
    c->items++;
    switch (LETTERS[c->letter]) {
    case 'o':
        return put_origin(c, w, value);
    case 'q':
        return put_queued(c, w, value);
    default:
        return put_as_it_is(c, w, value);
    }
}

enum copy_err copy_out_part(struct copy_out *c, size_t bytes_max, struct field_writer *w,
                            bool *is_last)
{
    enum copy_err err = COPY_OK;
    const uint64_t before = c->items;
    *is_last = false;
    field_writer_begin(w);
    put_number(w, COPY_VERSION);
    put_number(w, c->partition);
    put_number(w, c->parts++);
    put_number(w, c->items);
    while (err == COPY_OK && (w->len < bytes_max || c->items == before) &&
           LETTERS[c->letter] != '\0') {
        const struct record_key prefix = serial_prefix(LETTERS[c->letter], c->partition);
        struct bytes value;
        err = out_told(c, records_next(c->records, &prefix, &c->at, &value));
        if (err == COPY_OK && c->at.len > 0) {
            err = put_record(c, w, value);
        } else {
            c->letter++;
        }
    }
    if (err == COPY_OK && LETTERS[c->letter] == '\0') {
        put_number(w, END);
        *is_last = true;
    }
    return err == COPY_OK && w->failed ? out_told(c, CHECKPOINT_NO_MEMORY) : err;
}

/* ---- and there */

static enum copy_err told(struct copy_in *c, enum checkpoint_err err)
{
    c->err = err;
    return err == CHECKPOINT_OK ? COPY_OK : COPY_RECORDS;
}

enum copy_err copy_in_begin(struct copy_in *c, const struct records *records, unsigned partition)
{
    enum copy_err err = COPY_OK;
    assert(partition < SERIAL_PARTITIONS);
    *c = (struct copy_in){.records = records, .partition = partition};
    for (const char *letter = LETTERS "u"; *letter != '\0' && err == COPY_OK; letter++) {
        const struct record_key prefix = serial_prefix(*letter, partition);
        struct record_key at = {.len = 0};
        struct bytes value;
        err = told(c, records_next(records, &prefix, &at, &value));
        err = err == COPY_OK && at.len > 0 ? COPY_NOT_EMPTY : err;
    }
    return err;
}

void copy_in_end(struct copy_in *c)
{
    field_writer_fini(&c->value);
}

/* Each comes once, in order, and is of the partition. */
static enum copy_err expect(struct copy_in *c, unsigned letter, const struct record_key *key)
{
    const struct record_key prefix = serial_prefix(LETTERS[letter], c->partition);
    if (!key_begins_with(record_key_bytes(key), record_key_bytes(&prefix))) {
        return COPY_OTHER_PARTITION;
    }
    if (letter < c->letter) {
        return COPY_OUT_OF_ORDER;
    }
    if (letter == c->letter && c->last.len > 0 &&
        key_compare(record_key_bytes(&c->last), record_key_bytes(key)) >= 0) {
        return COPY_OUT_OF_ORDER;
    }
    c->letter = letter;
    c->last = *key;
    return COPY_OK;
}

static enum copy_err put(struct copy_in *c, const struct record_key *key, struct bytes value)
{
    return told(c, records_put(c->records, key, value));
}

static enum copy_err take_origin(struct copy_in *c, unsigned letter, struct field_reader *f)
{
    const enum origin_kind kind = (enum origin_kind)get_number_to(f, ORIGIN_KINDS - 1);
    const uint64_t origin = get_number(f);
    struct origin_record r;
    r.number = get_number(f);
    r.is_whole = get_number_to(f, 1) != 0;
    r.index = get_number_to(f, SERIAL_INDEX_MAX * 2 + 1);
    const struct record_key key = origin_key(c->partition, kind, origin);
    bool is_free;
    if (f->failed) {
        return COPY_UNKNOWN;
    }
    enum copy_err err = expect(c, letter, &key);
    if (err == COPY_OK && (r.number == 0 || r.index == 0 || c->origins == ORIGINS_MAX)) {
        err = COPY_UNFIT;
    }
    if (err == COPY_OK) {
        err = told(c, origins_is_free(c->records, c->partition, r.index, &is_free));
    }
    if (err == COPY_OK && !is_free) {
        err = COPY_UNFIT; /* an entry is of one operation */
    }
    if (err == COPY_OK) {
        c->origins++;
        err = told(c, origins_put(c->records, c->partition, kind, origin, &r));
    }
    return err == COPY_OK ? told(c, origins_set_count(c->records, c->partition, c->origins)) : err;
}

static enum copy_err take_will(struct copy_in *c, unsigned letter, struct field_reader *f)
{
    const uint64_t serial = get_number(f);
    const struct record_key key = record_key_due_will(serial, get_number(f));
    const struct bytes value = get_run(f);
    struct due_will will;
    if (f->failed || !due_will_read(value, &will)) {
        return COPY_UNKNOWN;
    }
    const enum copy_err err = expect(c, letter, &key);
    return err != COPY_OK                      ? err
           : stored_fair_message(will.message) ? put(c, &key, value)
                                               : COPY_UNFIT;
}

static enum copy_err take_session(struct copy_in *c, unsigned letter, struct field_reader *f)
{
    const struct record_key key = record_key_of('s', get_number(f));
    const struct bytes value = get_run(f);
    struct session_record r;
    if (f->failed || !session_record_read(value, &r)) {
        return COPY_UNKNOWN;
    }
    const enum copy_err err = expect(c, letter, &key);
    const bool is_fit = stored_fair_client_id(r.client_id) &&
                        (r.will.message.len == 0 || stored_fair_message(r.will.message));
    return err != COPY_OK ? err : is_fit ? put(c, &key, value) : COPY_UNFIT;
}

static enum copy_err take_filter(struct copy_in *c, unsigned letter, struct field_reader *f)
{
    const uint64_t serial = get_number(f);
    const struct bytes value = get_run(f);
    struct field_reader in = {.rest = value};
    const struct bytes filter = get_run(&in);
    struct stored_options options;
    stored_options_read(&in, &options);
    if (f->failed || !fields_are_over(&in)) {
        return COPY_UNKNOWN;
    }
    const struct record_key key = record_key_filter(serial, filter);
    const enum copy_err err = expect(c, letter, &key);
    return err != COPY_OK ? err : stored_fair_filter(filter) ? put(c, &key, value) : COPY_UNFIT;
}

/* The body has a number that no other has here. */
static enum copy_err add_body(struct copy_in *c, uint64_t number, struct bytes if_new)
{
    const struct record_key key = record_key_of('b', serial_body_of_copy(c->partition, number));
    struct bytes there = bytes_of(NULL, 0);
    if (if_new.at != NULL) {
        const enum copy_err err = told(c, records_get(c->records, &key, &there));
        if (err != COPY_OK || there.at != NULL) {
            return err != COPY_OK ? err : COPY_NOT_EMPTY;
        }
    }
    return told(c, records_add(c->records, &key, if_new));
}

static enum copy_err put_taken(struct copy_in *c, const struct record_key *key,
                               const struct delivery_record *r, uint64_t number, struct bytes body)
{
    if (number > 0) {
        const enum copy_err err = add_body(c, number, body);
        if (err != COPY_OK) {
            return err;
        }
    }
    field_writer_begin(&c->value);
    delivery_record_write(&c->value, r);
    return c->value.failed ? told(c, CHECKPOINT_NO_MEMORY) : put(c, key, field_written(&c->value));
}

static enum copy_err take_delivery(struct copy_in *c, unsigned letter, struct field_reader *f)
{
    const uint64_t serial = get_number(f);
    const uint64_t number = get_number_to(f, SERIAL_INDEX_MAX);
    const bool is_new = !f->failed && number == c->bodies + 1;
    const struct bytes body = is_new ? get_run(f) : bytes_of(NULL, 0);
    struct delivery_record r = {
        .body = number == 0 ? 0 : serial_body_of_copy(c->partition, number),
        .bytes = get_number(f),
    };
    stored_delivery_read(f, &r.delivery);
    if (f->failed) {
        return COPY_UNKNOWN;
    }
    const struct record_key key = record_key_delivery(serial, r.delivery.number);
    const enum copy_err err = expect(c, letter, &key);
    if (err != COPY_OK) {
        return err;
    }
    if (number > c->bodies + 1 || r.bytes > DELIVERY_BYTES_MAX ||
        (number == 0 && (r.delivery.qos != 2 || r.bytes != 0)) ||
        (is_new && !stored_fair_message(body))) {
        return COPY_UNFIT;
    }
    c->bodies += is_new;
    return put_taken(c, &key, &r, number, body);
}

static enum copy_err take_record(struct copy_in *c, uint64_t letter, struct field_reader *f)
{
    typedef enum copy_err take_fn(struct copy_in * c, unsigned letter, struct field_reader *f);
    static take_fn *const takes[] = {take_origin, take_will, take_session, take_filter,
                                     take_delivery};
    for (unsigned i = 0; LETTERS[i] != '\0'; i++) {
        if (letter == (unsigned char)LETTERS[i]) {
            c->items++;
            return takes[i](c, i, f);
        }
    }
    return COPY_UNKNOWN;
}

enum copy_err copy_in_part(struct copy_in *c, struct bytes part)
{
    struct field_reader f = {.rest = part};
    const uint64_t version = get_number(&f);
    const uint64_t partition = get_number(&f);
    const uint64_t parts = get_number(&f);
    const uint64_t items = get_number(&f);
    if (f.failed || version != COPY_VERSION) {
        return COPY_UNKNOWN;
    }
    if (partition != c->partition) {
        return COPY_OTHER_PARTITION;
    }
    if (c->is_over || parts != c->parts || items != c->items) {
        return COPY_OUT_OF_ORDER;
    }
    c->parts++;
    enum copy_err err = COPY_OK;
    while (err == COPY_OK && f.rest.len > 0 && !c->is_over) {
        const uint64_t letter = get_number(&f);
        if (letter == END && !f.failed) {
            c->is_over = true;
        } else {
            err = f.failed ? COPY_UNKNOWN : take_record(c, letter, &f);
        }
    }
    return err == COPY_OK && f.rest.len > 0 ? COPY_UNKNOWN : err;
}
