/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/origins.h"

#include "broker/store/fields.h"
#include "broker/store/serial.h"

#define KEY_BYTES 11u

struct record_key origin_key(unsigned partition, enum origin_kind kind, uint64_t origin)
{
    struct record_key key = serial_prefix('o', partition);
    key.at[key.len++] = (uint8_t)kind;
    record_key_add_number(&key, origin);
    return key;
}

bool origin_key_read(const struct record_key *key, enum origin_kind *kind, uint64_t *origin)
{
    if (key->len != KEY_BYTES || key->at[2] >= ORIGIN_KINDS) {
        return false;
    }
    *kind = (enum origin_kind)key->at[2];
    *origin = record_key_number(record_key_bytes(key), 3);
    return true;
}

static struct record_key use_key(unsigned partition, uint64_t index)
{
    struct record_key key = serial_prefix('u', partition);
    record_key_add_number(&key, index);
    return key;
}

bool origin_record_read(struct bytes in, struct origin_record *record)
{
    struct field_reader f = {.rest = in};
    record->number = get_number(&f);
    record->is_whole = get_number_to(&f, 1) != 0;
    record->index = get_number_to(&f, SERIAL_INDEX_MAX);
    return fields_are_over(&f) && record->number > 0 && record->index > 0;
}

/* Numbers, one after the other, without an allocation: they are few. */
struct small {
    uint8_t at[3 * FIELD_NUMBER_MAX];
    struct field_writer w;
};

static struct field_writer *begin(struct small *s)
{
    s->w = (struct field_writer){.at = s->at, .capacity = sizeof s->at};
    return &s->w;
}

enum checkpoint_err origins_put(const struct records *r, unsigned partition, enum origin_kind kind,
                                uint64_t origin, const struct origin_record *record)
{
    struct small s;
    struct field_writer *w = begin(&s);
    const struct record_key key = origin_key(partition, kind, origin);
    put_number(w, record->number);
    put_number(w, record->is_whole);
    put_number(w, record->index);
    const enum checkpoint_err err = records_put(r, &key, field_written(w));
    if (err != CHECKPOINT_OK) {
        return err;
    }
    const struct record_key use = use_key(partition, record->index);
    w = begin(&s);
    put_number(w, kind);
    put_number(w, origin);
    return records_put(r, &use, field_written(w));
}

enum checkpoint_err origins_find(const struct records *r, unsigned partition, enum origin_kind kind,
                                 uint64_t origin, struct origin_record *record, bool *is_there)
{
    const struct record_key key = origin_key(partition, kind, origin);
    struct bytes value;
    const enum checkpoint_err err = records_get(r, &key, &value);
    *is_there = err == CHECKPOINT_OK && value.at != NULL;
    return *is_there && !origin_record_read(value, record) ? CHECKPOINT_CORRUPT : err;
}

enum checkpoint_err origins_count(const struct records *r, unsigned partition, uint64_t *count)
{
    const struct record_key key = use_key(partition, 0);
    struct bytes value;
    const enum checkpoint_err err = records_get(r, &key, &value);
    *count = 0;
    if (err == CHECKPOINT_OK && value.at != NULL) {
        struct field_reader f = {.rest = value};
        *count = get_number(&f);
        return fields_are_over(&f) ? CHECKPOINT_OK : CHECKPOINT_CORRUPT;
    }
    return err;
}

enum checkpoint_err origins_is_free(const struct records *r, unsigned partition, uint64_t index,
                                    bool *is_free)
{
    const struct record_key key = use_key(partition, index);
    struct bytes value;
    const enum checkpoint_err err = records_get(r, &key, &value);
    *is_free = err == CHECKPOINT_OK && value.at == NULL;
    return err;
}

enum checkpoint_err origins_set_count(const struct records *r, unsigned partition, uint64_t count)
{
    const struct record_key key = use_key(partition, 0);
    struct small s;
    put_number(begin(&s), count);
    return records_put(r, &key, field_written(&s.w));
}

/* The one whose last entry is the oldest. */
static enum checkpoint_err forget_oldest(const struct records *r, unsigned partition)
{
    const struct record_key prefix = serial_prefix('u', partition);
    struct record_key use = use_key(partition, 0); /* behind how many there are */
    struct bytes value;
    enum checkpoint_err err = records_next(r, &prefix, &use, &value);
    if (err != CHECKPOINT_OK) {
        return err;
    }
    struct field_reader f = {.rest = value};
    const enum origin_kind kind = (enum origin_kind)get_number_to(&f, ORIGIN_KINDS - 1);
    const struct record_key key = origin_key(partition, kind, get_number(&f));
    if (use.len == 0 || !fields_are_over(&f)) {
        return CHECKPOINT_CORRUPT; /* there are more than `max`, and none is found */
    }
    err = records_drop(r, &key);
    return err != CHECKPOINT_OK ? err : records_drop(r, &use);
}

static enum checkpoint_err add_one(const struct records *r, unsigned partition, uint64_t max)
{
    uint64_t count;
    enum checkpoint_err err = origins_count(r, partition, &count);
    if (err == CHECKPOINT_OK && count >= max) {
        return forget_oldest(r, partition);
    }
    return err != CHECKPOINT_OK ? err : origins_set_count(r, partition, count + 1);
}

enum checkpoint_err origins_note(const struct records *r, unsigned partition, uint64_t index,
                                 const struct operation *operation, uint64_t max, bool *seen)
{
    struct origin_record record;
    bool is_there;
    *seen = false;
    enum checkpoint_err err =
        origins_find(r, partition, operation->kind, operation->origin, &record, &is_there);
    if (err != CHECKPOINT_OK || (is_there && index <= record.index)) {
        return err; /* it was noted, or one behind it */
    }
    *seen = is_there && (operation->number < record.number ||
                         (operation->number == record.number && record.is_whole));
    if (is_there) {
        const struct record_key use = use_key(partition, record.index);
        err = records_drop(r, &use);
    }
    if (!*seen) {
        record.number = operation->number;
        record.is_whole = operation->is_whole;
    }
    record.index = index;
    if (err == CHECKPOINT_OK) {
        err = origins_put(r, partition, operation->kind, operation->origin, &record);
    }
    return err != CHECKPOINT_OK || is_there ? err : add_one(r, partition, max);
}
