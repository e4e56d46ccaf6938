/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/consensus/consensus_parts.h"
#include "proto/node_field.h"

/* libraft wants an address of each server, that no other one has. */
void words_address(char out[ADDRESS_BYTES], uint64_t id)
{
    (void)snprintf(out, ADDRESS_BYTES, "%" PRIu64, id);
}

bool words_configuration(struct raft_configuration *to, struct bytes servers)
{
    struct node_server server;
    raft_configuration_init(to);
    while (servers.len > 0 && node_server_next(&servers, &server)) {
        char address[ADDRESS_BYTES];
        words_address(address, server.id);
        if (raft_configuration_add(to, server.id, address, server.role) != 0) {
            raft_configuration_close(to);
            return false;
        }
    }
    return true;
}

size_t words_servers(uint8_t *out, const struct raft_configuration *from)
{
    for (unsigned i = 0; out != NULL && i < from->n; i++) {
        const struct node_server server = {.id = from->servers[i].id,
                                           .role = (uint8_t)from->servers[i].role};
        (void)node_server_encode(out + i * NODE_SERVER_BYTES, &server);
    }
    return from->n * NODE_SERVER_BYTES;
}

bool words_written_head(struct cursor *c, uint64_t *count)
{
    uint8_t format;
    return cursor_u8(c, &format) && format == 1 && node_u64(c, count);
}

bool words_written_server(struct cursor *c, uint64_t *id, uint8_t *role)
{
    uint8_t byte = 0;
    bool is_read = node_u64(c, id);
    do {
        is_read = is_read && cursor_u8(c, &byte);
    } while (is_read && byte != 0);
    return is_read && cursor_u8(c, role);
}

/* Of a configuration, without what it is rounded up by. */
static size_t configuration_bytes(struct bytes in)
{
    struct cursor c = node_cursor(in);
    uint8_t role;
    uint64_t count = 0, id;
    bool is_read = words_written_head(&c, &count);
    for (uint64_t i = 0; is_read && i < count; i++) {
        is_read = words_written_server(&c, &id, &role);
    }
    return is_read ? in.len - cursor_left(&c) : in.len;
}

/* libraft (0.15) has whatever was in that memory in a barrier, and behind a configuration: neither
 * is kept, nor sent. */
struct node_entry words_entry(const struct raft_entry *from)
{
    const struct bytes all = bytes_of(from->buf.base, from->buf.len);
    const size_t len = from->type == RAFT_BARRIER  ? 0
                       : from->type == RAFT_CHANGE ? configuration_bytes(all)
                                                   : all.len;
    return (struct node_entry){
        .term = from->term, .type = (uint8_t)from->type, .data = bytes_of(all.at, len)};
}

/* ---- Out */

/* As many entries as a message may have; the follower refuses what comes behind a gap, and is sent
 * the rest then. */
static unsigned entries_that_fit(const struct consensus *c, const struct raft_append_entries *a,
                                 size_t *len)
{
    unsigned n = 0;
    *len = 0;
    while (n < a->n_entries) {
        const size_t one = NODE_ENTRY_BYTES + words_entry(&a->entries[n]).data.len;
        if (n > 0 && *len + one > c->conf.message_bytes_max) {
            break;
        }
        *len += one;
        n++;
    }
    return n;
}

/* What follows the head is in *items, which is the caller's to free(); NULL: no memory. */
static uint8_t *append_items(const struct consensus *c, const struct raft_append_entries *a,
                             struct node_consensus *m)
{
    size_t len;
    const unsigned n = entries_that_fit(c, a, &len);
    uint8_t *const items = malloc(len == 0 ? 1 : len);
    size_t at = 0;
    for (unsigned i = 0; items != NULL && i < n; i++) {
        const struct node_entry entry = words_entry(&a->entries[i]);
        at += node_entry_encode(items + at, &entry);
    }
    *m = (struct node_consensus){.kind = NODE_APPEND,
                                 .term = a->term,
                                 .index = a->prev_log_index,
                                 .index_term = a->prev_log_term,
                                 .other = a->leader_commit,
                                 .sent_ms = c->now_ms,
                                 .data = bytes_of(items, len)};
    return items;
}

static uint8_t *install_items(const struct raft_install_snapshot *i, struct node_consensus *m)
{
    const size_t len = words_servers(NULL, &i->conf);
    uint8_t *const servers = malloc(len == 0 ? 1 : len);
    if (servers != NULL) {
        (void)words_servers(servers, &i->conf);
    }
    *m = (struct node_consensus){.kind = NODE_INSTALL,
                                 .term = i->term,
                                 .index = i->last_index,
                                 .index_term = i->last_term,
                                 .other = i->conf_index,
                                 .configuration = bytes_of(servers, len),
                                 .data = bytes_of(i->data.base, i->data.len)};
    return servers;
}

/*
 * What it has of what the leader has. libraft (0.15) says all that it has, also where that is of an
 * earlier leader, and was compared with nothing that this one has sent.
 *
 * A snapshot is of what is committed, so whoever leads has that too. libraft says of one
 * that it was sent, and need not take, that it has that, and not that it has more; a leader that
 * has missed other answers would try what is before, which is in no log here any more, and then the
 * snapshot again.
 */
static uint64_t appended_index(const struct consensus *c,
                               const struct raft_append_entries_result *a)
{
    if (a->rejected != 0) {
        return a->last_log_index;
    }
    const uint64_t matched = c->matched_term == a->term ? c->matched : 0;
    const uint64_t index = a->last_log_index < matched ? a->last_log_index : matched;
    const bool is_durable = c->snapshot_written <= c->durable;
    return is_durable && c->stored.snapshot.index > index ? c->stored.snapshot.index : index;
}

static struct node_consensus vote_words(const struct raft_request_vote *v)
{
    return (struct node_consensus){.kind = NODE_VOTE,
                                   .flags =
                                       (uint8_t)((v->pre_vote ? NODE_CONSENSUS_PRE_VOTE : 0) |
                                                 (v->disrupt_leader ? NODE_CONSENSUS_DISRUPT : 0)),
                                   .term = v->term,
                                   .index = v->last_log_index,
                                   .index_term = v->last_log_term};
}

/* Who asks whether it would be elected is refused by libraft (0.15) in the term that it has named:
 * it never hears that there is a later one, in which it could be, where the one that is in it
 * cannot. So it hears that here. */
static uint64_t voted_term(const struct consensus *c, const struct raft_request_vote_result *v)
{
    const bool may_be_behind = v->pre_vote == raft_tribool_true && !v->vote_granted;
    return may_be_behind && c->raft.current_term > v->term ? c->raft.current_term : v->term;
}

static struct node_consensus voted_words(const struct consensus *c,
                                         const struct raft_request_vote_result *v)
{
    return (struct node_consensus){
        .kind = NODE_VOTED,
        .flags = (uint8_t)((v->pre_vote == raft_tribool_true ? NODE_CONSENSUS_PRE_VOTE : 0) |
                           (v->vote_granted ? NODE_CONSENSUS_GRANTED : 0)),
        .term = voted_term(c, v)};
}

/* *own: what has to be freed; false: no memory. */
static bool in_words(const struct consensus *c, const struct raft_message *from,
                     struct node_consensus *m, uint8_t **own)
{
    *own = NULL;
    switch (from->type) {
    case RAFT_IO_APPEND_ENTRIES:
        *own = append_items(c, &from->append_entries, m);
        return *own != NULL;
    case RAFT_IO_INSTALL_SNAPSHOT:
        *own = install_items(&from->install_snapshot, m);
        return *own != NULL;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        *m = (struct node_consensus){.kind = NODE_APPENDED,
                                     .term = from->append_entries_result.term,
                                     .index = appended_index(c, &from->append_entries_result),
                                     .other = from->append_entries_result.rejected,
                                     .sent_ms = lease_echo(c, from->server_id)};
        return true;
    case RAFT_IO_REQUEST_VOTE:
        *m = vote_words(&from->request_vote);
        return true;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        *m = voted_words(c, &from->request_vote_result);
        return true;
    default:
        assert(from->type == RAFT_IO_TIMEOUT_NOW);
        *m = (struct node_consensus){.kind = NODE_TIMEOUT_NOW,
                                     .term = from->timeout_now.term,
                                     .index = from->timeout_now.last_log_index,
                                     .index_term = from->timeout_now.last_log_term};
        return true;
    }
}

static void put_out(struct consensus *c, struct outgoing *o)
{
    *c->last_outgoing = o;
    c->last_outgoing = &o->next;
    c->outgoing_bytes += sizeof *o + o->len;
}

/* An answer for a leader that it has forgotten since it was asked, or, where it follows nobody any
 * more, for whatever libraft (0.15) has in that place then. */
static bool is_for_nobody(const struct consensus *c, const struct raft_message *message)
{
    const bool is_late = c->telling && message->type == RAFT_IO_APPEND_ENTRIES_RESULT;
    return message->server_id == 0 || (is_late && c->raft.state != RAFT_FOLLOWER);
}

bool words_queue(struct consensus *c, const struct raft_message *message)
{
    struct node_consensus m;
    uint8_t *own;
    if (is_for_nobody(c, message)) {
        return true;
    }
    if (!in_words(c, message, &m, &own)) {
        return false;
    }
    m.group = c->conf.group;
    const size_t len = node_consensus_encode(NULL, &m);
    struct outgoing *o = NULL;
    if (c->outgoing_bytes + sizeof *o + len > c->conf.waiting_bytes_max) {
        c->dropped++;
        free(own);
        return true; /* as the network may */
    }
    o = malloc(sizeof *o + len);
    if (o != NULL) {
        *o = (struct outgoing){.after = c->fenced, .to = message->server_id, .len = len};
        (void)node_consensus_encode(o->bytes, &m);
        put_out(c, o);
    }
    free(own);
    return o != NULL;
}

/* ---- In */

/* libraft frees the entries, and the one piece of memory that all of them are in. */
static bool take_entries(struct raft_append_entries *a, struct bytes items)
{
    uint32_t count;
    struct node_entry entry;
    if (!node_entries_check(items, &count) || count == 0) {
        return true;
    }
    uint8_t *const batch = raft_malloc(items.len);
    a->entries = raft_calloc(count, sizeof a->entries[0]);
    if (batch == NULL || a->entries == NULL) {
        raft_free(batch);
        raft_free(a->entries);
        a->entries = NULL;
        return false;
    }
    memcpy(batch, items.at, items.len);
    struct bytes rest = bytes_of(batch, items.len);
    while (rest.len > 0 && node_entry_next(&rest, &entry)) {
        a->entries[a->n_entries++] = (struct raft_entry){
            .term = entry.term,
            .type = entry.type,
            .buf = {.base = batch + (entry.data.at - batch), .len = entry.data.len},
            .batch = batch};
    }
    assert(a->n_entries == count);
    return true;
}

static bool take_snapshot(struct raft_install_snapshot *i, const struct node_consensus *m)
{
    i->data.len = m->data.len;
    i->data.base = raft_malloc(m->data.len == 0 ? 1 : m->data.len);
    if (i->data.base == NULL) {
        return false;
    }
    if (!words_configuration(&i->conf, m->configuration)) {
        raft_free(i->data.base);
        return false;
    }
    if (m->data.len > 0) {
        memcpy(i->data.base, m->data.at, m->data.len);
    }
    return true;
}

/* false: no memory. */
static bool from_words(struct raft_message *to, const struct node_consensus *m)
{
    switch ((enum node_consensus_kind)m->kind) {
    case NODE_APPEND:
        to->type = RAFT_IO_APPEND_ENTRIES;
        to->append_entries = (struct raft_append_entries){.term = m->term,
                                                          .prev_log_index = m->index,
                                                          .prev_log_term = m->index_term,
                                                          .leader_commit = m->other};
        return take_entries(&to->append_entries, m->data);
    case NODE_APPENDED:
        to->type = RAFT_IO_APPEND_ENTRIES_RESULT;
        to->append_entries_result = (struct raft_append_entries_result){
            .term = m->term, .rejected = m->other, .last_log_index = m->index};
        return true;
    case NODE_VOTE:
        to->type = RAFT_IO_REQUEST_VOTE;
        to->request_vote =
            (struct raft_request_vote){.term = m->term,
                                       .candidate_id = to->server_id,
                                       .last_log_index = m->index,
                                       .last_log_term = m->index_term,
                                       .disrupt_leader = (m->flags & NODE_CONSENSUS_DISRUPT) != 0,
                                       .pre_vote = (m->flags & NODE_CONSENSUS_PRE_VOTE) != 0};
        return true;
    case NODE_VOTED:
        to->type = RAFT_IO_REQUEST_VOTE_RESULT;
        to->request_vote_result = (struct raft_request_vote_result){
            .term = m->term,
            .vote_granted = (m->flags & NODE_CONSENSUS_GRANTED) != 0,
            .pre_vote = TO_RAFT_TRIBOOL((m->flags & NODE_CONSENSUS_PRE_VOTE) != 0)};
        return true;
    case NODE_INSTALL:
        to->type = RAFT_IO_INSTALL_SNAPSHOT;
        to->install_snapshot = (struct raft_install_snapshot){.term = m->term,
                                                              .last_index = m->index,
                                                              .last_term = m->index_term,
                                                              .conf_index = m->other};
        return take_snapshot(&to->install_snapshot, m);
    case NODE_TIMEOUT_NOW:
    default:
        to->type = RAFT_IO_TIMEOUT_NOW;
        to->timeout_now = (struct raft_timeout_now){
            .term = m->term, .last_log_index = m->index, .last_log_term = m->index_term};
        return true;
    }
}

/* Of libraft's, which are not in its header. */
enum progress_state {
    PROGRESS_PROBE = 0,
    PROGRESS_SNAPSHOT = 2,
};

/*
 * A follower that was sent a snapshot, and has said since that it has more than that, by an answer
 * that was late: libraft (0.15) waits for it to say that it has the snapshot, and does not hear
 * that, as it is less than was said before. It is probed from what it has.
 */
static void end_snapshot(struct raft *r, uint64_t follower)
{
    for (unsigned i = 0; r->state == RAFT_LEADER && i < r->configuration.n; i++) {
        struct raft_progress *const p = &r->leader_state.progress[i];
        if (r->configuration.servers[i].id == follower && p->state == PROGRESS_SNAPSHOT &&
            p->match_index >= p->snapshot_index) {
            p->state = PROGRESS_PROBE;
            p->next_index = p->match_index + 1;
            p->snapshot_index = 0;
        }
    }
}

/*
 * Of entries, those that are behind this server's snapshot: what is in that is committed, so the
 * leader has the same. libraft (0.15) refuses what begins before its log, but not what begins with
 * the first entry of all: that it writes behind its log, and breaks when it does not find it there.
 */
static void skip_snapshot(const struct consensus *c, struct node_consensus *m)
{
    const uint64_t index = c->raft.log.snapshot.last_index;
    struct node_entry entry;
    if (m->index >= index) {
        return;
    }
    while (m->index < index && m->data.len > 0 && node_entry_next(&m->data, &entry)) {
        m->index++;
    }
    if (m->index < index) {
        m->data = bytes_of(NULL, 0);
    }
    m->index = index;
    m->index_term = c->raft.log.snapshot.last_term;
}

struct place {
    uint64_t index, term;
};

/* Of the last entry that a message is about. */
static struct place last_place(const struct node_consensus *m)
{
    struct place last = {.index = m->index, .term = m->index_term};
    struct bytes rest = m->kind == NODE_APPEND ? m->data : bytes_of(NULL, 0);
    struct node_entry entry;
    while (rest.len > 0 && node_entry_next(&rest, &entry)) {
        last.index++;
        last.term = entry.term;
    }
    return last;
}

static uint64_t term_at(const struct consensus *c, uint64_t index)
{
    const struct raft_log *const l = &c->raft.log;
    if (index == l->snapshot.last_index) {
        return l->snapshot.last_term;
    }
    const bool is_there =
        index > l->offset && index <= raft_last_index((struct raft *)(uintptr_t)&c->raft);
    return is_there ? l->entries[(l->front + index - 1 - l->offset) % l->size].term : 0;
}

/* Two logs that have an entry of the same index and term are the same up to it. */
static void match(struct consensus *c, uint64_t term, const struct place *last)
{
    if (term < c->raft.current_term || term_at(c, last->index) != last->term) {
        return;
    }
    if (c->matched_term != term) {
        c->matched_term = term;
        c->matched = 0;
    }
    c->matched = last->index > c->matched ? last->index : c->matched;
}

/*
 * Of entries, those before the first that replaces one of this server's, as long as anything is
 * being written: the leader sends the others again. libraft (0.15) counts who uses an entry by its
 * index and term, and confuses the one that goes with the same one when it comes again; and of what
 * it wrote as a leader it cuts off the log where it began, which may be behind the end by then.
 */
static void keep_what_is_written(const struct consensus *c, struct node_consensus *m)
{
    struct bytes rest = m->data;
    struct node_entry entry;
    for (uint64_t index = m->index + 1; rest.len > 0; index++) {
        const size_t before = m->data.len - rest.len;
        if (!node_entry_next(&rest, &entry)) {
            return;
        }
        const uint64_t term = term_at(c, index);
        if (term != 0 && term != entry.term) {
            m->data = bytes_of(m->data.at, before);
            return;
        }
    }
}

/*
 * That a majority has an entry of an earlier term does not commit it: a leader that lacks it may be
 * elected still (Ongaro, 3.6.2). libraft (0.15) does not look at the term, so it does not hear of
 * the last one that is stored here, until that is of this term.
 */
static void hold_back(const struct consensus *c, struct node_consensus *m)
{
    const struct raft *const r = &c->raft;
    const bool is_counted = r->state == RAFT_LEADER && m->term == r->current_term && m->other == 0;
    if (is_counted && r->last_stored > r->commit_index && m->index >= r->last_stored &&
        term_at(c, r->last_stored) < r->current_term) {
        m->index = r->last_stored - 1;
    }
}

/* Two of one term cannot be. libraft takes that for granted, and ends the process. */
static bool is_of_another_leader(const struct raft *r, const struct node_consensus *m)
{
    return (m->kind == NODE_APPEND || m->kind == NODE_INSTALL) && r->state == RAFT_LEADER &&
           m->term == r->current_term;
}

/* Whoever has a leader elects no other one; and who has no vote, and so no election of its own, has
 * one for ever by libraft (0.15). */
static void forget_leader(struct consensus *c)
{
    struct raft *const r = &c->raft;
    if (r->state == RAFT_FOLLOWER && c->now_ms >= r->election_timer_start + r->election_timeout) {
        r->follower_state.current_leader.id = 0;
    }
}

/*
 * Who has been made a voter may be needed for a majority before it has heard that it is one: so any
 * server answers who wants to be elected, and who counts knows whose votes count (Ongaro, 4.2.1).
 * libraft (0.15) has only those answer who are voters by their own word.
 */
static void hand_over(struct consensus *c, struct raft_message *m)
{
    struct raft_configuration *const now = &c->raft.configuration;
    struct raft_server *self = NULL;
    for (unsigned i = 0; m->type == RAFT_IO_REQUEST_VOTE && i < now->n; i++) {
        self = now->servers[i].id == c->conf.self ? &now->servers[i] : self;
    }
    const int role = self != NULL ? self->role : 0;
    if (self != NULL && role != RAFT_VOTER) {
        forget_leader(c);
        self->role = RAFT_VOTER;
    }
    c->recv(&c->io, m);
    if (self != NULL) {
        self->role = role; /* a request of a vote changes no configuration */
    }
}

static enum consensus_err receive(struct consensus *c, uint64_t from,
                                  const struct node_consensus *message)
{
    char address[ADDRESS_BYTES];
    struct raft_message m = {.server_id = from, .server_address = address};
    words_address(address, from);
    if (lease_forbids_vote(c, message)) {
        return CONSENSUS_OK;
    }
    if (message->kind == NODE_APPENDED) {
        end_snapshot(&c->raft, from);
        lease_answered(c, from, message);
    }
    if (message->kind == NODE_APPEND) {
        lease_heard(c, from, message);
    }
    if (!servers_roll_back(c, message) || !from_words(&m, message)) {
        return CONSENSUS_NO_MEMORY;
    }
    hand_over(c, &m);
    return CONSENSUS_OK;
}

enum consensus_err words_receive(struct consensus *c, uint64_t from,
                                 const struct node_consensus *message)
{
    struct node_consensus m = *message;
    if (is_of_another_leader(&c->raft, &m)) {
        return CONSENSUS_MALFORMED;
    }
    if (m.kind == NODE_APPENDED) {
        hold_back(c, &m);
    }
    if (m.kind != NODE_APPEND && m.kind != NODE_INSTALL) {
        return receive(c, from, &m);
    }
    if (m.kind == NODE_APPEND) {
        skip_snapshot(c, &m);
        if (io_is_appending(c)) {
            keep_what_is_written(c, &m);
        }
    }
    const struct place last = last_place(&m);
    if (m.kind == NODE_APPEND && m.other > last.index) {
        m.other = last.index; /* what is behind that may be of an earlier leader */
    }
    match(c, m.term, &last); /* before: it may be answered at once */
    const enum consensus_err err = receive(c, from, &m);
    match(c, m.term, &last);
    return err;
}
