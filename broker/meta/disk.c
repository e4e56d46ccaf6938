/* SPDX-License-Identifier: Apache-2.0 */
/* What META keeps in the checkpoint: its state, and what formation has promised. */
#include <stdlib.h>

#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/meta/meta_parts.h"
#include "broker/node.h"
#include "broker/shard/shard.h"
#include "broker/store/fields.h"
#include "broker/store/record_key.h"
#include "broker/store/store.h"

#define NEVER    UINT64_MAX
#define AGAIN_MS 2000u
#define STORE_MS 1000u /* so long others may follow a change, to be written with it */

/* ---- the start */

static enum checkpoint_err read_one(struct checkpoint *cp, unsigned place,
                                    struct checkpoint_pairs **pairs, struct bytes *value)
{
    const struct record_key key = record_key_of('g', place);
    struct checkpoint_read read = {.prefix = record_key_bytes(&key), .bytes_max = 1};
    struct bytes found;
    size_t at = 0;
    checkpoint_read_now(cp, &read);
    *pairs = read.pairs;
    *value = bytes_of(NULL, 0);
    if (read.err == CHECKPOINT_OK && !checkpoint_pairs_next(read.pairs, &at, &found, value)) {
        *value = bytes_of(NULL, 0);
    }
    return read.err;
}

static bool take_state(struct meta_run *r, struct bytes value)
{
    struct field_reader f = {.rest = value};
    r->applied = get_number(&f);
    return !f.failed && meta_decode(&r->state, f.rest);
}

static bool take_formation(struct meta_run *r, struct bytes value)
{
    return formation_recover(r->formation, value);
}

static bool refuse(const char *reason)
{
    log_event(LOG_ERROR, "meta_refused", LOG_TEXT("reason", reason));
    return false;
}

bool meta_disk_read(struct meta_run *r, struct checkpoint *checkpoint)
{
    static bool (*const take[])(struct meta_run * r, struct bytes value) = {take_formation,
                                                                            take_state};
    static const unsigned places[] = {META_RECORD_FORMATION, META_RECORD_STATE};
    r->disk = (struct meta_disk){.checkpoint = checkpoint, .due_ms = NEVER};
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct checkpoint_pairs *pairs;
        struct bytes value;
        const enum checkpoint_err err = read_one(checkpoint, places[i], &pairs, &value);
        const bool is_good = err == CHECKPOINT_OK && (value.at == NULL || take[i](r, value));
        free(pairs);
        if (!is_good) {
            return refuse(err != CHECKPOINT_OK ? checkpoint_err_text(err)
                                               : "what META has kept is none that is understood");
        }
    }
    return true;
}

/* ---- writing */

void meta_state_changed(struct meta_run *r, bool at_once)
{
    struct meta_disk *const d = &r->disk;
    const uint64_t due_ms = r->shard->now_ms + (at_once ? 0 : STORE_MS);
    d->due_ms = due_ms < d->due_ms ? due_ms : d->due_ms;
}

/* By the checkpoint's thread. */
static void on_done(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    struct meta_run *const r = context;
    (void)batch; /* it is r->disk.batch */
    atomic_store_explicit(&r->disk.answer, 1 + (int)err, memory_order_release);
    io_wake_external(r->shard->io);
}

static void submit(struct meta_run *r)
{
    r->disk.state = META_DISK_WRITING;
    atomic_store_explicit(&r->disk.answer, 0, memory_order_relaxed);
    checkpoint_submit(r->disk.checkpoint, r->disk.batch, on_done, r);
}

static void put_formation(struct meta_run *r)
{
    const struct record_key key = record_key_of('g', META_RECORD_FORMATION);
    checkpoint_put(r->disk.batch, record_key_bytes(&key), bytes_of(r->form_record, r->form_len));
    r->disk.form_written = formation_written(r->formation);
    r->form_pending = false;
}

static bool put_state(struct meta_run *r)
{
    const struct record_key key = record_key_of('g', META_RECORD_STATE);
    struct field_writer w = {.at = NULL};
    const size_t len = meta_encode(&r->state, NULL);
    uint8_t *const state = malloc(len);
    if (state != NULL) {
        put_number(&w, r->applied);
        put_raw(&w, bytes_of(state, meta_encode(&r->state, state)));
    }
    const bool is_whole = state != NULL && !w.failed;
    if (is_whole) {
        checkpoint_put(r->disk.batch, record_key_bytes(&key), field_written(&w));
        r->disk.index = r->applied;
        r->disk.due_ms = NEVER;
    }
    field_writer_fini(&w);
    free(state);
    return is_whole;
}

static void begin(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    struct meta_disk *const d = &r->disk;
    const bool has_state = d->due_ms <= s->now_ms;
    if (!r->form_pending && !has_state) {
        return;
    }
    d->form_written = d->index = 0;
    d->batch = checkpoint_batch_create();
    if (d->batch == NULL) {
        store_out_of_memory();
    }
    if (r->form_pending) {
        put_formation(r);
    }
    if (has_state && !put_state(r)) {
        store_out_of_memory();
    }
    submit(r);
}

static void finish(struct shard *s, enum checkpoint_err err)
{
    struct meta_run *const r = s->node->meta_run;
    struct meta_disk *const d = &r->disk;
    if (err != CHECKPOINT_OK) {
        log_event(LOG_ERROR, "meta_not_kept", LOG_TEXT("reason", checkpoint_err_text(err)),
                  LOG_TEXT("meaning", "it is tried again"));
        d->state = META_DISK_AGAIN;
        d->again_ms = s->now_ms + AGAIN_MS;
        return;
    }
    checkpoint_batch_destroy(d->batch);
    d->batch = NULL;
    d->state = META_DISK_IDLE;
    if (d->form_written > 0) {
        formation_durable(r->formation, d->form_written, s->now_ms);
        meta_hurry(r);
    }
    if (d->index > 0 && r->is_open && r->has_copy && d->index >= r->wanted) {
        r->has_copy = false;
        r->wanted = 0;
        group_copied(s, STORE_META, d->index);
        meta_hurry(r);
    } else if (d->index > 0 && r->is_open && r->wanted == 0) {
        group_checkpointed(s, STORE_META, d->index);
    }
}

void meta_disk_turn(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    struct meta_disk *const d = &r->disk;
    if (d->state == META_DISK_WRITING) {
        const int answer = atomic_load_explicit(&d->answer, memory_order_acquire);
        if (answer != 0) {
            finish(s, (enum checkpoint_err)(answer - 1));
        }
    } else if (d->state == META_DISK_AGAIN && s->now_ms >= d->again_ms) {
        submit(r);
    }
    if (d->state == META_DISK_IDLE) {
        begin(s);
    }
}

uint64_t meta_disk_next_ms(const struct meta_run *r)
{
    const struct meta_disk *const d = &r->disk;
    switch (d->state) {
    case META_DISK_WRITING:
        return NEVER; /* the checkpoint's thread wakes us */
    case META_DISK_AGAIN:
        return d->again_ms;
    default:
        return r->form_pending ? 0 : d->due_ms;
    }
}

void meta_disk_fini(struct meta_run *r)
{
    checkpoint_batch_destroy(r->disk.batch);
    r->disk.batch = NULL;
}
