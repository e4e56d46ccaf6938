/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/publish.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/conn/publishable.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/message.h"
#include "broker/partitions/partitions.h"
#include "broker/remote/forward.h"
#include "broker/replicated/replicated.h"
#include "broker/route/deliver.h"
#include "broker/route/index.h"
#include "broker/route/local.h"
#include "broker/route/match_cache.h"
#include "broker/route/promise.h"
#include "broker/route/retained.h"
#include "broker/session/kept.h"
#include "broker/session/will.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "proto/node_publish.h"
#include "proto/topic.h"

struct post_deliver {
    struct post_head head;
    uint32_t count;
    struct message *message; /* a reference, the record's */
    uint64_t ticket;         /* to be told when it is kept; 0: no need, or not yet */
    uint64_t filter_ids[];   /* none: all records of the message have come, this is its ticket */
};

struct post_deliver_shared {
    struct post_head head;
    struct message *message; /* a reference, the record's */
    uint64_t group_id;
    uint64_t subscription_id; /* the member's */
    uint64_t publisher_hash;
    uint64_t ticket; /* as above */
    unsigned hidden; /* as struct due has it */
};

struct post_retain {
    struct post_head head;
    struct retain_job *job; /* the asking shard's; here only its message may be looked at */
    enum retain_result result;
};

/* One record carries that many; a message that matches more takes several. */
#define FILTERS_PER_RECORD ((POST_BYTES_MAX - sizeof(struct post_deliver)) / sizeof(uint64_t))

/* ---- who has to keep it */

/* Of what the last match has found on that shard, is anything kept? */
static bool keeps(const struct shard *s, unsigned shard)
{
    const struct shard *const other = s->node->shards[shard];
    for (size_t i = 0; i < s->match.filter_count && other->kept_filters != NULL; i++) {
        const struct match_filter *const f = &s->match.filters[i];
        if ((f->shards >> shard & 1) != 0 && local_keeps(other, f->filter_id)) {
            return true;
        }
    }
    return false;
}

/* The ticket under which the message goes to that shard, if it has to keep it; 0: nobody waits. */
static uint64_t ticket_for(struct shard *s, unsigned to, const struct message *m, bool is_kept)
{
    if (m->qos == 0 || !is_kept || kept_hurries(s->node->shards[to], m)) {
        return 0;
    }
    return promise_wait_for(s, to);
}

static void promise(struct shard *s, unsigned from, uint64_t ticket)
{
    if (ticket != 0) {
        promise_ticket(s, from, ticket);
    }
}

/*
 * A ticket says that all of the message was dealt with, so it comes with the last record: with the
 * only one, or with one behind them all, as a shard may read them in different turns.
 */
static uint64_t ticket_in_record(struct shard *s, unsigned to, uint64_t ticket)
{
    if (ticket == 0 || !s->route_several) {
        return ticket;
    }
    s->route_ends |= 1ull << to;
    return 0;
}

static void post_ticket(struct shard *s, unsigned to, struct message *m)
{
    struct post_deliver *const p = post_reserve(s, to, POST_DELIVER, sizeof *p);
    p->count = 0;
    p->message = message_take(m, 1);
    p->ticket = s->ticket;
    post_commit(s, to);
}

static void post_tickets(struct shard *s, struct message *m)
{
    for (; s->route_ends != 0; s->route_ends &= s->route_ends - 1) {
        post_ticket(s, (unsigned)__builtin_ctzll(s->route_ends), m);
    }
    s->route_several = false;
}

void publish_wait_for(struct shard *s, unsigned target, struct message *m)
{
    if (s->store == NULL || (s->route_waits >> target & 1) != 0) {
        return;
    }
    const uint64_t ticket = promise_wait_for(s, target);
    if (target == s->id) {
        promise(s, s->id, ticket);
    } else {
        post_ticket(s, target, m);
    }
}

/* ---- plain subscriptions */

/* The matched filters that the shard has subscribers for, into ids[0..max); *at goes on from call
 * to call. */
static size_t ids_of_shard(const struct match *match, unsigned shard, size_t *at, uint64_t *ids,
                           size_t max)
{
    size_t n = 0;
    for (; *at < match->filter_count && n < max; (*at)++) {
        if ((match->filters[*at].shards >> shard & 1) != 0) {
            ids[n++] = match->filters[*at].filter_id;
        }
    }
    return n;
}

static void hand_over(struct shard *s, unsigned to, struct message *m)
{
    uint64_t ids[FILTERS_PER_RECORD];
    size_t at = 0;
    const uint64_t ticket = ticket_for(s, to, m, s->ledger == NULL && keeps(s, to));
    while (at < s->match.filter_count) {
        const size_t n = ids_of_shard(&s->match, to, &at, ids, FILTERS_PER_RECORD);
        if (n == 0) {
            break;
        }
        if (to == s->id) {
            deliver_to_filters(s, m, ids, n);
            promise(s, s->id, ticket);
            continue;
        }
        struct post_deliver *p = post_reserve(s, to, POST_DELIVER, sizeof *p + n * sizeof ids[0]);
        p->count = (uint32_t)n;
        p->message = message_take(m, 1);
        p->ticket = ticket_in_record(s, to, ticket);
        memcpy(p->filter_ids, ids, n * sizeof ids[0]);
        post_commit(s, to);
    }
}

void publish_on_deliver(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_deliver *p = (const void *)record;
    deliver_to_filters(s, p->message, p->filter_ids, p->count);
    promise(s, from, p->ticket);
    message_put(p->message);
}

/* ---- shared subscriptions */

/* _Static_assert: the configuration's order is the index's. */
_Static_assert((int)SHARE_ROUND_ROBIN == (int)CONFIG_ROUND_ROBIN, "strategies");
_Static_assert((int)SHARE_RANDOM == (int)CONFIG_RANDOM, "strategies");
_Static_assert((int)SHARE_STICKY == (int)CONFIG_STICKY, "strategies");
_Static_assert((int)SHARE_HASH_CLIENT == (int)CONFIG_HASH_CLIENT, "strategies");
_Static_assert((int)SHARE_HASH_TOPIC == (int)CONFIG_HASH_TOPIC, "strategies");

static void drop(struct shard *s, enum metric reason, const struct message *m)
{
    shard_drop(s, reason, bytes_of(NULL, 0), message_topic(m));
}

/* Another member may see what is hidden from this one. So many are tried, as each costs a turn. */
#define HIDDEN_MAX 4u

static void look_for_another(struct shard *s, const struct due *due)
{
    if (due->hidden > HIDDEN_MAX) {
        drop(s, METRIC_drop_hidden, due->message);
        return;
    }
    shard_count(s, METRIC_shared_redispatched);
    shard_due_again(s, message_take(due->message, 1), due->group_id, due->except,
                    due->publisher_hash, due->hidden);
}

/* To the member, which is of this shard; NULL: it has left. */
static void give_to_member(struct shard *s, const struct share_member *member,
                           const struct due *due)
{
    struct due again = *due;
    if (member != NULL && deliver_to_member(member, due->message, due->group_id)) {
        return;
    }
    again.hidden += member != NULL;
    look_for_another(s, &again);
}

/* only_here: by another node, which has chosen this one. false: there is no member. */
static bool give_to_group(struct shard *s, const struct share_group *group, struct due *due,
                          bool only_here)
{
    struct message *const m = due->message;
    const enum share_strategy strategy =
        (enum share_strategy)s->config->shared_subscriptions.strategy;
    const struct share_choice how = {
        .strategy = strategy,
        .self = s->id,
        .publisher_hash = due->publisher_hash,
        .topic_hash = m->topic_hash,
        .random = strategy == SHARE_RANDOM ? shard_random(s) : 0,
        .except = due->except,
        .only_here = only_here,
        .here_first = s->config->shared_subscriptions.prefer_local,
    };
    const struct share_member *member = share_pick(group, &how);
    if (member == NULL) {
        return false;
    }
    due->group_id = share_group_id(group);
    due->except = member->subscription_id;
    if (member->shard >= INDEX_PEER_FIRST) {
        forward_group(s, member->shard - INDEX_PEER_FIRST, m, group, due);
        return true;
    }
    const uint64_t ticket = ticket_for(s, member->shard, m, member->kept);
    if (member->shard == s->id) {
        promise(s, s->id, ticket);
        /* Or it has left, and the index's writer has yet to hear of it. */
        give_to_member(s, member->subscription == NULL ? NULL : member, due);
        return true;
    }
    struct post_deliver_shared *p = post_reserve(s, member->shard, POST_DELIVER_SHARED, sizeof *p);
    p->message = message_take(m, 1);
    p->group_id = due->group_id;
    p->subscription_id = due->except;
    p->publisher_hash = due->publisher_hash;
    p->ticket = ticket_in_record(s, member->shard, ticket);
    p->hidden = due->hidden;
    post_commit(s, member->shard);
    return true;
}

static void give_to_any(struct shard *s, const struct share_group *group, struct due *due)
{
    if (!give_to_group(s, group, due, false)) {
        drop(s, due->hidden > 0 ? METRIC_drop_hidden : METRIC_drop_shared_no_member, due->message);
    }
}

void publish_on_deliver_shared(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_deliver_shared *p = (const void *)record;
    promise(s, from, p->ticket);
    const struct due due = {.message = p->message,
                            .group_id = p->group_id,
                            .except = p->subscription_id,
                            .publisher_hash = p->publisher_hash,
                            .hidden = p->hidden};
    give_to_member(s, local_member(s, p->subscription_id), &due);
    message_put(due.message);
}

/* ---- all of them */

size_t publish_deliveries(struct shard *s, const struct post_head *record)
{
    if (record->type == POST_DELIVER_SHARED) {
        return 1;
    }
    assert(record->type == POST_DELIVER);
    const struct post_deliver *p = (const void *)record;
    size_t deliveries = p->count > 0 ? p->count : 1;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct local_filter *f = local_filter_by_id(s, p->filter_ids[i]);
        deliveries += f == NULL || f->sessions.count == 0 ? 0 : f->sessions.count - 1;
    }
    return deliveries;
}

static bool is_spared(const struct shard *s, const struct share_group *group)
{
    const struct route_spares *const spares = s->route_spares;
    for (size_t i = 0; spares != NULL && i < spares->groups_count; i++) {
        if (spares->groups[i] == share_group_name(group)) {
            return true;
        }
    }
    return false;
}

static uint64_t targets_of(const struct match *match)
{
    uint64_t targets = 0;
    for (size_t i = 0; i < match->filter_count; i++) {
        targets |= match->filters[i].shards;
    }
    return targets;
}

bool publish_is_refused(struct shard *s, const struct message *m, uint8_t *reason)
{
    if (!store_refuses(s, reason) || match_cached(s->match_cache, s->node->index, message_topic(m),
                                                  m->topic_hash, &s->match) != INDEX_OK) {
        return false;
    }
    uint64_t shards = targets_of(&s->match) & INDEX_SHARDS_MASK;
    for (; shards != 0; shards &= shards - 1) {
        if (keeps(s, (unsigned)__builtin_ctzll(shards))) {
            return true;
        }
    }
    for (size_t i = 0; i < s->match.group_count; i++) {
        if (share_keeps(s->match.groups[i])) {
            return true;
        }
    }
    return false;
}

/* false: no memory, and it is dropped. */
static bool begin(struct shard *s, const struct message *m)
{
    ASSERT_OWNED(s);

    s->route_waits = 0;
    s->route_reason = 0;
    if (match_cached(s->match_cache, s->node->index, message_topic(m), m->topic_hash, &s->match) !=
        INDEX_OK) {
        drop(s, METRIC_drop_no_memory, m);
        return false;
    }
    s->work += s->match.steps;
    s->route_several = s->match.filter_count > FILTERS_PER_RECORD ||
                       s->match.group_count > (s->match.filter_count > 0 ? 0 : 1);
    return true;
}

static void to_shards(struct shard *s, struct message *m, uint64_t shards)
{
    for (; shards != 0; shards &= shards - 1) {
        hand_over(s, (unsigned)__builtin_ctzll(shards), m);
    }
}

/* Not the broker's own: each node has them. What is retained is, on all that live. */
static void to_peers(struct shard *s, struct message *m, uint64_t peers)
{
    if (m->versioned) {
        peers |= forward_living(s);
    }
    if (publishable_is_own(message_topic(m))) {
        return;
    }
    for (; peers != 0; peers &= peers - 1) {
        forward_plain(s, (unsigned)__builtin_ctzll(peers), m);
    }
}

/* To partitions that several nodes have, and to the transient subscribers of the others. A retained
 * message is stored by all that live, before; so they are sent it twice. false: it has to go as
 * ever. */
static bool dispatched(struct shard *s, struct message *m, const struct dispatch_view *view,
                       uint64_t targets)
{
    if (!dispatch_run_takes(s, m)) {
        return false;
    }
    if (m->versioned) {
        to_peers(s, m, 0);
    }
    dispatch_run_put(s, m, view, targets);
    return true;
}

size_t publish_route(struct shard *s, struct message *m, uint64_t publisher_hash)
{
    struct dispatch_view view = {.changes = 0};
    if (dispatch_run_takes(s, m)) {
        view = dispatch_run_look(s);
    }
    if (!begin(s, m)) {
        return 0;
    }
    const uint64_t targets = targets_of(&s->match);
    to_shards(s, m, targets & INDEX_SHARDS_MASK);
    if (s->remote != NULL && !dispatched(s, m, &view, targets)) {
        to_peers(s, m, targets >> INDEX_PEER_FIRST);
    }
    for (size_t i = 0; i < s->match.group_count; i++) {
        struct due due = {.message = m, .publisher_hash = publisher_hash};
        if (!is_spared(s, s->match.groups[i])) {
            give_to_any(s, s->match.groups[i], &due);
        }
    }
    post_tickets(s, m);
    const size_t matched = s->match.filter_count + s->match.group_count;
    const bool asks = (s->route_waits >> (INDEX_PEER_FIRST + PEERS_SELF) & 1) != 0;
    return matched == 0 && asks ? 1 : matched; /* it is not known, where partitions are asked */
}

/* false: the group has no member here. */
static bool give_here(struct shard *s, struct message *m, struct bytes share, struct bytes plain)
{
    for (size_t i = 0; i < s->match.group_count; i++) {
        if (share_is(s->match.groups[i], share, plain)) {
            struct due due = {.message = m};
            return give_to_group(s, s->match.groups[i], &due, true);
        }
    }
    return false;
}

bool publish_arrived(struct shard *s, struct message *m, struct bytes groups)
{
    if (!begin(s, m)) {
        return true;
    }
    if (groups.len == 0) {
        to_shards(s, m, targets_of(&s->match) & INDEX_SHARDS_MASK);
        post_tickets(s, m);
        return true;
    }
    bool all = true;
    struct bytes text, share, plain;
    while (node_group_next(&groups, &text)) {
        all = topic_share_parse(text, &share, &plain) && give_here(s, m, share, plain) && all;
    }
    post_tickets(s, m);
    return all;
}

/* Of these filters, those that kept sessions may subscribe to; how many they are. */
static size_t those_kept(const struct shard *s, uint64_t *ids, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (local_keeps(s, ids[i])) {
            ids[n++] = ids[i];
        }
    }
    return n;
}

enum publish_partition publish_to_partition(struct shard *s, unsigned partition, struct message *m,
                                            uint64_t stream, uint64_t operation)
{
    uint64_t ids[FILTERS_PER_RECORD];
    size_t at = 0;
    bool any = false;
    if (!begin(s, m)) {
        return PUBLISH_PARTITION_NOT_NOW;
    }
    if (partition_is_repetition(s, partition, m)) {
        return PUBLISH_PARTITION_NOBODY;
    }
    kept_operation(s, stream, operation);
    while (at < s->match.filter_count) {
        const size_t found = ids_of_shard(&s->match, s->id, &at, ids, FILTERS_PER_RECORD);
        const size_t n = those_kept(s, ids, found);
        any = (n > 0 && deliver_to_partition(s, partition, m, ids, n)) || any;
    }
    kept_operation(s, 0, 0);
    return any ? PUBLISH_PARTITION_QUEUED : PUBLISH_PARTITION_NOBODY;
}

/* Again to the group that it was for, as the member chosen first is gone. */
static void route_to_group(struct shard *s, struct due *due)
{
    if (index_match(s->node->index, message_topic(due->message), &s->match) != INDEX_OK) {
        drop(s, METRIC_drop_no_memory, due->message);
        return;
    }
    for (size_t i = 0; i < s->match.group_count; i++) {
        if (share_group_id(s->match.groups[i]) == due->group_id) {
            give_to_any(s, s->match.groups[i], due);
            return;
        }
    }
    drop(s, METRIC_drop_shared_no_member, due->message);
}

/* ---- retained messages */

static enum retain_result store(struct shard *s, struct message *m)
{
    struct node *node = s->node;
    if (m->payload_len == 0) { /* [MQTT-3.3.1-6, 3.3.1-7] */
        if (retained_delete(s->retained, message_topic(m))) {
            kept_unretained(s, m);
            atomic_fetch_sub_explicit(&node->retained, 1, memory_order_relaxed);
            shard_count(s, METRIC_retained_deleted);
        }
        return RETAIN_DONE;
    }
    uint8_t reason;
    if (s->store != NULL && store_refuses(s, &reason)) {
        shard_count(s, METRIC_retained_refused);
        return RETAIN_FULL;
    }
    if (atomic_load_explicit(&node->retained, memory_order_relaxed) >=
            (int64_t)s->config->limits.retained_messages_max &&
        retained_get(s->retained, message_topic(m)) == NULL) {
        shard_count(s, METRIC_retained_refused);
        return RETAIN_FULL;
    }
    bool was_new;
    if (retained_set(s->retained, m, &was_new) != RETAINED_OK) {
        shard_count(s, METRIC_retained_refused);
        return RETAIN_FULL;
    }
    kept_retained(s, m);
    if (was_new) {
        atomic_fetch_add_explicit(&node->retained, 1, memory_order_relaxed);
    }
    shard_count(s, METRIC_retained_set);
    return RETAIN_DONE;
}

/* Of the broker's own: it has them in memory only, and always has room for them. */
static enum retain_result store_own(struct shard *s, struct message *m)
{
    bool was_new;
    if (m->payload_len == 0) {
        (void)retained_delete(s->retained, message_topic(m));
        return RETAIN_DONE;
    }
    return retained_set(s->retained, m, &was_new) == RETAINED_OK ? RETAIN_DONE : RETAIN_FULL;
}

/* The next start is not to do it once more: others may have stored another one since. */
static enum retain_result store_once(struct shard *s, struct message *m)
{
    if (publishable_is_own(message_topic(m))) {
        return store_own(s, m);
    }
    const enum retain_result result = store(s, m);
    kept_will_retained(s, m);
    return result;
}

/* For the disk, where the shard has one? */
static bool waits(const struct shard *s, const struct retain_job *job)
{
    if (publishable_is_own(message_topic(job->message))) {
        return false;
    }
    return s->store != NULL && !kept_hurries(s, job->message);
}

enum retain_result publish_retain(struct shard *s, struct retain_job *job)
{
    ASSERT_OWNED(s);
    assert(job->message->retain);

    if (s->node->replicated != NULL && !publishable_is_own(message_topic(job->message))) {
        return replicated_retain(s, job);
    }
    const unsigned owner = index_owner(s->node->index, message_topic(job->message));
    if (owner == s->id) {
        const enum retain_result result = store_once(s, job->message);
        if (result != RETAIN_DONE || !waits(s, job)) {
            return result;
        }
        promise_retain(s, s->id, job, result);
        return RETAIN_WAIT;
    }
    struct post_retain *p = post_reserve(s, owner, POST_RETAIN, sizeof *p);
    p->job = job;
    post_commit(s, owner);
    return RETAIN_WAIT;
}

void publish_on_retain(struct shard *s, unsigned from, const struct post_head *record)
{
    struct retain_job *job = ((const struct post_retain *)(const void *)record)->job;
    const enum retain_result result = store_once(s, job->message);
    if (result == RETAIN_DONE && waits(s, job)) {
        promise_retain(s, from, job, result);
    } else {
        publish_retain_kept(s, from, job, result);
    }
}

void publish_retain_kept(struct shard *s, unsigned from, struct retain_job *job,
                         enum retain_result result)
{
    if (from == s->id) {
        job->done(s, job, result);
        return;
    }
    struct post_retain *p = post_reserve(s, from, POST_RETAINED, sizeof *p);
    p->job = job;
    p->result = result;
    post_commit(s, from);
}

void publish_on_retained(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    const struct post_retain *p = (const void *)record;
    p->job->done(s, p->job, p->result);
}

/* No entry says so: whoever reads the message again sees that its time is over. */
static void on_expired(void *shard, struct message *m)
{
    struct shard *const s = shard;
    replicated_expired(s, m);
    if (s->store != NULL) {
        difference_topic(s, message_topic(m), m->topic_hash);
    }
}

void publish_expire_retained(struct shard *s)
{
    const unsigned steps = 1000;
    const unsigned dropped = retained_expire(s->retained, s->now_ms, steps, on_expired, s);
    if (dropped > 0) {
        atomic_fetch_sub_explicit(&s->node->retained, (int64_t)dropped, memory_order_relaxed);
        metrics_add(&s->metrics, METRIC_retained_expired, dropped);
    }
}

/* ---- what the shard itself has to say */

struct due_job {
    struct retain_job job;
    uint64_t publisher_hash;
};

/* A retained will: sent to those who are there, stored or not. */
static void on_due_retained(struct shard *s, struct retain_job *job, enum retain_result result)
{
    (void)result; /* counted where it was refused */
    struct due_job *due = (struct due_job *)job;
    publish_route(s, job->message, due->publisher_hash);
    will_routed(s, job->message);
    message_put(job->message);
    free(due);
}

static void route_due(struct shard *s, struct due *due)
{
    if (due->group_id != 0) {
        route_to_group(s, due);
        message_put(due->message);
        return;
    }
    struct due_job *job = due->message->retain ? malloc(sizeof *job) : NULL;
    if (job == NULL) {
        if (due->message->retain) {
            shard_count(s, METRIC_retained_refused);
        }
        publish_route(s, due->message, due->publisher_hash);
        will_routed(s, due->message);
        message_put(due->message);
        return;
    }
    *job = (struct due_job){
        .job = {.done = on_due_retained, .message = due->message},
        .publisher_hash = due->publisher_hash,
    };
    const enum retain_result result = publish_retain(s, &job->job);
    if (result != RETAIN_WAIT) {
        on_due_retained(s, &job->job, result);
    }
} /* NOLINT(clang-analyzer-unix.Malloc): else the answer frees the job */

void publish_due(struct shard *s)
{
    struct due *due = s->due_first; /* what these set off is for the next turn */
    s->due_first = NULL;
    s->due_last = NULL;
    while (due != NULL) {
        struct due *next = due->next;
        route_due(s, due);
        free(due);
        due = next;
    }
}
