/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/consensus/consensus_parts.h"
#include "proto/node_field.h"

/*
 * A record: its kind, and
 *   TERM, VOTE   u64
 *   ENTRIES      u64 index of the first, then node_entry items
 *   TRUNCATE     u64 index of the first that goes
 *   SNAPSHOT     u64 index, u64 term, u64 index of the configuration, u64 entries that stay,
 *                u32 length, node_server items, data
 * Given once and for all.
 */
enum record_kind {
    RECORD_TERM = 1,
    RECORD_VOTE = 2,
    RECORD_ENTRIES = 3,
    RECORD_TRUNCATE = 4,
    RECORD_SNAPSHOT = 5,
};

#define SNAPSHOT_HEAD_BYTES (1 + 4 * sizeof(uint64_t) + sizeof(uint32_t))
#define AGAIN_MAX           256u /* entries of a record that is written again */

/* ---- Reading */

static void entry_free(struct stored_entry *e)
{
    free(e->data);
    e->data = NULL;
}

void stored_drop_entries(struct stored *s)
{
    for (size_t i = 0; i < s->count; i++) {
        entry_free(&s->entries[i]);
    }
    free(s->entries);
    s->entries = NULL;
    s->count = s->room = 0;
}

static void snapshot_fini(struct stored_snapshot *s)
{
    free(s->configuration);
    free(s->data);
    *s = (struct stored_snapshot){.index = 0};
}

void stored_fini(struct stored *s)
{
    stored_drop_entries(s);
    snapshot_fini(&s->snapshot);
}

static uint8_t *copy(struct bytes from)
{
    uint8_t *const to = malloc(from.len == 0 ? 1 : from.len);
    if (to != NULL && from.len > 0) {
        memcpy(to, from.at, from.len);
    }
    return to;
}

static bool entry_add(struct stored *s, const struct node_entry *from)
{
    if (s->count == s->room) {
        const size_t room = s->room == 0 ? 64 : 2 * s->room;
        struct stored_entry *const entries = realloc(s->entries, room * sizeof *entries);
        if (entries == NULL) {
            return false;
        }
        s->entries = entries;
        s->room = room;
    }
    uint8_t *const data = copy(from->data);
    if (data == NULL) {
        return false;
    }
    s->entries[s->count++] = (struct stored_entry){
        .term = from->term, .type = from->type, .data = data, .len = from->data.len};
    return true;
}

static void truncate_to(struct stored *s, size_t count)
{
    while (s->count > count) {
        entry_free(&s->entries[--s->count]);
    }
}

/* The first `gone` go. */
static void drop_first(struct stored *s, size_t gone)
{
    for (size_t i = 0; i < gone; i++) {
        entry_free(&s->entries[i]);
    }
    memmove(s->entries, s->entries + gone, (s->count - gone) * sizeof s->entries[0]);
    s->count -= gone;
    s->first += gone;
}

static enum consensus_err read_entries(struct stored *s, uint64_t first, struct bytes items)
{
    uint32_t count;
    struct node_entry entry;
    if (!node_entries_check(items, &count)) {
        return CONSENSUS_MALFORMED;
    }
    if (s->count == 0) {
        s->first = first;
    }
    if (first < s->first || first > s->first + s->count) {
        return CONSENSUS_MALFORMED;
    }
    truncate_to(s, first - s->first);
    while (items.len > 0 && node_entry_next(&items, &entry)) {
        if (!entry_add(s, &entry)) {
            return CONSENSUS_NO_MEMORY;
        }
    }
    return CONSENSUS_OK;
}

/* What a snapshot of this server has goes, but for the last `stay` of it; 0: it is another
 * server's, and what there was is void. */
static void drop_covered(struct stored *s, uint64_t index, uint64_t stay)
{
    if (stay == 0 || s->count == 0 || index < s->first) {
        truncate_to(s, stay == 0 ? 0 : s->count);
        return;
    }
    const uint64_t there = index - s->first + 1;
    const uint64_t covered = there < s->count ? there : s->count;
    drop_first(s, covered > stay ? (size_t)(covered - stay) : 0);
}

static enum consensus_err read_snapshot(struct stored *s, struct cursor *c)
{
    struct stored_snapshot n = {.index = 0};
    uint64_t stay;
    uint32_t len, count;
    struct bytes servers;
    if (!node_u64(c, &n.index) || n.index == 0 || !node_u64(c, &n.term) ||
        !node_u64(c, &n.configuration_index) || !node_u64(c, &stay) || !node_u32(c, &len) ||
        !cursor_bytes(c, len, &servers) || !node_servers_check(servers, &count) || count == 0) {
        return CONSENSUS_MALFORMED;
    }
    const struct bytes data = cursor_rest(c);
    n.configuration = copy(servers);
    n.configuration_len = servers.len;
    n.data = copy(data);
    n.len = data.len;
    if (n.configuration == NULL || n.data == NULL) {
        snapshot_fini(&n);
        return CONSENSUS_NO_MEMORY;
    }
    snapshot_fini(&s->snapshot);
    s->snapshot = n;
    drop_covered(s, n.index, stay);
    return CONSENSUS_OK;
}

enum consensus_err stored_read(struct stored *s, struct bytes record)
{
    struct cursor c = node_cursor(record);
    uint8_t kind;
    uint64_t value;
    if (!cursor_u8(&c, &kind)) {
        return CONSENSUS_MALFORMED;
    }
    if (kind == RECORD_SNAPSHOT) {
        return read_snapshot(s, &c);
    }
    if (!node_u64(&c, &value)) {
        return CONSENSUS_MALFORMED;
    }
    switch ((enum record_kind)kind) {
    case RECORD_TERM:
        s->term = value;
        s->vote = 0;
        return CONSENSUS_OK;
    case RECORD_VOTE:
        s->vote = value;
        return CONSENSUS_OK;
    case RECORD_ENTRIES:
        return read_entries(s, value, cursor_rest(&c));
    case RECORD_TRUNCATE:
        if (value < s->first || value > s->first + s->count) {
            return CONSENSUS_MALFORMED;
        }
        truncate_to(s, value - s->first);
        return CONSENSUS_OK;
    case RECORD_SNAPSHOT:
    default:
        return CONSENSUS_MALFORMED;
    }
}

/* ---- Writing */

/* Before the start it is what the records come to, as well. */
static bool written(struct consensus *c, struct bytes record)
{
    if (!c->started && stored_read(&c->stored, record) != CONSENSUS_OK) {
        return false;
    }
    c->written++;
    c->conf.events.write(c->conf.events.context, record);
    return true;
}

static bool write_number(struct consensus *c, enum record_kind kind, uint64_t value)
{
    uint8_t out[1 + sizeof value];
    out[0] = (uint8_t)kind;
    put_u64(out + 1, value);
    return written(c, bytes_of(out, sizeof out));
}

bool stored_write_term(struct consensus *c, uint64_t term)
{
    const bool is_written = write_number(c, RECORD_TERM, term);
    c->fenced = c->written;
    return is_written;
}

bool stored_write_vote(struct consensus *c, uint64_t vote)
{
    const bool is_written = write_number(c, RECORD_VOTE, vote);
    c->fenced = c->written;
    return is_written;
}

bool stored_write_truncate(struct consensus *c, uint64_t index)
{
    return write_number(c, RECORD_TRUNCATE, index);
}

bool stored_write_entries(struct consensus *c, uint64_t first, const struct raft_entry *entries,
                          unsigned count)
{
    size_t len = 1 + sizeof first;
    for (unsigned i = 0; i < count; i++) {
        len += NODE_ENTRY_BYTES + words_entry(&entries[i]).data.len;
    }
    uint8_t *const out = malloc(len);
    if (out == NULL) {
        return false;
    }
    out[0] = RECORD_ENTRIES;
    put_u64(out + 1, first);
    size_t at = 1 + sizeof first;
    for (unsigned i = 0; i < count; i++) {
        const struct node_entry entry = words_entry(&entries[i]);
        at += node_entry_encode(out + at, &entry);
    }
    assert(at == len);
    const bool is_written = written(c, bytes_of(out, len));
    free(out);
    return is_written;
}

/* ---- Again */

/* From that index on, as many as go into a record; how many. */
static unsigned some_entries(const struct consensus *c, uint64_t first, uint64_t end,
                             struct raft_entry out[AGAIN_MAX])
{
    const struct raft_log *const log = &c->raft.log;
    size_t len = 0;
    unsigned n = 0;
    for (uint64_t index = first; index < end && n < AGAIN_MAX; index++) {
        const size_t at = (log->front + (size_t)(index - log->offset - 1)) % log->size;
        const size_t one = NODE_ENTRY_BYTES + log->entries[at].buf.len;
        if (n > 0 && len + one > c->conf.message_bytes_max) {
            break;
        }
        len += one;
        out[n++] = log->entries[at];
    }
    return n;
}

static bool write_entries_again(struct consensus *c)
{
    struct raft_entry some[AGAIN_MAX];
    const uint64_t first = c->raft.log.offset + 1;
    assert(c->next >= first);
    for (uint64_t index = first; index < c->next;) {
        const unsigned n = some_entries(c, index, c->next, some);
        if (!stored_write_entries(c, index, some, n)) {
            return false;
        }
        index += n;
    }
    return true;
}

/* With no entries before it. */
static bool write_snapshot(struct consensus *c, const struct stored_snapshot *from)
{
    uint8_t *const out = malloc(SNAPSHOT_HEAD_BYTES + from->configuration_len + from->len);
    if (out == NULL) {
        return false;
    }
    struct sink s = node_sink(out);
    sink_u8(&s, RECORD_SNAPSHOT);
    node_put_u64(&s, from->index);
    node_put_u64(&s, from->term);
    node_put_u64(&s, from->configuration_index);
    node_put_u64(&s, UINT32_MAX);
    node_put_u32(&s, (uint32_t)from->configuration_len);
    sink_bytes(&s, bytes_of(from->configuration, from->configuration_len));
    sink_bytes(&s, bytes_of(from->data, from->len));
    const bool is_written = written(c, bytes_of(out, s.len));
    free(out);
    return is_written;
}

/* The same record as of when it was made, but that no entries are before it. */
static bool write_snapshot_again(struct consensus *c)
{
    return c->stored.snapshot.index == 0 || write_snapshot(c, &c->stored.snapshot);
}

/* Messages need not wait for these: what they say is on its way already. */
bool stored_write_again(struct consensus *c)
{
    return write_number(c, RECORD_TERM, c->raft.current_term) &&
           write_number(c, RECORD_VOTE, c->raft.voted_for) && write_snapshot_again(c) &&
           write_entries_again(c);
}

bool stored_write_begin(struct consensus *c, const struct stored_snapshot *snapshot)
{
    return stored_write_term(c, snapshot->term) && write_snapshot(c, snapshot);
}

/* ---- A snapshot */

static void snapshot_encode(struct sink *s, unsigned trailing, const struct raft_snapshot *snapshot)
{
    const size_t servers = words_servers(NULL, &snapshot->configuration);
    sink_u8(s, RECORD_SNAPSHOT);
    node_put_u64(s, snapshot->index);
    node_put_u64(s, snapshot->term);
    node_put_u64(s, snapshot->configuration_index);
    node_put_u64(s, trailing);
    node_put_u32(s, (uint32_t)servers);
    if (s->at != NULL) {
        (void)words_servers(s->at + s->len, &snapshot->configuration);
    }
    s->len += servers;
    for (unsigned i = 0; i < snapshot->n_bufs; i++) {
        sink_bytes(s, bytes_of(snapshot->bufs[i].base, snapshot->bufs[i].len));
    }
}

bool stored_write_snapshot(struct consensus *c, unsigned trailing,
                           const struct raft_snapshot *snapshot)
{
    struct sink s = node_sink(NULL);
    snapshot_encode(&s, trailing, snapshot);
    uint8_t *const out = malloc(s.len);
    if (out == NULL) {
        return false;
    }
    const size_t len = s.len;
    s = node_sink(out);
    snapshot_encode(&s, trailing, snapshot);
    assert(s.len == len);
    /* It is what is sent to who lacks it, from now on: libraft asks for it when it has been told
     * that it is durable. */
    const bool is_written = stored_read(&c->stored, bytes_of(out, len)) == CONSENSUS_OK &&
                            written(c, bytes_of(out, len));
    c->snapshot_written = c->written;
    free(out);
    return is_written;
}
