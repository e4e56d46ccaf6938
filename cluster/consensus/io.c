/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/consensus/consensus_parts.h"
#include "cluster/splitmix.h"

static struct consensus *of(const struct raft_io *io)
{
    return io->impl;
}

/* ---- What libraft waits for */

static int wait_for(struct consensus *c, enum waiting_kind kind, void *request, void (*told)(void),
                    uint64_t after)
{
    struct waiting *const w = malloc(sizeof *w);
    if (w == NULL) {
        return RAFT_NOMEM;
    }
    *w = (struct waiting){.kind = kind, .after = after, .request = request, .told = told};
    *c->last_waiting = w;
    c->last_waiting = &w->next;
    return 0;
}

static uint8_t *copy_by_raft(const uint8_t *from, size_t len)
{
    uint8_t *const to = raft_malloc(len == 0 ? 1 : len);
    if (to != NULL && len > 0) {
        memcpy(to, from, len);
    }
    return to;
}

static void snapshot_free(struct raft_snapshot *s)
{
    if (s != NULL) {
        if (s->bufs != NULL) {
            raft_free(s->bufs[0].base);
        }
        raft_free(s->bufs);
        raft_configuration_close(&s->configuration);
        raft_free(s);
    }
}

/* As libraft wants it: it frees it. NULL: no memory. */
static struct raft_snapshot *snapshot_of(const struct stored_snapshot *from)
{
    struct raft_snapshot *const s = raft_calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    raft_configuration_init(&s->configuration);
    s->bufs = raft_calloc(1, sizeof s->bufs[0]);
    if (s->bufs == NULL || (s->bufs[0].base = copy_by_raft(from->data, from->len)) == NULL ||
        !words_configuration(&s->configuration,
                             bytes_of(from->configuration, from->configuration_len))) {
        snapshot_free(s);
        return NULL;
    }
    s->index = from->index;
    s->term = from->term;
    s->configuration_index = from->configuration_index;
    s->n_bufs = 1;
    s->bufs[0].len = from->len;
    return s;
}

static void tell(struct consensus *c, const struct waiting *w, int status)
{
    struct raft_snapshot *snapshot = NULL;
    switch (w->kind) {
    case WAITING_SEND:
        ((raft_io_send_cb)w->told)(w->request, status);
        return;
    case WAITING_APPEND:
        ((raft_io_append_cb)w->told)(w->request, status);
        return;
    case WAITING_SNAPSHOT_PUT:
        ((raft_io_snapshot_put_cb)w->told)(w->request, status);
        return;
    case WAITING_SNAPSHOT_GET:
        if (status == 0) {
            snapshot = snapshot_of(&c->stored.snapshot);
            status = snapshot == NULL ? RAFT_NOMEM : 0;
        }
        ((raft_io_snapshot_get_cb)w->told)(w->request, snapshot, status);
        return;
    }
}

static void tell_first(struct consensus *c, struct waiting **at, int status)
{
    struct waiting *const w = *at;
    *at = w->next;
    if (w->next == NULL) {
        c->last_waiting = at;
    }
    c->telling = true;
    tell(c, w, status);
    c->telling = false;
    free(w);
}

static struct waiting **due(struct consensus *c)
{
    struct waiting **at = &c->first_waiting;
    while (*at != NULL && (*at)->after > c->durable) {
        at = &(*at)->next;
    }
    return *at == NULL ? NULL : at;
}

static void flush(struct consensus *c)
{
    while (c->first_outgoing != NULL && c->first_outgoing->after <= c->durable) {
        struct outgoing *const o = c->first_outgoing;
        c->first_outgoing = o->next;
        if (o->next == NULL) {
            c->last_outgoing = &c->first_outgoing;
        }
        c->outgoing_bytes -= sizeof *o + o->len;
        c->sent++;
        c->conf.events.send(c->conf.events.context, o->to, bytes_of(o->bytes, o->len));
        free(o);
    }
}

bool io_is_appending(const struct consensus *c)
{
    const struct waiting *w = c->first_waiting;
    while (w != NULL && w->kind != WAITING_APPEND) {
        w = w->next;
    }
    return w != NULL;
}

void io_settle(struct consensus *c)
{
    for (struct waiting **at; (at = due(c)) != NULL;) {
        tell_first(c, at, 0);
    }
    batch_go_on(c);
    flush(c);
    c->failed = c->failed || (c->started && raft_state(&c->raft) == RAFT_UNAVAILABLE);
}

static void reverse(struct consensus *c)
{
    struct waiting *reversed = NULL;
    c->last_waiting = c->first_waiting == NULL ? &c->first_waiting : &c->first_waiting->next;
    while (c->first_waiting != NULL) {
        struct waiting *const w = c->first_waiting;
        c->first_waiting = w->next;
        w->next = reversed;
        reversed = w;
    }
    c->first_waiting = reversed;
}

/* The last first: of each append that fails libraft (0.15) cuts the log off there, and does not
 * look whether it is that long any more. */
void io_cancel(struct consensus *c)
{
    reverse(c);
    while (c->first_waiting != NULL) {
        tell_first(c, &c->first_waiting, RAFT_CANCELED);
    }
    while (c->first_outgoing != NULL) {
        struct outgoing *const o = c->first_outgoing;
        c->first_outgoing = o->next;
        free(o);
    }
    c->last_outgoing = &c->first_outgoing;
    c->outgoing_bytes = 0;
}

/* ---- The start */

static int io_begin(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb told)
{
    of(io)->close = told; /* consensus_destroy() calls it, when all that waits has been told */
}

static int load_entries(const struct stored *s, struct raft_entry **entries)
{
    size_t len = 0;
    for (size_t i = 0; i < s->count; i++) {
        len += s->entries[i].len;
    }
    *entries = NULL;
    if (s->count == 0) {
        return 0;
    }
    uint8_t *const batch = raft_malloc(len == 0 ? 1 : len);
    *entries = raft_calloc(s->count, sizeof **entries);
    if (batch == NULL || *entries == NULL) {
        raft_free(batch);
        raft_free(*entries);
        return RAFT_NOMEM;
    }
    uint8_t *at = batch;
    for (size_t i = 0; i < s->count; i++) {
        const struct stored_entry *const e = &s->entries[i];
        memcpy(at, e->data, e->len);
        (*entries)[i] = (struct raft_entry){
            .term = e->term, .type = e->type, .buf = {.base = at, .len = e->len}, .batch = batch};
        at += e->len;
    }
    return 0;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct consensus *const c = of(io);
    struct stored *const s = &c->stored;
    *term = s->term;
    *voted_for = s->vote;
    *snapshot = NULL;
    if (s->snapshot.index != 0 && (*snapshot = snapshot_of(&s->snapshot)) == NULL) {
        return RAFT_NOMEM;
    }
    *start_index = s->count > 0 ? s->first : s->snapshot.index + 1;
    *n_entries = s->count;
    c->next = *start_index + s->count;
    const int err = load_entries(s, entries);
    if (err != 0) {
        snapshot_free(*snapshot);
        return err;
    }
    stored_drop_entries(s);
    return 0;
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct consensus *const c = of(io);
    (void)msecs; /* what the configuration has */
    c->tick = tick;
    c->recv = recv;
    c->tick_ms = c->now_ms + c->conf.heartbeat_ms;
    return 0;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
    struct consensus *const c = of(io);
    struct raft_buffer buf;
    const int err = raft_configuration_encode(conf, &buf);
    if (err != 0) {
        return err;
    }
    const struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE, .buf = buf};
    const bool is_written = stored_write_term(c, 1) && stored_write_entries(c, 1, &entry, 1);
    raft_free(buf.base);
    return is_written ? 0 : RAFT_NOMEM;
}

static int io_recover(struct raft_io *io, const struct raft_configuration *conf)
{
    (void)io;
    (void)conf;
    return RAFT_INVALID; /* nothing calls it: a majority that is gone is not made up for */
}

/* ---- The disk */

static int io_set_term(struct raft_io *io, raft_term term)
{
    return stored_write_term(of(io), term) ? 0 : RAFT_NOMEM;
}

static int io_set_vote(struct raft_io *io, raft_id server_id)
{
    return stored_write_vote(of(io), server_id) ? 0 : RAFT_NOMEM;
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct consensus *const c = of(io);
    req->cb = cb;
    if (!stored_write_entries(c, c->next, entries, n)) {
        return RAFT_NOMEM;
    }
    c->next += n;
    return wait_for(c, WAITING_APPEND, req, (void (*)(void))cb, c->written);
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct consensus *const c = of(io);
    c->next = index;
    return stored_write_truncate(c, index) ? 0 : RAFT_NOMEM;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct consensus *const c = of(io);
    req->cb = cb;
    if (!stored_write_snapshot(c, trailing, snapshot)) {
        return RAFT_NOMEM;
    }
    if (trailing == 0) {
        c->next = snapshot->index + 1; /* another server's: it replaces all there was */
    }
    c->snapshots++;
    return wait_for(c, WAITING_SNAPSHOT_PUT, req, (void (*)(void))cb, c->written);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb)
{
    req->cb = cb;
    return wait_for(of(io), WAITING_SNAPSHOT_GET, req, (void (*)(void))cb, 0);
}

/* ---- The others, time, chance */

static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
                   raft_io_send_cb cb)
{
    struct consensus *const c = of(io);
    req->cb = cb;
    if (!words_queue(c, message)) {
        return RAFT_NOMEM;
    }
    return cb == NULL ? 0 : wait_for(c, WAITING_SEND, req, (void (*)(void))cb, 0);
}

static raft_time io_time(struct raft_io *io)
{
    return of(io)->now_ms;
}

static int io_random(struct raft_io *io, int min, int max)
{
    struct consensus *const c = of(io);
    return min + (int)(splitmix_next(&c->random) % (uint64_t)(max - min));
}

void io_init(struct consensus *c)
{
    c->io = (struct raft_io){.version = 1,
                             .impl = c,
                             .init = io_begin,
                             .close = io_close,
                             .load = io_load,
                             .start = io_start,
                             .bootstrap = io_bootstrap,
                             .recover = io_recover,
                             .set_term = io_set_term,
                             .set_vote = io_set_vote,
                             .send = io_send,
                             .append = io_append,
                             .truncate = io_truncate,
                             .snapshot_put = io_snapshot_put,
                             .snapshot_get = io_snapshot_get,
                             .time = io_time,
                             .random = io_random};
}
