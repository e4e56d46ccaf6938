/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/consensus/consensus.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/consensus/consensus_parts.h"

struct consensus_conf consensus_conf_defaults(void)
{
    return (struct consensus_conf){.heartbeat_ms = 100,
                                   .election_ms = 1000,
                                   .install_ms = 30000,
                                   .snapshot_every = 8192,
                                   .trailing_max = 1024,
                                   .message_bytes_max = (size_t)1 << 20,
                                   .waiting_bytes_max = (size_t)16 << 20,
                                   .proposals_bytes_max = (size_t)16 << 20};
}

/* ---- What entries come to: the caller's */

static struct consensus *of(const struct raft_fsm *fsm)
{
    return fsm->data;
}

static int on_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct consensus *const c = of(fsm);
    *result = NULL;
    const uint64_t index = c->raft.last_applied + 1;
    c->conf.events.apply(c->conf.events.context, index, bytes_of(buf->base, buf->len));
    batch_applied(c, index);
    return 0;
}

static int on_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct consensus *const c = of(fsm);
    struct bytes data;
    if (!c->conf.events.snapshot(c->conf.events.context, &data)) {
        return RAFT_BUSY;
    }
    *bufs = raft_calloc(1, sizeof **bufs);
    if (*bufs == NULL) {
        free((void *)(uintptr_t)data.at);
        return RAFT_NOMEM;
    }
    /* libraft's allocator is malloc()'s, as nobody has set another one. */
    (*bufs)[0] = (struct raft_buffer){.base = (void *)(uintptr_t)data.at, .len = data.len};
    *n_bufs = 1;
    return 0;
}

static int on_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct consensus *const c = of(fsm);
    if (!c->conf.events.restore(c->conf.events.context, bytes_of(buf->base, buf->len))) {
        return RAFT_IOERR;
    }
    c->restored++;
    raft_free(buf->base);
    return 0;
}

/* ---- Life */

struct consensus *consensus_create(const struct consensus_conf *conf)
{
    assert(conf->self > 0);
    assert(conf->trailing_max > 0); /* 0 is what another server's snapshot has, in records */

    struct consensus *const c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    char address[ADDRESS_BYTES];
    c->conf = *conf;
    c->random = conf->seed;
    c->last_waiting = &c->first_waiting;
    c->last_outgoing = &c->first_outgoing;
    c->last_proposal = &c->first_proposal;
    c->stored.first = 1;
    c->fsm = (struct raft_fsm){
        .version = 1, .data = c, .apply = on_apply, .snapshot = on_snapshot, .restore = on_restore};
    io_init(c);
    words_address(address, conf->self);
    if (raft_init(&c->raft, &c->io, &c->fsm, conf->self, address) != 0) {
        free(c);
        return NULL;
    }
    raft_set_heartbeat_timeout(&c->raft, conf->heartbeat_ms);
    raft_set_election_timeout(&c->raft, conf->election_ms);
    raft_set_install_snapshot_timeout(&c->raft, conf->install_ms);
    raft_set_snapshot_threshold(&c->raft, conf->snapshot_every);
    raft_set_snapshot_trailing(&c->raft, conf->trailing_max);
    raft_set_pre_vote(&c->raft, true);
    return c;
}

static void on_closed(struct raft *raft)
{
    (void)raft;
}

void consensus_destroy(struct consensus *c)
{
    if (c == NULL) {
        return;
    }
    raft_close(&c->raft, on_closed);
    io_cancel(c);
    c->close(&c->io);
    batch_end(c);
    stored_fini(&c->stored);
    free(c);
}

enum consensus_err consensus_recover(struct consensus *c, struct bytes record)
{
    assert(!c->started);
    return stored_read(&c->stored, record);
}

bool consensus_is_blank(const struct consensus *c)
{
    return c->stored.snapshot.index == 0 && c->stored.count == 0 && c->stored.vote == 0;
}

enum consensus_err consensus_err_of(int raft_err)
{
    switch (raft_err) {
    case 0:
        return CONSENSUS_OK;
    case RAFT_NOTLEADER:
        return CONSENSUS_NOT_LEADER;
    case RAFT_NOMEM:
        return CONSENSUS_NO_MEMORY;
    case RAFT_CANTCHANGE:
    case RAFT_BUSY:
        return CONSENSUS_BUSY;
    default:
        return CONSENSUS_FAILED;
    }
}

enum consensus_err consensus_bootstrap(struct consensus *c, struct bytes servers)
{
    struct raft_configuration configuration;
    assert(!c->started);
    if (!words_configuration(&configuration, servers)) {
        return CONSENSUS_NO_MEMORY;
    }
    const int err = raft_bootstrap(&c->raft, &configuration);
    raft_configuration_close(&configuration);
    return consensus_err_of(err);
}

enum consensus_err consensus_bootstrap_behind(struct consensus *c, struct bytes servers,
                                              uint64_t index, uint64_t term, struct bytes data)
{
    assert(!c->started);
    assert(index > 0 && term > 0);
    const struct stored_snapshot snapshot = {.index = index,
                                             .term = term,
                                             .configuration_index = index,
                                             .configuration = (uint8_t *)servers.at,
                                             .configuration_len = servers.len,
                                             .data = (uint8_t *)data.at,
                                             .len = data.len};
    return stored_write_begin(c, &snapshot) ? CONSENSUS_OK : CONSENSUS_NO_MEMORY;
}

enum consensus_err consensus_start(struct consensus *c, uint64_t now_ms)
{
    assert(!c->started);
    c->now_ms = c->started_ms = now_ms;
    /* It leads at once, and libraft (0.15) has it do so in the term that it was in: what others
     * were sent of it, and its disk has lost, would have the same term and index as what comes now.
     */
    if (servers_only_self(&c->stored, c->conf.self) && !stored_write_term(c, c->stored.term + 1)) {
        return CONSENSUS_NO_MEMORY;
    }
    const int err = raft_start(&c->raft);
    c->started = err == 0;
    c->failed = err != 0;
    if (c->started) {
        io_settle(c);
    }
    return consensus_err_of(err);
}

/* ---- What happens */

bool consensus_is_running(struct consensus *c, uint64_t now_ms)
{
    assert(now_ms >= c->now_ms);
    c->now_ms = now_ms;
    return c->started && !c->failed;
}

void consensus_durable(struct consensus *c, uint64_t written, uint64_t now_ms)
{
    assert(written <= c->written);
    if (written > c->durable) {
        c->durable = written;
    }
    if (consensus_is_running(c, now_ms)) {
        io_settle(c);
    }
}

enum consensus_err consensus_write_again(struct consensus *c)
{
    if (!c->started || c->failed) {
        return CONSENSUS_FAILED;
    }
    if (c->raft.snapshot.put.data != NULL || raft_last_index(&c->raft) + 1 != c->next) {
        return CONSENSUS_BUSY;
    }
    return stored_write_again(c) ? CONSENSUS_OK : CONSENSUS_NO_MEMORY;
}

struct bytes consensus_snapshot(const struct consensus *c)
{
    return bytes_of(c->stored.snapshot.data, c->stored.snapshot.len);
}

uint64_t consensus_written(const struct consensus *c)
{
    return c->written;
}

enum consensus_err consensus_received(struct consensus *c, uint64_t from,
                                      const struct node_consensus *message, uint64_t now_ms)
{
    if (!consensus_is_running(c, now_ms)) {
        return CONSENSUS_FAILED;
    }
    const enum consensus_err err = words_receive(c, from, message);
    io_settle(c);
    return err != CONSENSUS_OK ? err : c->failed ? CONSENSUS_FAILED : CONSENSUS_OK;
}

void consensus_turn(struct consensus *c, uint64_t now_ms)
{
    if (!consensus_is_running(c, now_ms)) {
        return;
    }
    if (now_ms >= c->tick_ms) {
        c->tick_ms = now_ms + c->conf.heartbeat_ms;
        c->tick(&c->io);
    }
    io_settle(c);
}

uint64_t consensus_next_ms(const struct consensus *c)
{
    return c->started && !c->failed ? c->tick_ms : UINT64_MAX;
}

/* ---- Proposals */

enum consensus_err consensus_propose(struct consensus *c, struct bytes entry, uint64_t ticket,
                                     uint64_t now_ms)
{
    if (!consensus_is_running(c, now_ms)) {
        return CONSENSUS_FAILED;
    }
    if (!consensus_leads(c)) {
        return CONSENSUS_NOT_LEADER;
    }
    if (c->proposals_bytes + entry.len > c->conf.proposals_bytes_max) {
        return CONSENSUS_BUSY;
    }
    struct proposal *const p = malloc(sizeof *p + entry.len);
    if (p == NULL) {
        return CONSENSUS_NO_MEMORY;
    }
    *p = (struct proposal){.ticket = ticket, .len = entry.len};
    if (entry.len > 0) {
        memcpy(p->bytes, entry.at, entry.len);
    }
    *c->last_proposal = p;
    c->last_proposal = &p->next;
    c->proposals_bytes += entry.len;
    io_settle(c);
    return CONSENSUS_OK;
}

static void on_transferred(struct raft_transfer *request)
{
    struct consensus *const c = request->data;
    c->transferring = false;
}

enum consensus_err consensus_transfer(struct consensus *c, uint64_t to, uint64_t now_ms)
{
    if (!consensus_is_running(c, now_ms)) {
        return CONSENSUS_FAILED;
    }
    if (c->transferring) {
        return CONSENSUS_BUSY;
    }
    c->transfer.data = c;
    c->transferring = true;
    const int err = raft_transfer(&c->raft, &c->transfer, to, on_transferred);
    c->transferring = err == 0;
    c->given_away_term = err == 0 ? c->raft.current_term : c->given_away_term;
    io_settle(c);
    return err == RAFT_BADID || err == RAFT_NOTFOUND ? CONSENSUS_NOT_LEADER : consensus_err_of(err);
}

/* ---- Figures */

bool consensus_has_failed(const struct consensus *c)
{
    return c->failed;
}

bool consensus_leads(const struct consensus *c)
{
    return c->started && !c->failed && c->raft.state == RAFT_LEADER;
}

uint64_t consensus_leader(const struct consensus *c)
{
    raft_id id = 0;
    const char *address;
    if (c->started && !c->failed) {
        raft_leader((struct raft *)(uintptr_t)&c->raft, &id, &address);
    }
    return id;
}

struct consensus_figures consensus_figures(const struct consensus *c)
{
    return (struct consensus_figures){.term = c->raft.current_term,
                                      .last = c->next - 1,
                                      .committed = c->raft.commit_index,
                                      .applied = c->raft.last_applied,
                                      .snapshots = c->snapshots,
                                      .restored = c->restored,
                                      .sent = c->sent,
                                      .dropped = c->dropped};
}
