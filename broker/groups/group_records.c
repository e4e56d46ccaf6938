/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/groups/group_records.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct group_records *group_records_create(void)
{
    return calloc(1, sizeof(struct group_records));
}

static void drop_first(struct group_run *run)
{
    struct group_record *const r = run->first;
    run->first = r->next;
    if (run->first == NULL) {
        run->last = NULL;
    }
    run->behind = NULL;
    free(r);
}

void group_run_clear(struct group_run *run)
{
    while (run->first != NULL) {
        drop_first(run);
    }
}

void group_records_destroy(struct group_records *r)
{
    for (unsigned p = 0; r != NULL && p < RECORD_PARTITIONS; p++) {
        group_run_clear(&r->of[p]);
    }
    free(r);
}

static uint8_t kind_of(const struct group_record *r)
{
    return r->bytes[0];
}

/* In order of index. Those of one journal come so; each goes on from where the last one is. */
static void put_in(struct group_run *run, struct group_record *r)
{
    struct group_record **at = &run->first;
    if (run->last != NULL && run->last->index < r->index) {
        at = &run->last->next;
    } else if (run->behind != NULL && (*run->behind)->index < r->index) {
        at = &(*run->behind)->next;
    }
    while (*at != NULL && (*at)->index < r->index) {
        at = &(*at)->next;
    }
    r->next = *at;
    *at = r;
    run->behind = at;
    if (r->next == NULL) {
        run->last = r;
    }
}

/* It is complete up to there: what is before the last GROUP_AGAIN is void. */
static void drop_void(struct group_run *run, uint64_t whole)
{
    uint64_t from = 0;
    for (const struct group_record *r = run->first; r != NULL && r->index < whole; r = r->next) {
        from = kind_of(r) == GROUP_AGAIN ? r->index : from;
    }
    if (from > run->from) {
        run->from = from;
    }
    while (run->first != NULL && run->first->index < run->from) {
        drop_first(run);
    }
}

bool group_records_add(struct group_records *r, unsigned shard, const struct record *record,
                       bool *is_unknown)
{
    assert(record->partition < RECORD_PARTITIONS);
    assert(shard < 64);
    struct group_run *const run = &r->of[record->partition];
    const struct bytes body = record->body;
    *is_unknown = body.len == 0 || body.at[0] > GROUP_GIVEN_UP;
    if (*is_unknown) {
        return false;
    }
    r->count++;
    r->largest = body.len > r->largest ? body.len : r->largest;
    run->journals |= UINT64_C(1) << shard;
    run->highest = record->index > run->highest ? record->index : run->highest;
    if (record->index < run->from) {
        return true;
    }
    struct group_record *const own = malloc(sizeof *own + body.len);
    if (own == NULL) {
        return false;
    }
    *own = (struct group_record){.index = record->index, .shard = shard, .len = body.len};
    memcpy(own->bytes, body.at, body.len);
    put_in(run, own);
    if (body.at[0] == GROUP_WHOLE) {
        drop_void(run, record->index);
    }
    return true;
}

static void take_out(struct group_record **at)
{
    struct group_record *const r = *at;
    *at = r->next;
    free(r);
}

/* From *at up to that index, or the end. */
static void drop_from(struct group_record **at, uint64_t index)
{
    while (*at != NULL && (*at)->index <= index) {
        take_out(at);
    }
}

/* What was begun, and not completed. false: the last of it was being written. */
static bool drop_unfinished(struct group_run *run)
{
    struct group_record **cut = NULL, **at = &run->first;
    while (*at != NULL) {
        const uint8_t kind = kind_of(*at);
        if (kind == GROUP_AGAIN && cut == NULL) {
            cut = at;
        }
        if (kind == GROUP_GIVEN_UP && cut != NULL) {
            drop_from(cut, (*at)->index);
            at = cut;
            cut = NULL;
        } else if (kind == GROUP_WHOLE) {
            cut = NULL;
            at = &(*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
    if (cut != NULL) {
        drop_from(cut, UINT64_MAX);
    }
    return cut == NULL;
}

bool group_run_settle(struct group_run *run)
{
    const bool is_well = drop_unfinished(run);
    for (struct group_record **at = &run->first; *at != NULL;) {
        if (kind_of(*at) == GROUP_RECORD) {
            at = &(*at)->next;
        } else {
            take_out(at);
        }
    }
    run->behind = NULL;
    run->last = run->first;
    while (run->last != NULL && run->last->next != NULL) {
        run->last = run->last->next;
    }
    return is_well;
}

uint64_t group_run_journals(const struct group_run *run)
{
    uint64_t journals = 0;
    for (const struct group_record *r = run->first; r != NULL; r = r->next) {
        journals |= UINT64_C(1) << r->shard;
    }
    return journals;
}
