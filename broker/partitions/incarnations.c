/* SPDX-License-Identifier: Apache-2.0 */
/* Which incarnation of a partition is here: from one to the next, or to none. */
#include <assert.h>

#include "broker/config/config.h"
#include "broker/log/log.h"
#include "broker/partitions/partitions_parts.h"
#include "broker/store/store.h"

static struct applier_thread *applier_of(const struct partition *p)
{
    return p->shard->node->partitions->applier;
}

static struct shard_partitions *mine(const struct partition *p)
{
    return &p->shard->node->partitions->of_shard[p->shard->id];
}

/* ---- the group */

static size_t encode_first(const struct partition *p, uint8_t *out)
{
    size_t len = 0;
    for (unsigned i = 0; i < p->conf.servers_count; i++) {
        const struct node_server server = {.id = p->conf.servers[i].number,
                                           .role = NODE_SERVER_VOTER};
        len += node_server_encode(out + len, &server);
    }
    return len;
}

static enum partition_err open_group(struct partition *p)
{
    uint8_t first[PARTITION_SERVERS_MAX * NODE_SERVER_BYTES];
    const uint64_t behind = partition_end_index(p->conf.begins);
    struct group_conf conf = {.servers = p->conf.servers,
                              .servers_count = p->conf.servers_count + p->conf.newcomers_count,
                              .self = p->conf.self,
                              .incarnation = p->conf.incarnation,
                              .bootstrap = !p->conf.joins &&
                                           (p->place.index == 0 || p->place.index == behind),
                              .behind_index = behind,
                              .behind_term = partition_end_term(p->conf.begins),
                              .checkpointed = p->place.index};
    conf.first = bytes_of(first, encode_first(p, first));
    p->opening = OPENING_NONE;
    p->move = (struct partition_move){.sealed = p->place.sealed};
    p->applied = p->place.index;
    p->role = PARTITION_FOLLOWS; /* entries may come at once */
    const enum group_err err = group_open(p->shard, p->number, &conf);
    if (err == GROUP_OK) {
        move_said(p);
        return PARTITION_OK;
    }
    p->role = PARTITION_ABSENT;
    return err == GROUP_NO_MEMORY ? PARTITION_NO_MEMORY
           : err == GROUP_NO_DISK ? PARTITION_NO_DISK
                                  : PARTITION_CORRUPT;
}

/* Where in the journal the records of what was there are void. */
static uint64_t close_group(struct partition *p)
{
    uint64_t void_at = 0;
    partition_cease(p);
    copies_forget(p);
    if (p->role != PARTITION_ABSENT) {
        void_at = group_close(p->shard, p->number);
        p->stopped = p->place.incarnation; /* what it has promised in it is forgotten */
    }
    const uint64_t forgotten = group_forget(p->shard, p->number);
    p->role = PARTITION_ABSENT;
    p->leader = p->term = 0;
    return void_at > forgotten ? void_at : forgotten;
}

/* ---- the records */

static void begin(struct partition *p, const struct partition_place *place, bool erase)
{
    p->generation++;
    p->place = *place;
    applier_begin(applier_of(p), p->number, p->generation, place, erase);
}

void partition_erase_all(struct partition *p)
{
    const struct partition_place place = {.incarnation = p->place.incarnation,
                                          .changed = p->place.changed};
    begin(p, &place, true);
}

void partition_note(struct shard *s, unsigned number, uint64_t changed)
{
    struct partition *const p = partition_of(s, number);
    if (changed > p->place.changed) {
        p->place.changed = changed;
        applier_note(applier_of(p), number, changed);
    }
}

/* ---- the steps */

/* Does this node have all of what the incarnation goes on from? */
static bool holds(const struct partition *p, const struct partition_conf *conf)
{
    return conf->begins != 0 && p->place.sealed == conf->begins &&
           p->place.index == partition_end_index(conf->begins) &&
           p->place.incarnation + 1 == conf->incarnation;
}

static void become(struct partition *p, const struct partition_conf *next)
{
    partition_cease(p);
    mine(p)->opening &= ~(UINT64_C(1) << p->number);
    p->next = *next;
    p->opening = OPENING_NOTED;
    partition_flush(p);
}

static void end_former(struct partition *p)
{
    const bool is_held = holds(p, &p->next);
    const uint64_t void_at = close_group(p);
    p->void_at = void_at > p->void_at ? void_at : p->void_at; /* of one before, it may not be yet */
    p->conf = p->next;
    p->begins = (struct partition_place){.incarnation = p->next.incarnation,
                                         .index = is_held ? p->place.index : 0};
    p->erases = !is_held;
    p->opening = OPENING_VOID;
    mine(p)->opening |= UINT64_C(1) << p->number;
}

static void begin_next(struct partition *p)
{
    mine(p)->opening &= ~(UINT64_C(1) << p->number);
    p->opening = p->next.incarnation == 0 ? OPENING_NONE : OPENING_BEGUN;
    p->begins.changed = p->place.changed;
    begin(p, &p->begins, p->erases);
    partition_flush(p);
}

void incarnation_flushed(struct partition *p)
{
    if (p->opening == OPENING_NOTED) {
        end_former(p);
        return;
    }
    const enum partition_err err = p->opening == OPENING_BEGUN ? open_group(p) : PARTITION_OK;
    if (err != PARTITION_OK) {
        log_event(LOG_ERROR, "partition_not_served", LOG_NUMBER("partition", p->number),
                  LOG_NUMBER("incarnation", p->conf.incarnation),
                  LOG_TEXT("reason", partition_err_text(err)));
    }
}

void incarnations_turn(struct shard *s)
{
    struct partitions *const all = s->node->partitions;
    for (uint64_t set = all->of_shard[s->id].opening; set != 0; set &= set - 1) {
        struct partition *const p = &all->of[__builtin_ctzll(set)];
        if (store_durable(s->store) >= p->void_at) {
            begin_next(p);
        }
    }
}

/* ---- what META says */

enum partition_err partition_serve(struct shard *s, unsigned number,
                                   const struct partition_conf *conf)
{
    struct partition *const p = partition_of(s, number);
    assert(conf->incarnation > 0 && conf->self > 0);
    if (s->store == NULL || s->store->durability == CONFIG_DURABILITY_MEMORY) {
        return PARTITION_NO_DISK;
    }
    if (conf->begins != 0 && partition_end_term(conf->begins) == 0) {
        return PARTITION_CORRUPT; /* no end of anything */
    }
    if (p->stopped == conf->incarnation && !conf->joins) {
        return PARTITION_STOPPED;
    }
    partition_note(s, number, conf->changed);
    if (p->opening != OPENING_NONE && p->next.incarnation == conf->incarnation) {
        p->next = *conf;
        p->conf = p->opening == OPENING_NOTED ? p->conf : *conf;
        return PARTITION_OK;
    }
    if (p->opening != OPENING_NONE || p->place.incarnation != conf->incarnation) {
        become(p, conf);
        return PARTITION_OK;
    }
    p->conf = *conf;
    if (p->role == PARTITION_ABSENT) {
        return open_group(p);
    }
    group_set_servers(s, number, conf->servers, conf->servers_count + conf->newcomers_count);
    move_said(p);
    return PARTITION_OK;
}

void partition_stop(struct shard *s, unsigned number)
{
    const struct partition_conf none = {.incarnation = 0};
    become(partition_of(s, number), &none);
}
