/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/fake_disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "broker/conn/owed.h"
#include "broker/message.h"
#include "broker/meta/meta_parts.h"
#include "broker/partitions/partitions.h"
#include "broker/route/local.h"
#include "broker/route/retained.h"
#include "broker/session/session.h"
#include "broker/session/will.h"
#include "broker/shard/shard.h"
#include "broker/store/capture.h"
#include "broker/store/checkpoint.h"
#include "broker/store/fields.h"
#include "broker/store/keeper.h"
#include "broker/store/record_key.h"
#include "broker/store/session_record.h"
#include "broker/store/store.h"
#include "tests/fake/io_fake.h"

#define COPY_BYTES  65536u
#define BATCH_BYTES (1u << 20)
#define WALL_MS     1700000000000 /* when the clock is 0 */
#define PATIENCE    200000u       /* looks at what a thread has to do */
#define STATE_PARTS 4096u         /* sessions and retained messages at most */
#define NEVER       UINT64_MAX

/* ---- directories */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void fake_disk_create(struct fake_disk *disk)
{
    *disk = (struct fake_disk){.n = NULL};
    snprintf(disk->dir, sizeof disk->dir, "%s/dunlin-disk-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(disk->dir) == NULL) {
        abort();
    }
    snprintf(disk->setting, sizeof disk->setting, "data.dir=%s", disk->dir);
}

void fake_disk_destroy(struct fake_disk *disk)
{
    assert(disk->n == NULL);
    if (nftw(disk->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        abort();
    }
}

/* What is zero stays a hole. */
static void copy_file(int from_dir, int to_dir, const char *name)
{
    static uint8_t block[COPY_BYTES];
    static const uint8_t zeros[COPY_BYTES];
    const int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
    const int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    off_t at = 0;
    if (from < 0 || to < 0) {
        abort();
    }
    for (ssize_t n; (n = pread(from, block, sizeof block, at)) > 0; at += n) {
        if (memcmp(block, zeros, (size_t)n) != 0 && pwrite(to, block, (size_t)n, at) != n) {
            abort();
        }
    }
    if (ftruncate(to, at) != 0) {
        abort();
    }
    close(from);
    close(to);
}

static void copy_directory(const char *from, const char *to)
{
    DIR *const all = opendir(from);
    const int to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (all == NULL || to_dir < 0) {
        abort();
    }
    for (const struct dirent *e; (e = readdir(all)) != NULL;) {
        if (e->d_type == DT_REG) {
            copy_file(dirfd(all), to_dir, e->d_name);
        } else if (e->d_name[0] != '.') {
            char deeper[2][512];
            snprintf(deeper[0], sizeof deeper[0], "%s/%s", from, e->d_name);
            snprintf(deeper[1], sizeof deeper[1], "%s/%s", to, e->d_name);
            if (mkdir(deeper[1], 0700) != 0) {
                abort();
            }
            copy_directory(deeper[0], deeper[1]);
        }
    }
    close(to_dir);
    closedir(all);
}

void fake_disk_copy(struct fake_disk *disk, const struct fake_disk *from)
{
    assert(from->n == NULL);
    fake_disk_create(disk);
    copy_directory(from->dir, disk->dir);
}

/* ---- opened by a node */

void fake_disk_open(struct fake_disk *disk, struct fake_node *n)
{
    assert(disk->n == NULL);
    n->node->wall_offset_ms = WALL_MS;
    disk->persistence = (struct persistence){.batch_bytes = BATCH_BYTES};
    if (!persistence_open(&disk->persistence, n->node, n->config)) {
        abort();
    }
    disk->n = n;
    n->disk = disk;
    fake_disk_wait(disk);
}

static void look_again(unsigned *looks, const char *what)
{
    static const struct timespec pause = {.tv_nsec = 20000};
    if (++*looks == PATIENCE) {
        fprintf(stderr, "%s does not answer\n", what);
        abort();
    }
    nanosleep(&pause, NULL);
}

static void wait_for_keeper(struct keeper_slot *slot)
{
    unsigned looks = 0;
    const uint64_t wanted = atomic_load(&slot->wanted);
    while (atomic_load_explicit(&slot->ready, memory_order_acquire) < wanted) {
        look_again(&looks, "the keeper");
    }
}

static void wait_for_reads(const struct backlogs *b)
{
    unsigned looks = 0;
    while (backlogs_read(b) < b->under_way_count) {
        look_again(&looks, "the checkpoint's reader");
    }
}

static void wait_for_checkpoint(struct fake_disk *disk, struct capture *c)
{
    unsigned looks = 0;
    int *const withheld = &disk->answers[c->shard->id];
    if (c->state != CAPTURE_WRITING || *withheld != 0) {
        return;
    }
    while (atomic_load_explicit(&c->answer, memory_order_acquire) == 0) {
        look_again(&looks, "the checkpoint");
    }
    if (disk->held) {
        *withheld = atomic_exchange(&c->answer, 0);
    }
}

static void wait_for_meta(const struct meta_run *r)
{
    unsigned looks = 0;
    while (r != NULL && r->disk.state == META_DISK_WRITING &&
           atomic_load_explicit(&r->disk.answer, memory_order_acquire) == 0) {
        look_again(&looks, "the checkpoint, of META");
    }
}

static bool has_meta_news(const struct shard *s)
{
    const struct meta_run *const r = s->id == 0 ? s->node->meta_run : NULL;
    return r != NULL && r->disk.state == META_DISK_WRITING && atomic_load(&r->disk.answer) != 0;
}

void fake_disk_wait(struct fake_disk *disk)
{
    const struct node *const node = disk->n->node;
    for (unsigned i = 0; i < node->shard_count; i++) {
        wait_for_keeper(node->shards[i]->store->slot);
        wait_for_checkpoint(disk, node->shards[i]->capture);
        wait_for_reads(&node->shards[i]->backlogs);
    }
    wait_for_meta(node->meta_run);
    for (unsigned looks = 0; partitions_are_waiting(node);) {
        look_again(&looks, "the checkpoint, of partitions");
    }
}

bool fake_disk_has_news(const struct shard *s)
{
    const struct capture *const c = s->capture;
    const uint64_t wanted = journal_segment_wanted(s->store->journal);
    if ((s->keeping.queued_set | s->keeping.done_set | s->promised_set) != 0) {
        return true; /* a visitor has left it; it has woken the shard */
    }
    return s->backlogs.under_way_count > 0 || has_meta_news(s) ||
           (wanted != 0 && atomic_load(&s->store->slot->ready) == wanted) ||
           (c->state == CAPTURE_WRITING && atomic_load(&c->answer) != 0 &&
            owed_none_since(s->node, c->begun_ms) && will_none_since(s->node, c->begun_ms));
}

void fake_disk_hold(struct fake_disk *disk, bool hold)
{
    const struct node *const node = disk->n->node;
    disk->held = hold;
    for (unsigned i = 0; i < node->shard_count; i++) {
        struct shard *const s = node->shards[i];
        io_fake_files_hold(s->io, hold);
        if (!hold && disk->answers[i] != 0) {
            atomic_store(&s->capture->answer, disk->answers[i]);
            disk->answers[i] = 0;
        }
    }
}

void fake_disk_begin(struct fake_disk *disk)
{
    fake_node_set_clock();
    fake_disk_create(disk);
}

struct fake_node *fake_disk_again(struct fake_disk *disk, unsigned shards,
                                  const char *const settings[])
{
    const char *all[16] = {disk->setting};
    for (size_t i = 0; settings[i] != NULL; i++) {
        assert(i + 2 < sizeof all / sizeof all[0]);
        all[i + 1] = settings[i];
    }
    struct fake_node *const n = fake_node_create_again(shards, all);
    fake_disk_open(disk, n);
    return n;
}

void fake_disk_end(struct fake_disk *disk)
{
    fake_disk_close(disk);
    fake_disk_check(disk);
    fake_disk_destroy(disk);
}

bool fake_disk_is_quiet(const struct fake_disk *disk)
{
    const struct node *const node = disk->n->node;
    for (unsigned i = 0; i < node->shard_count; i++) {
        const struct shard *const s = node->shards[i];
        if (!store_is_idle(s->store) || kept_has_news(s) || s->replies.count > 0 ||
            s->receipts.count > 0 || s->promises.count > 0 || !will_is_none(s) ||
            !post_is_empty(s)) {
            return false;
        }
    }
    return true;
}

/* ---- its end */

static void forget(struct fake_disk *disk)
{
    struct fake_node *const n = disk->n;
    disk->n = NULL;
    fake_node_destroy(n);
    persistence_close(&disk->persistence);
}

void fake_disk_crash(struct fake_disk *disk, bool (*kept)(void *context, uint64_t sector),
                     void *context)
{
    const struct node *const node = disk->n->node;
    fake_disk_hold(disk, false);
    disk->n->disk = NULL;
    for (unsigned i = 0; i < node->shard_count; i++) {
        io_fake_files_lose(node->shards[i]->io, kept, context);
    }
    backup_server_stop(&disk->persistence.backups);
    keeper_stop(disk->persistence.keeper);
    checkpoint_close(disk->persistence.checkpoint);
    disk->persistence.checkpoint = NULL;
    partitions_crash(disk->n->node);
    for (unsigned i = 0; i < node->shard_count; i++) {
        struct shard *const s = node->shards[i];
        if (s->store->writing) {
            journal_done(s->store->journal, EIO); /* or it would not let itself be destroyed */
        }
        capture_destroy(s->capture);
        s->capture = NULL;
        s->backlogs.checkpoint = NULL;
        s->store = NULL;
        s->disk_congested = false;
        owed_abandon(fake_node_enter(disk->n, i));
        will_abandon(s);
    }
    forget(disk);
}

void fake_disk_close(struct fake_disk *disk)
{
    struct fake_node *const n = disk->n;
    fake_disk_hold(disk, false);
    fake_node_end(n);
    n->disk = NULL;
    persistence_save(&disk->persistence);
    forget(disk);
}

/* ---- the state */

struct part { /* of a state: a session, or a retained message */
    struct bytes name;
    uint64_t hash;
};

struct state {
    struct field_writer w; /* scratch */
    struct part parts[STATE_PARTS];
    size_t count;
};

static void show_part(struct bytes name, struct bytes all)
{
    fprintf(stderr, "state of %.*s:", (int)name.len, (const char *)name.at);
    for (size_t i = 0; i < all.len; i++) {
        fprintf(stderr, " %02x", all.at[i]);
    }
    fputc('\n', stderr);
}

static void add_part(struct state *state, struct bytes name)
{
    if (state->w.failed || state->count == STATE_PARTS) {
        abort();
    }
    const struct bytes all = field_written(&state->w);
    if (getenv("CROWD_TRACE") != NULL) {
        show_part(name, all);
    }
    state->parts[state->count++] =
        (struct part){.name = name, .hash = XXH3_64bits(all.at, all.len)};
}

static int compare_filters(const void *left, const void *right)
{
    const struct bytes a = local_filter_name(*(struct local_filter *const *)left);
    const struct bytes b = local_filter_name(*(struct local_filter *const *)right);
    const int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (int)a.len - (int)b.len;
}

static void put_filters(struct field_writer *w, struct session *session)
{
    struct local_filter *all[64];
    const uint32_t count = session->filters.count;
    assert(count <= sizeof all / sizeof all[0]);
    for (uint32_t i = 0; i < count; i++) {
        all[i] = pointer_at(pointer_set_places(&session->filters)[i]);
    }
    qsort(all, count, sizeof(struct local_filter *), compare_filters);
    put_number(w, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct subscribe_options o = local_options(session, all[i]);
        put_run(w, local_filter_name(all[i]));
        put_number(w, o.identifier);
        put_number(w, o.qos);
        put_number(w, o.no_local);
        put_number(w, o.retain_as_published);
    }
}

/* What of the queue is in the checkpoint only, as if it were in memory. */
static void put_backlog(struct field_writer *w, const struct session *session)
{
    const struct backlog *const b = session->kept == NULL ? NULL : session->kept->backlog;
    if (b == NULL || b->count == 0) {
        return;
    }
    const struct record_key prefix = record_key_of('q', session->serial);
    const struct record_key from = record_key_delivery(session->serial, b->first);
    struct checkpoint_read r = {.prefix = record_key_bytes(&prefix),
                                .from = record_key_bytes(&from),
                                .follow = true,
                                .bytes_max = SIZE_MAX};
    checkpoint_read_now(session->shard->backlogs.checkpoint, &r);
    assert(r.err == CHECKPOINT_OK);
    size_t at = 0;
    struct bytes key, value;
    while (checkpoint_pairs_next(r.pairs, &at, &key, &value)) {
        struct delivery_record record;
        const bool is_one = delivery_record_read(value, &record);
        assert(is_one);
        if (record.delivery.number >= b->end) {
            break;
        }
        const bool has_body = checkpoint_pairs_next(r.pairs, &at, &key, &value);
        assert(has_body);
        stored_delivery_write(w, &record.delivery);
        put_number(w, 1);
        put_raw(w, value);
    }
    free(r.pairs);
}

static void put_deliveries(struct field_writer *w, struct session *session, struct outqueue *q)
{
    uint64_t at = 0;
    for (const struct delivery *d; (d = outqueue_walk(q, &at)) != NULL;) {
        struct stored_delivery stored;
        kept_delivery_of(session, d, &stored);
        if (d->state == DELIVERY_RELEASED) { /* its number is all that is of use */
            stored = (struct stored_delivery){.number = d->number, .qos = 2};
        }
        stored_delivery_write(w, &stored);
        put_number(w, d->message != NULL);
        if (d->message != NULL) {
            kept_message_write(session->shard, w, d->message);
        }
    }
}

static void put_queue(struct field_writer *w, struct session *session)
{
    put_number(w, session->out.next_number);
    put_deliveries(w, session, &session->out);
    put_backlog(w, session);
    if (session->kept != NULL && session->kept->backlog != NULL &&
        session->kept->backlog->after != NULL) {
        put_deliveries(w, session, session->kept->backlog->after);
    }
    put_number(w, 0);
}

static int compare_ids(const void *left, const void *right)
{
    return *(const uint16_t *)left - *(const uint16_t *)right;
}

static void put_received(struct field_writer *w, const struct session *session)
{
    static const struct packet_ids none;
    const struct packet_ids *const received =
        session->pending == NULL ? &none : &session->pending->received;
    uint16_t ids[256];
    size_t count = 0;
    for (uint32_t i = 0; i < received->capacity; i++) {
        if (received->slots[i] != 0) {
            assert(count < sizeof ids / sizeof ids[0]);
            ids[count++] = received->slots[i];
        }
    }
    qsort(ids, count, sizeof ids[0], compare_ids);
    put_number(w, count);
    for (size_t i = 0; i < count; i++) {
        put_number(w, ids[i]);
    }
}

static void put_will(struct field_writer *w, const struct session *session, bool by_time)
{
    const struct will *const will = session->will;
    put_number(w, will != NULL);
    if (will != NULL) {
        kept_message_write(session->shard, w, will->message);
        put_number(w, will->delay_s);
        put_number(w, will->has_expiry);
        put_number(w, will->expiry_s);
        put_number(w, by_time ? kept_wall_ms(session->shard, will->due_ms) : 0);
    }
}

static void add_session(struct state *state, struct session *session, bool by_time)
{
    struct field_writer *const w = &state->w;
    field_writer_begin(w);
    put_run(w, session_client_id(session));
    put_number(w, session->serial);
    put_number(w, session->expiry_s);
    put_number(w, by_time ? kept_wall_ms(session->shard, session->ends_ms) : 0);
    put_number(w, by_time ? backlog_sent_end(session) : 0);
    put_number(w, session->kept->exchange);
    put_will(w, session, by_time);
    put_received(w, session);
    put_filters(w, session);
    put_queue(w, session);
    add_part(state, session_client_id(session));
}

static void add_sessions(struct state *state, struct shard *s,
                         bool (*by_time)(void *context, struct bytes client_id), void *context)
{
    size_t cursor = 0;
    (void)table_any(&s->sessions, &cursor); /* all are in `buckets` then */
    for (size_t i = 0; i <= s->sessions.mask; i++) {
        for (struct table_link *l = s->sessions.buckets[i]; l != NULL; l = l->next) {
            struct session *const session = table_object(l, struct session, by_client_id);
            if (session->kept != NULL) {
                add_session(state, session,
                            by_time == NULL || by_time(context, session_client_id(session)));
            }
        }
    }
}

static void add_retained(struct state *state, struct shard *s)
{
    uint8_t resume[256];
    size_t resume_len = 0;
    unsigned budget = UINT32_MAX;
    struct message *m;
    struct bytes after = bytes_of(NULL, 0);
    while (retained_next(s->retained, bytes_text("#"), after, &budget, &m, resume, &resume_len) ==
           RETAINED_FOUND) {
        field_writer_begin(&state->w);
        kept_message_write(s, &state->w, m);
        add_part(state, message_topic(m));
        after = message_topic(m);
    }
}

static int compare_parts(const void *left, const void *right)
{
    const struct part *const a = left;
    const struct part *const b = right;
    const size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    const int order = memcmp(a->name.at, b->name.at, len);
    return order != 0 ? order : (int)a->name.len - (int)b->name.len;
}

uint64_t fake_disk_state(struct fake_node *n,
                         bool (*by_time)(void *context, struct bytes client_id), void *context)
{
    struct state *const state = calloc(1, sizeof *state);
    if (state == NULL) {
        abort();
    }
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        struct shard *const s = fake_node_enter(n, i);
        add_sessions(state, s, by_time, context);
        add_retained(state, s);
    }
    qsort(state->parts, state->count, sizeof state->parts[0], compare_parts);
    XXH3_state_t *const hash = XXH3_createState();
    XXH3_64bits_reset(hash);
    for (size_t i = 0; i < state->count; i++) {
        XXH3_64bits_update(hash, &state->parts[i].hash, sizeof state->parts[i].hash);
    }
    const uint64_t all = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    field_writer_fini(&state->w);
    free(state);
    return all;
}

/* ---- what the checkpoint has */

struct contents {
    struct numbers sessions; /* serial numbers */
    struct numbers bodies;   /* ids */
    struct numbers referred; /* ids, one for each delivery */
    const char *problem;
};

static bool has_number(const struct numbers *all, uint64_t number)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->at[i] == number) {
            return true;
        }
    }
    return false;
}

static bool on_session(void *context, struct bytes key, struct bytes value)
{
    struct contents *const c = context;
    (void)value;
    numbers_add(&c->sessions, record_key_number(key, 1));
    return true;
}

static bool on_filter(void *context, struct bytes key, struct bytes value)
{
    struct contents *const c = context;
    (void)value;
    if (!has_number(&c->sessions, record_key_number(key, 1))) {
        c->problem = "a subscription of no session";
    }
    return c->problem == NULL;
}

static bool on_body(void *context, struct bytes key, struct bytes value)
{
    struct contents *const c = context;
    (void)value;
    numbers_add(&c->bodies, record_key_number(key, 1));
    return true;
}

static bool on_delivery(void *context, struct bytes key, struct bytes value)
{
    struct contents *const c = context;
    struct delivery_record record;
    if (!delivery_record_read(value, &record)) {
        c->problem = "a delivery that is none";
    } else if (!has_number(&c->sessions, record_key_number(key, 1))) {
        c->problem = "a delivery of no session";
    } else if (record.body != 0 && !has_number(&c->bodies, record.body)) {
        c->problem = "a delivery without its body";
    } else if (record.body != 0) {
        numbers_add(&c->referred, record.body);
    }
    return c->problem == NULL;
}

static void check_bodies(struct contents *c, struct checkpoint *cp)
{
    for (size_t i = 0; i < c->bodies.count && c->problem == NULL; i++) {
        const struct record_key key = record_key_of('b', c->bodies.at[i]);
        uint64_t stored = 0;
        uint64_t counted = 0;
        for (size_t k = 0; k < c->referred.count; k++) {
            counted += c->referred.at[k] == c->bodies.at[i];
        }
        if (checkpoint_count(cp, record_key_bytes(&key), &stored) != CHECKPOINT_OK) {
            c->problem = "a count that cannot be read";
        } else if (stored != counted) {
            c->problem = counted == 0 ? "a body that nothing refers to" : "a wrong count";
        }
    }
}

void fake_disk_check(const struct fake_disk *disk)
{
    static const struct {
        char letter;
        bool (*fn)(void *context, struct bytes key, struct bytes value);
    } parts[] = {{'s', on_session}, {'f', on_filter}, {'b', on_body}, {'q', on_delivery}};
    const struct checkpoint_conf conf = {.map_bytes_max = 1u << 30};
    struct contents c = {.problem = NULL};
    struct checkpoint *cp = NULL;
    int sys_errno = 0;
    assert(disk->n == NULL);
    if (checkpoint_open(&cp, disk->dir, &conf, &sys_errno) != CHECKPOINT_OK) {
        abort();
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && c.problem == NULL; i++) {
        if (checkpoint_each(cp, bytes_of(&parts[i].letter, 1), parts[i].fn, &c) != CHECKPOINT_OK &&
            c.problem == NULL) {
            c.problem = "something that cannot be read";
        }
    }
    check_bodies(&c, cp);
    checkpoint_close(cp);
    if (c.problem != NULL) {
        fprintf(stderr, "the checkpoint has %s\n", c.problem);
        abort();
    }
    free(c.sessions.at);
    free(c.bodies.at);
    free(c.referred.at);
}
