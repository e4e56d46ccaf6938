/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/consensus/consensus_parts.h"
#include "proto/node_field.h"

static void on_changed(struct raft_change *request, int status)
{
    struct consensus *const c = request->data;
    (void)status; /* consensus_servers() says what has come of it */
    c->changing = false;
}

static enum node_server_role role_of(const struct consensus *c, uint64_t id)
{
    for (unsigned i = 0; i < c->raft.configuration.n; i++) {
        if (c->raft.configuration.servers[i].id == id) {
            return (enum node_server_role)c->raft.configuration.servers[i].role;
        }
    }
    return NODE_SERVER_NONE;
}

static int ask(struct consensus *c, uint64_t id, enum node_server_role now,
               enum node_server_role role)
{
    char address[ADDRESS_BYTES];
    words_address(address, id);
    return now == NODE_SERVER_NONE ? raft_add(&c->raft, &c->change, id, address, on_changed)
           : role == NODE_SERVER_NONE
               ? raft_remove(&c->raft, &c->change, id, on_changed)
               : raft_assign(&c->raft, &c->change, id, (int)role, on_changed);
}

enum consensus_err consensus_change(struct consensus *c, uint64_t id, enum node_server_role role,
                                    uint64_t now_ms)
{
    if (!consensus_is_running(c, now_ms)) {
        return CONSENSUS_FAILED;
    }
    if (!consensus_leads(c)) {
        return CONSENSUS_NOT_LEADER;
    }
    const enum node_server_role now = role_of(c, id);
    if (now == role) {
        return CONSENSUS_OK;
    }
    if (id == c->conf.self) {
        return CONSENSUS_LEADS;
    }
    if (c->changing) {
        return CONSENSUS_BUSY;
    }
    c->change.data = c;
    c->changing = true;
    const int err = ask(c, id, now, role);
    if (err != 0) {
        c->changing = false;
        /* libraft (0.15) keeps the request of which it has just said that it failed. */
        if (c->raft.state == RAFT_LEADER && c->raft.leader_state.change == &c->change) {
            c->raft.leader_state.change = NULL;
        }
    }
    io_settle(c);
    return consensus_err_of(err);
}

size_t consensus_servers(const struct consensus *c, uint8_t *out)
{
    return words_servers(out, &c->raft.configuration);
}

/* ---- Entries that go */

/* NULL: it is not in the log, but in the snapshot, or nowhere. */
static const struct raft_entry *entry_at(const struct raft *r, uint64_t index)
{
    const struct raft_log *const log = &r->log;
    const size_t count = log->size == 0 ? 0 : (log->back + log->size - log->front) % log->size;
    if (index <= log->offset || index > log->offset + count) {
        return NULL;
    }
    return &log->entries[(log->front + (index - log->offset - 1)) % log->size];
}

/* Is what the message goes on from here? Else it is refused as a whole. */
static bool goes_on(const struct raft *r, const struct node_consensus *m)
{
    const struct raft_entry *const before = entry_at(r, m->index);
    return before != NULL ? before->term == m->index_term
                          : m->index == 0 || (m->index == r->log.snapshot.last_index &&
                                              m->index_term == r->log.snapshot.last_term);
}

/* The first index at which the message has another entry than the log; 0: there is none. */
static uint64_t first_conflict(const struct raft *r, const struct node_consensus *m)
{
    struct bytes rest = m->data;
    struct node_entry entry;
    if (!goes_on(r, m)) {
        return 0;
    }
    for (uint64_t index = m->index + 1; rest.len > 0 && node_entry_next(&rest, &entry); index++) {
        const struct raft_entry *const mine = entry_at(r, index);
        if (mine == NULL) {
            return 0;
        }
        if (mine->term != entry.term) {
            return index;
        }
    }
    return 0;
}

/* As libraft writes it. */
static bool read_configuration(struct raft_configuration *to, struct bytes in)
{
    struct cursor c = node_cursor(in);
    uint64_t count;
    raft_configuration_init(to);
    bool is_read = words_written_head(&c, &count);
    for (uint64_t i = 0; is_read && i < count; i++) {
        char address[ADDRESS_BYTES];
        uint64_t id;
        uint8_t role;
        is_read = words_written_server(&c, &id, &role);
        words_address(address, is_read ? id : 0);
        is_read = is_read && raft_configuration_add(to, id, address, role) == 0;
    }
    if (!is_read) {
        raft_configuration_close(to);
    }
    return is_read;
}

/* The last configuration before `index`, in the log, or else in the snapshot. 0: there is none. */
static uint64_t configuration_before(const struct consensus *c, uint64_t index)
{
    for (uint64_t at = index - 1; entry_at(&c->raft, at) != NULL; at--) {
        if (entry_at(&c->raft, at)->type == RAFT_CHANGE) {
            return at;
        }
    }
    return c->stored.snapshot.configuration_index;
}

/*
 * libraft (0.15) goes back to the entry of the last configuration that was committed, and does not
 * look whether it is in the log any more, or in the snapshot only; and after a start takes the last
 * one there is for committed, and does not go back. So it is done here, before it comes to that.
 */
bool servers_roll_back(struct consensus *c, const struct node_consensus *message)
{
    struct raft *const r = &c->raft;
    struct raft_configuration before;
    if (message->kind != NODE_APPEND || message->term < r->current_term) {
        return true;
    }
    const uint64_t conflict = first_conflict(r, message);
    if (conflict == 0 ||
        (r->configuration_uncommitted_index < conflict && r->configuration_index < conflict)) {
        return true;
    }
    const uint64_t index = configuration_before(c, conflict);
    const struct raft_entry *const entry = entry_at(r, index);
    if (index == 0) {
        return true; /* it had none, and has none */
    }
    if (entry != NULL
            ? !read_configuration(&before, bytes_of(entry->buf.base, entry->buf.len))
            : !words_configuration(&before, bytes_of(c->stored.snapshot.configuration,
                                                     c->stored.snapshot.configuration_len))) {
        return false;
    }
    raft_configuration_close(&r->configuration);
    r->configuration = before;
    r->configuration_index = index;
    r->configuration_uncommitted_index = 0;
    return true;
}

/* ---- The start */

/* The last configuration that the records have. false: there is none, or no memory. */
static bool last_configuration(struct raft_configuration *to, const struct stored *s)
{
    for (size_t i = s->count; i > 0; i--) {
        const struct stored_entry *const e = &s->entries[i - 1];
        if (e->type == RAFT_CHANGE) {
            return read_configuration(to, bytes_of(e->data, e->len));
        }
    }
    return s->snapshot.index != 0 &&
           words_configuration(to,
                               bytes_of(s->snapshot.configuration, s->snapshot.configuration_len));
}

bool servers_only_self(const struct stored *s, uint64_t self)
{
    struct raft_configuration configuration;
    unsigned voters = 0;
    bool votes = false;
    if (!last_configuration(&configuration, s)) {
        return false;
    }
    for (unsigned i = 0; i < configuration.n; i++) {
        const bool is_voter = configuration.servers[i].role == RAFT_VOTER;
        voters += is_voter;
        votes = votes || (is_voter && configuration.servers[i].id == self);
    }
    raft_configuration_close(&configuration);
    return voters == 1 && votes;
}
