/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/followed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "broker/store/checkpoint.h"
#include "broker/store/entry.h"
#include "broker/store/origins.h"
#include "broker/store/record_key.h"
#include "broker/store/session_record.h"
#include "tests/unit/store/records_sound.h"

static void *grown(void *at, size_t count, size_t *capacity, size_t item)
{
    if (count < *capacity) {
        return at;
    }
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *const moved = realloc(at, *capacity * item);
    if (moved == NULL) {
        abort();
    }
    return moved;
}

/* ---- entries */

static void add_session(struct followed *f, unsigned partition, uint64_t serial)
{
    f->sessions =
        grown(f->sessions, f->sessions_count, &f->sessions_capacity, sizeof f->sessions[0]);
    f->sessions[f->sessions_count].serial = serial;
    f->sessions[f->sessions_count++].partition = partition;
}

void followed_add(struct followed *f, unsigned partition, uint64_t index, struct bytes entry)
{
    struct followed_partition *const p = &f->partitions[partition];
    struct entry e;
    if (index != p->count + 1 || !entry_read(entry, &e)) {
        abort();
    }
    if (e.type == ENTRY_OPENED) {
        add_session(f, partition, e.serial);
    }
    p->entries = grown(p->entries, p->count, &p->capacity, sizeof p->entries[0]);
    struct followed_entry *const added = &p->entries[p->count++];
    *added = (struct followed_entry){.index = index, .bytes = malloc(entry.len), .len = entry.len};
    if (added->bytes == NULL) {
        abort();
    }
    memcpy(added->bytes, entry.at, entry.len);
}

struct bytes followed_entry(const struct followed *f, unsigned partition, uint64_t index)
{
    const struct followed_entry *const e = &f->partitions[partition].entries[index - 1];
    return bytes_of(e->bytes, e->len);
}

static uint64_t renumbered(const struct followed *f, uint64_t serial)
{
    for (size_t i = 0; i < f->sessions_count; i++) {
        if (f->sessions[i].serial == serial) {
            return ((uint64_t)f->sessions[i].partition + 1) << 56 | serial;
        }
    }
    fprintf(stderr, "no session %llu was opened\n", (unsigned long long)serial);
    abort();
}

void followed_add_replayed(struct followed *f, uint64_t serial, uint64_t number)
{
    f->replayed =
        grown(f->replayed, f->replayed_count, &f->replayed_capacity, sizeof f->replayed[0]);
    f->replayed[f->replayed_count].serial = serial;
    f->replayed[f->replayed_count++].number = number;
}

static bool was_replayed(const struct followed *f, uint64_t serial, uint64_t number)
{
    bool was = false;
    for (size_t i = 0; i < f->replayed_count && !was; i++) {
        was = f->replayed[i].serial == serial && f->replayed[i].number == number;
    }
    return was;
}

/* All of its recipients have it because it was retained. */
static bool is_replay(const struct followed *f, const struct entry *e)
{
    struct bytes rest = e->queued.recipients;
    uint64_t serial;
    struct stored_delivery d;
    bool all = true;
    while (all && entry_next_recipient(&rest, &serial, &d)) {
        all = was_replayed(f, serial, d.number);
    }
    return all;
}

/* Does another entry of the same operation come later? */
static bool more_follows(const struct followed *f, const struct followed_partition *p, size_t at,
                         const struct entry *e)
{
    for (size_t i = at + 1; i < p->count; i++) {
        struct entry later;
        if (entry_read(bytes_of(p->entries[i].bytes, p->entries[i].len), &later) &&
            later.type == ENTRY_QUEUED && later.queued.exchange == e->queued.exchange &&
            (later.queued.packet_id == 0) == (e->queued.packet_id == 0) &&
            later.queued.origin == e->queued.origin && !is_replay(f, &later)) {
            return true;
        }
    }
    return false;
}

static void write_queued(const struct followed *f, const struct followed_partition *p, size_t at,
                         struct entry *e, struct field_writer *w)
{
    struct bytes rest = e->queued.recipients;
    uint64_t serial;
    struct stored_delivery d;
    if (is_replay(f, e)) {
        e->queued.origin = e->queued.exchange = e->queued.packet_id = 0;
    } else if (e->queued.origin != 0) {
        e->queued.exchange |= more_follows(f, p, at, e) ? ENTRY_MORE_FOLLOWS : 0;
        e->queued.origin = renumbered(f, e->queued.origin);
    }
    e->queued.recipients = bytes_of(NULL, 0);
    entry_write(w, e);
    while (entry_next_recipient(&rest, &serial, &d)) {
        entry_write_recipient(w, renumbered(f, serial), &d);
    }
}

static void write_done(const struct followed *f, struct entry *e, struct field_writer *w)
{
    struct bytes rest = e->done;
    uint64_t serial, number;
    e->done = bytes_of(NULL, 0);
    entry_write(w, e);
    while (entry_next_done(&rest, &serial, &number)) {
        entry_write_done(w, renumbered(f, serial), number);
    }
}

static void renumber_one(const struct followed *f, const struct followed_partition *p, size_t at,
                         struct field_writer *w)
{
    struct entry e;
    if (!entry_read(bytes_of(p->entries[at].bytes, p->entries[at].len), &e)) {
        abort();
    }
    field_writer_begin(w);
    switch (e.type) {
    case ENTRY_QUEUED:
        write_queued(f, p, at, &e, w);
        break;
    case ENTRY_DONE:
        write_done(f, &e, w);
        break;
    default:
        e.serial = renumbered(f, e.serial);
        entry_write(w, &e);
    }
    if (w->failed) {
        abort();
    }
}

/* From the first on, so that those behind are still as they were when they are looked for. */
void followed_renumber(struct followed *f)
{
    struct field_writer w = {.at = NULL};
    for (unsigned i = 0; i < SERIAL_PARTITIONS; i++) {
        struct followed_partition *const p = &f->partitions[i];
        for (size_t at = 0; at < p->count; at++) {
            renumber_one(f, p, at, &w);
            free(p->entries[at].bytes);
            p->entries[at].bytes = malloc(w.len);
            p->entries[at].len = w.len;
            if (p->entries[at].bytes == NULL) {
                abort();
            }
            memcpy(p->entries[at].bytes, w.at, w.len);
        }
    }
    field_writer_fini(&w);
}

void followed_fini(struct followed *f)
{
    for (unsigned i = 0; i < SERIAL_PARTITIONS; i++) {
        for (size_t at = 0; at < f->partitions[i].count; at++) {
            free(f->partitions[i].entries[at].bytes);
        }
        free(f->partitions[i].entries);
    }
    free(f->sessions);
    free(f->replayed);
    *f = (struct followed){.sessions = NULL};
}

/* ---- records */

struct loading {
    const struct followed *f;
    const struct records *records;
    uint64_t *applied;
};

static void expect(enum checkpoint_err err)
{
    if (err != CHECKPOINT_OK) {
        fprintf(stderr, "records: %s\n", checkpoint_err_text(err));
        abort();
    }
}

static bool load_one(void *context, struct bytes key, struct bytes value)
{
    const struct loading *const l = context;
    struct record_key mapped = {.len = key.len};
    const char letter = (char)key.at[0];
    memcpy(mapped.at, key.at, key.len);
    if (letter == 'p' && record_key_number(key, 1) < SERIAL_PARTITIONS) {
        struct field_reader r = {.rest = value};
        l->applied[record_key_number(key, 1)] = get_number(&r);
    }
    if (letter != 's' && letter != 'f' && letter != 'q') {
        return true;
    }
    const uint64_t serial = htobe64(renumbered(l->f, record_key_number(key, 1)));
    memcpy(mapped.at + 1, &serial, sizeof serial);
    expect(records_put(l->records, &mapped, value));
    return true;
}

/* Bodies, once for each that refers to them. */
static bool load_body(void *context, struct bytes key, struct bytes value)
{
    const struct loading *const l = context;
    struct record_key prefix = {.at = {'q'}, .len = 1};
    struct record_key at = {.len = 0};
    struct bytes found;
    for (;;) {
        struct delivery_record r;
        expect(records_next(l->records, &prefix, &at, &found));
        if (at.len == 0) {
            return true;
        }
        if (delivery_record_read(found, &r) && r.body == record_key_number(key, 1)) {
            expect(l->records->add(l->records->context, key, value));
        }
    }
}

void followed_load(const struct followed *f, struct checkpoint *cp, struct records_memory *m,
                   uint64_t applied[SERIAL_PARTITIONS])
{
    struct loading l = {.f = f, .records = &m->records, .applied = applied};
    memset(applied, 0, SERIAL_PARTITIONS * sizeof applied[0]);
    expect(checkpoint_each(cp, bytes_text(""), load_one, &l));
    expect(checkpoint_each(cp, bytes_text("b"), load_body, &l));
}

static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    (void)batch;
    __atomic_store_n((int *)context, 1 + (int)err, __ATOMIC_RELEASE);
}

void followed_store(const struct records_memory *m, struct checkpoint *cp)
{
    static const struct timespec pause = {.tv_nsec = 100000};
    struct checkpoint_batch *const batch = checkpoint_batch_create();
    int answer = 0;
    for (const char *letter = "sfqb"; *letter != '\0'; letter++) {
        checkpoint_delete_prefix(batch, bytes_of(letter, 1));
    }
    for (const struct key_node *node = m->all.first[0]; node != NULL; node = key_map_next(node)) {
        struct record_key key = node->key;
        const char letter = (char)key.at[0];
        if (letter == 'b') {
            checkpoint_add(batch, record_key_bytes(&key), node->count, key_node_value(node));
        } else if (letter == 's' || letter == 'f' || letter == 'q') {
            key.at[1] = 0; /* the partition */
            checkpoint_put(batch, record_key_bytes(&key), key_node_value(node));
        }
    }
    checkpoint_submit(cp, batch, on_done, &answer);
    while (__atomic_load_n(&answer, __ATOMIC_ACQUIRE) == 0) {
        nanosleep(&pause, NULL);
    }
    expect((enum checkpoint_err)(answer - 1));
    checkpoint_batch_destroy(batch);
}

void followed_clone(struct records_memory *to, const struct records_memory *from)
{
    for (const struct key_node *node = from->all.first[0]; node != NULL;
         node = key_map_next(node)) {
        struct key_node *const copy = key_map_add(&to->all, record_key_bytes(&node->key));
        if (copy == NULL || !key_map_set(&to->all, copy, key_node_value(node))) {
            abort();
        }
        copy->count = node->count;
    }
}

void followed_check(const struct records_memory *m)
{
    const char *const problem = records_sound(m);
    if (problem != NULL) {
        fprintf(stderr, "the records have %s\n", problem);
        abort();
    }
}
