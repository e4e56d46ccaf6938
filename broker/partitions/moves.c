/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition moves: an incarnation ends, and others go on from there (cluster/meta/meta.h).
 *
 *   those who are to take over are let into the group, without a vote ─▶ they copy ─ HAVE ─▶
 *   when they are near: SEALED, an entry; who leads has no sessions from then on
 *   META is told where that is ─▶ who has it all on disk tells META ─▶ another duty: the next one
 *
 * Nothing is acknowledged behind SEALED: who proposes it drops its sessions in the same moment, and
 * nobody who has applied it revives any. What is in front of it in the log is committed before it.
 */
#include <string.h>

#include "broker/log/log.h"
#include "broker/partitions/partitions_parts.h"
#include "broker/store/entry.h"
#include "broker/store/store.h"
#include "proto/node_copy.h"

#define LOOK_MS   500u
#define NEAR      2000u /* entries that those who take over may lack, for an end */
#define NO_TICKET 0u    /* the ledger's begin with 1 */

static const struct partitions_hooks *hooks_of(const struct partition *p)
{
    return p->shard->node->partitions->conf.hooks;
}

static bool is_here(const struct partition *p)
{
    return p->opening == OPENING_NONE && p->role != PARTITION_ABSENT && p->role != PARTITION_FAILED;
}

/* ---- what META is told */

static void tell_sealed(const struct partition *p)
{
    if (p->move.sealed != 0 && p->conf.sealed == 0 && !p->conf.joins &&
        hooks_of(p)->sealed != NULL) {
        hooks_of(p)->sealed(p->shard, p->number, p->conf.incarnation, p->move.sealed);
    }
}

static void tell_held(const struct partition *p)
{
    if (p->conf.sealed != 0 && p->conf.moved != 0 && p->place.sealed == p->conf.sealed &&
        hooks_of(p)->held != NULL) {
        hooks_of(p)->held(p->shard, p->number, p->conf.incarnation, p->conf.moved);
    }
}

void move_said(struct partition *p)
{
    tell_sealed(p);
    tell_held(p);
    p->move.newcomers_count = 0; /* who takes over says anew how far it is */
    p->shard->node->partitions->of_shard[p->shard->id].moves_ms = 0;
}

void move_sealed(struct partition *p, uint64_t sealed)
{
    if (sealed == 0 || sealed == p->move.sealed) {
        return;
    }
    p->move.sealed = sealed;
    partition_cease(p);
    log_event(LOG_INFO, "partition_sealed", LOG_NUMBER("partition", p->number),
              LOG_NUMBER("incarnation", p->place.incarnation),
              LOG_NUMBER("index", partition_end_index(sealed)));
    move_written(p);
    tell_sealed(p);
}

void move_written(struct partition *p)
{
    if (p->move.sealed != 0 && p->place.index == partition_end_index(p->move.sealed)) {
        p->place.sealed = p->move.sealed;
        tell_held(p);
    }
}

/* ---- who takes over */

static void say_have(const struct partition *p)
{
    uint8_t body[NODE_COPY_HEAD_BYTES];
    const struct node_copy have = {.kind = NODE_COPY_HAVE,
                                   .partition = (uint8_t)p->number,
                                   .incarnation = p->place.incarnation,
                                   .index = p->applied};
    node_copy_encode(body, &have);
    group_say_beside(p->shard, p->number, p->leader, bytes_of(body, sizeof body));
}

void move_has(struct partition *p, uint64_t number, uint64_t index)
{
    struct partition_move *const m = &p->move;
    unsigned i = 0;
    while (i < m->newcomers_count && m->newcomers[i].number != number) {
        i++;
    }
    if (i == sizeof m->newcomers / sizeof m->newcomers[0]) {
        m->newcomers_count = i = 0; /* of former moves: who is still to come says so again */
    }
    m->newcomers_count += i == m->newcomers_count;
    m->newcomers[i] = (struct partition_newcomer){.number = number, .index = index};
}

static bool is_near(const struct partition *p, uint64_t number)
{
    for (unsigned i = 0; i < p->move.newcomers_count; i++) {
        if (p->move.newcomers[i].number == number) {
            return p->move.newcomers[i].index + NEAR >= p->applied;
        }
    }
    return false;
}

/* ---- who leads: one change of the group's servers at a time */

/* It is of the incarnation, or to take over. */
static bool is_wanted(const struct partition *p, uint64_t number)
{
    for (unsigned i = 0; i < p->conf.servers_count + p->conf.newcomers_count; i++) {
        if (p->conf.servers[i].number == number) {
            return true;
        }
    }
    return false;
}

static enum node_server_role role_of(struct bytes servers, uint64_t number)
{
    struct node_server server;
    while (servers.len > 0 && node_server_next(&servers, &server)) {
        if (server.id == number) {
            return (enum node_server_role)server.role;
        }
    }
    return NODE_SERVER_NONE;
}

static void change(const struct partition *p, uint64_t number, enum node_server_role role)
{
    if (group_change(p->shard, p->number, number, role) != GROUP_OK) {
        log_event(LOG_DEBUG, "partition_server_unchanged", LOG_NUMBER("partition", p->number),
                  LOG_NUMBER("number", number)); /* it is asked for again */
    }
}

/* true: something was to be changed. */
static bool change_servers(const struct partition *p, struct bytes servers)
{
    for (unsigned i = 0; i < p->conf.newcomers_count; i++) {
        const uint64_t number = p->conf.servers[p->conf.servers_count + i].number;
        const enum node_server_role role = role_of(servers, number);
        if (role == NODE_SERVER_NONE || role == NODE_SERVER_SPARE) {
            change(p, number, role == NODE_SERVER_NONE ? NODE_SERVER_SPARE : NODE_SERVER_STANDBY);
            return true;
        }
    }
    struct node_server server;
    while (servers.len > 0 && node_server_next(&servers, &server)) {
        if (server.role != NODE_SERVER_VOTER && !is_wanted(p, server.id)) {
            change(p, server.id, NODE_SERVER_NONE);
            return true;
        }
    }
    return false;
}

static bool are_all_near(const struct partition *p)
{
    for (unsigned i = 0; i < p->conf.newcomers_count; i++) {
        if (!is_near(p, p->conf.servers[p->conf.servers_count + i].number)) {
            return false;
        }
    }
    return true;
}

static void seal(struct partition *p)
{
    const struct entry e = {.type = ENTRY_SEALED, .term = p->term};
    struct field_writer w = {.at = NULL};
    entry_write(&w, &e);
    const struct bytes entry = field_written(&w);
    if (entry.len > 0 && group_propose(p->shard, p->number, entry, NO_TICKET) == GROUP_OK) {
        partition_cease(p);
    }
    field_writer_fini(&w);
}

static void lead(struct partition *p)
{
    uint8_t servers[(GROUPS_SERVERS_MAX + 1) * NODE_SERVER_BYTES];
    const size_t len = group_servers(p->shard, p->number, NULL);
    if (len == 0 || len > sizeof servers) {
        return;
    }
    (void)group_servers(p->shard, p->number, servers);
    if (!change_servers(p, bytes_of(servers, len)) && p->conf.seal && p->role == PARTITION_LEADS &&
        are_all_near(p)) {
        seal(p);
    }
}

void moves_turn(struct shard *s)
{
    struct partitions *const all = s->node->partitions;
    struct shard_partitions *const mine = &all->of_shard[s->id];
    if (s->now_ms < mine->moves_ms) {
        return;
    }
    mine->moves_ms = s->now_ms + LOOK_MS;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct partition *const p = &all->of[i];
        if (s->node->partition_shard[i] != s->id || !is_here(p)) {
            continue;
        }
        if (p->conf.joins && p->leader != 0) {
            say_have(p);
        } else if (!p->conf.joins && group_state(s, i).leads) {
            lead(p);
        }
    }
}

uint64_t moves_next_ms(const struct shard *s)
{
    return s->node->partitions->of_shard[s->id].moves_ms;
}
