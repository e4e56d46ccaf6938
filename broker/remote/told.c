/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/remote/told.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/local.h"
#include "proto/topic.h"

/* On its way to shard 0, and back. */
struct post_tell {
    struct post_head head;
    struct told told;
    struct bytes name; /* of a filter: in the index; of a member: on the heap, shard 0's */
};

struct post_told {
    struct post_head head;
    struct told told;
};

struct post_untell {
    struct post_head head;
    struct bytes name; /* on the heap, shard 0's */
};

/* Who waits, on shard 0. */
struct telling {
    struct telling *next;
    struct told told;
    uint64_t version; /* that the others are to have */
    unsigned from;
};

static enum node_interest_kind kind_of(struct bytes name)
{
    return topic_is_share(name) ? NODE_INTEREST_GROUP : NODE_INTEREST_FILTER;
}

/* $SYS, $SYS/… */
static bool is_own(struct bytes filter)
{
    static const char own[] = "$SYS";
    const size_t len = sizeof own - 1;
    return filter.len >= len && memcmp(filter.at, own, len) == 0 &&
           (filter.len == len || filter.at[len] == '/');
}

bool told_is_needed(const struct shard *s, struct bytes name)
{
    struct bytes share, plain = name;
    if (s->remote == NULL) {
        return false;
    }
    return (!topic_is_share(name) || topic_share_parse(name, &share, &plain)) && !is_own(plain);
}

static struct bytes copy_of(struct bytes name)
{
    uint8_t *const copy = remote_alloc(name.len);
    memcpy(copy, name.at, name.len);
    return bytes_of(copy, name.len);
}

static void free_copy(struct bytes copy)
{
    free((void *)(uintptr_t)copy.at);
}

/* ---- shard 0 */

static void push(struct telling **first, struct telling ***end, struct telling *t)
{
    t->next = NULL;
    if (*first == NULL) {
        *end = first;
    }
    **end = t;
    *end = &t->next;
}

static struct telling *pop(struct telling **first)
{
    struct telling *const t = *first;
    if (t != NULL) {
        *first = t->next;
    }
    return t;
}

static void answer_later(struct remote *r, struct telling *t)
{
    push(&r->answers, &r->answers_end, t);
}

/* false: too many wait already. */
static bool wait(struct shard *s, struct telling *t)
{
    struct remote *const r = s->remote;
    if (interest_is_reached(r->interest, t->version)) {
        answer_later(r, t);
        return true;
    }
    switch (interest_wait(r->interest, t->version, 0, s->now_ms)) {
    case INTEREST_OK:
        push(&r->waiting, &r->waiting_end, t);
        return true;
    case INTEREST_FULL:
        return false;
    default:
        remote_out_of_memory();
    }
}

static void take(struct shard *s, unsigned from, struct bytes name, const struct told *told)
{
    struct remote *const r = s->remote;
    struct telling *const t = remote_alloc(sizeof *t);
    *t = (struct telling){.told = *told, .from = from};
    if (interest_take(r->interest, kind_of(name), name, s->now_ms, &t->version) != INTEREST_OK) {
        remote_out_of_memory();
    }
    if (r->late != NULL || !wait(s, t)) {
        push(&r->late, &r->late_end, t);
    }
}

/* Called by interest, which may not be called back. */
void told_reached(struct shard *s, uint32_t without)
{
    struct telling *const t = pop(&s->remote->waiting); /* they come in the order of the waits */
    assert(t != NULL);
    if (without != 0) {
        shard_count(s, METRIC_subscribe_unheard);
    }
    answer_later(s->remote, t);
}

void told_turn(struct shard *s)
{
    struct remote *const r = s->remote;
    while (r->late != NULL) {
        struct telling *const t = r->late;
        struct telling *const next = t->next;
        if (!wait(s, t)) {
            break;
        }
        r->late = next;
    }
    for (struct telling *t; (t = pop(&r->answers)) != NULL; free(t)) {
        if (t->from == s->id) {
            local_told(s, &t->told);
            continue;
        }
        struct post_told *const p = post_reserve(s, t->from, POST_TOLD, sizeof *p);
        p->told = t->told;
        post_commit(s, t->from);
    }
}

void told_on_tell(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_tell *const p = (const void *)record;
    take(s, from, p->name, &p->told);
    if (p->told.filter == NULL) {
        free_copy(p->name);
    }
}

void told_on_untell(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    const struct bytes name = ((const struct post_untell *)(const void *)record)->name;
    interest_put(s->remote->interest, kind_of(name), name, s->now_ms);
    free_copy(name);
}

static void free_all(struct telling **first)
{
    for (struct telling *t; (t = pop(first)) != NULL;) {
        free(t);
    }
}

void told_fini(struct remote *r)
{
    free_all(&r->answers);
    free_all(&r->waiting);
    free_all(&r->late);
}

/* ---- before the shards run */

struct taking {
    struct shard *shard;
    struct interest *interest;
};

static bool take_filter(void *context, struct table_link *link)
{
    const struct taking *const t = context;
    const struct local_filter *const f = table_object(link, struct local_filter, by_name);
    const struct bytes name = local_filter_name(f);
    const uint32_t times = f->shared ? f->sessions.count : 1;
    uint64_t version;
    for (uint32_t i = 0; told_is_needed(t->shard, name) && i < times; i++) {
        if (interest_take(t->interest, kind_of(name), name, 0, &version) != INTEREST_OK) {
            return false;
        }
    }
    return true;
}

bool told_all(struct shard *s, struct interest *interest)
{
    struct taking taking = {.shard = s, .interest = interest};
    return table_all(&s->filters, take_filter, &taking);
}

/* ---- any shard */

static void tell(struct shard *s, struct bytes name, const struct told *told)
{
    if (s->id == 0) {
        take(s, 0, name, told);
        return;
    }
    struct post_tell *const p = post_reserve(s, 0, POST_TELL, sizeof *p);
    p->told = *told;
    p->name = told->filter == NULL ? copy_of(name) : name;
    post_commit(s, 0);
}

void told_filter(struct shard *s, struct local_filter *f, uint64_t filter_id, const uint8_t *text)
{
    const struct told told = {.filter = f, .filter_id = filter_id, .text = text};
    tell(s, bytes_of(text, f->name_len), &told);
}

void told_member(struct shard *s, struct bytes name, struct subscribe_job *job)
{
    const struct told told = {.job = job};
    tell(s, name, &told);
}

void told_on_told(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    local_told(s, &((const struct post_told *)(const void *)record)->told);
}

void told_end(struct shard *s, struct bytes name)
{
    if (!told_is_needed(s, name)) {
        return;
    }
    if (s->id == 0) {
        interest_put(s->remote->interest, kind_of(name), name, s->now_ms);
        return;
    }
    struct post_untell *const p = post_reserve(s, 0, POST_UNTELL, sizeof *p);
    p->name = copy_of(name);
    post_commit(s, 0);
}
