/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/local.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/route/index.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"

/* About: a subscription; a filter, besides its text, which the index has once more; and where it
 * has wildcards, each of its levels there (trie.h). Measured with ./dev load subscriptions. */
#define SUBSCRIPTION_BYTES 128u
#define FILTER_BYTES       192u
#define LEVEL_BYTES        80u

/* ---- what goes between a shard that subscribes and the shard that writes the index part */

struct post_filter_add {
    struct post_head head;
    struct local_filter *filter; /* stays where it is until the answer: `adding` */
};

struct post_filter_added {
    struct post_head head;
    struct local_filter *filter;
    uint64_t id; /* 0: out of memory */
};

struct filter_copy { /* on the heap; the receiver's */
    uint16_t len, share_name_len;
    uint8_t name[];
};

struct post_filter_remove {
    struct post_head head;
    struct filter_copy *filter;
};

struct post_share_join {
    struct post_head head;
    struct filter_copy *filter;
    struct share_member *member; /* in the answer not to be touched if it has left meanwhile */
    uint64_t subscription_id;    /* the member's */
    struct subscribe_job *job;
    bool failed; /* the answer: out of memory */
};

struct post_share_leave {
    struct post_head head;
    struct share_member *member;
};

/* "$share/NAME/FILTER" less "$share/NAME/" */
static struct bytes plain_part(struct bytes name, size_t share_name_len)
{
    const size_t before = share_name_len == 0 ? 0 : sizeof "$share/" - 1 + share_name_len + 1;
    return bytes_of(name.at + before, name.len - before);
}

static struct bytes share_part(struct bytes name, size_t share_name_len)
{
    return bytes_of(name.at + sizeof "$share/" - 1, share_name_len);
}

static struct filter_copy *filter_copy(const struct local_filter *f)
{
    struct filter_copy *copy = malloc(sizeof *copy + f->name_len);
    if (copy != NULL) {
        copy->len = f->name_len;
        copy->share_name_len = f->share_name_len;
        memcpy(copy->name, f->name, f->name_len);
    }
    return copy;
}

static unsigned owner_of(const struct local_filter *f)
{
    return index_owner(shard_self->node->index,
                       plain_part(local_filter_name(f), f->share_name_len));
}

/* ---- what they take */

static size_t filter_bytes(struct bytes filter)
{
    const bool wildcards =
        memchr(filter.at, '+', filter.len) != NULL || memchr(filter.at, '#', filter.len) != NULL;
    return FILTER_BYTES + 2 * filter.len + (wildcards ? LEVEL_BYTES * topic_levels(filter) : 0);
}

size_t local_subscription_bytes(struct bytes filter)
{
    return SUBSCRIPTION_BYTES + filter_bytes(filter);
}

/* ---- filters */

static struct local_filter *filter_find(struct shard *s, struct bytes name, uint64_t hash)
{
    struct table_link *link = table_find(&s->filters, hash);
    for (; link != NULL; link = table_find_next(link)) {
        struct local_filter *f = table_object(link, struct local_filter, by_name);
        if (bytes_equal(local_filter_name(f), name)) {
            return f;
        }
    }
    return NULL;
}

static uint64_t name_hash(const struct shard *s, struct bytes name)
{
    return XXH3_64bits_withSeed(name.at, name.len, s->node->seed);
}

static uint64_t id_hash(uint64_t id)
{
    return XXH3_64bits(&id, sizeof id);
}

static struct local_filter *filter_create(struct shard *s, struct bytes name,
                                          struct bytes share_name)
{
    struct local_filter *f = calloc(1, sizeof *f + name.len);
    if (f == NULL) {
        return NULL;
    }
    f->name_len = (uint16_t)name.len;
    f->share_name_len = (uint16_t)share_name.len;
    f->shared = share_name.len > 0;
    memcpy(f->name, name.at, name.len);
    table_insert(&s->filters, &f->by_name, name_hash(s, name));
    s->subscription_bytes += filter_bytes(name);
    return f;
}

static void filter_free(struct shard *s, struct local_filter *f)
{
    assert(f->count == 0);
    assert(!f->adding);
    s->subscription_bytes -= filter_bytes(local_filter_name(f));
    table_remove(&s->filters, &f->by_name);
    if (f->id != 0 && !f->shared) {
        table_remove(&s->filters_by_id, &f->by_id);
    }
    free(f->many);
    free(f);
}

static void filter_activate(struct shard *s, struct local_filter *f, uint64_t id)
{
    f->id = id;
    table_insert(&s->filters_by_id, &f->by_id, id_hash(id));
}

/* The last subscriber has gone: the index must not send us its messages any longer. */
static void filter_withdraw(struct shard *s, struct local_filter *f)
{
    if (f->shared || f->id == 0) {
        filter_free(s, f);
        return;
    }
    const unsigned owner = owner_of(f);
    if (owner == s->id) {
        index_remove(s->node->index, s->id, local_filter_name(f), s->id);
    } else {
        struct filter_copy *copy = filter_copy(f);
        if (copy == NULL) {
            return; /* it stays, without subscribers, until it is subscribed to and left again */
        }
        struct post_filter_remove *r = post_reserve(s, owner, POST_FILTER_REMOVE, sizeof *r);
        r->filter = copy;
        post_commit(s, owner);
    }
    filter_free(s, f);
}

struct local_filter *local_filter_by_id(struct shard *s, uint64_t id)
{
    struct table_link *link = table_find(&s->filters_by_id, id_hash(id));
    for (; link != NULL; link = table_find_next(link)) {
        struct local_filter *f = table_object(link, struct local_filter, by_id);
        if (f->id == id) {
            return f;
        }
    }
    return NULL;
}

/* ---- the subscribers of one filter */

static bool filter_grow(struct local_filter *f)
{
    if (f->capacity == 0 && f->count == 0) {
        return true; /* `one` will do */
    }
    if (f->capacity > f->count) {
        return true;
    }
    const uint32_t capacity = f->capacity == 0 ? 4 : f->capacity * 2;
    struct subscription **many = realloc(f->many, capacity * sizeof(struct subscription *));
    if (many == NULL) {
        return false;
    }
    if (f->capacity == 0) {
        many[0] = f->one;
    }
    f->many = many;
    f->capacity = capacity;
    return true;
}

static void filter_add_subscription(struct local_filter *f, struct subscription *sub)
{
    sub->index = f->count++;
    if (f->capacity == 0) {
        f->one = sub;
    } else {
        f->many[sub->index] = sub;
    }
}

static void filter_take_subscription(struct local_filter *f, struct subscription *sub)
{
    f->count--;
    if (f->capacity > 0 && sub->index != f->count) {
        f->many[sub->index] = f->many[f->count];
        f->many[sub->index]->index = sub->index;
    }
    if (f->count == 0) {
        free(f->many);
        f->many = NULL;
        f->capacity = 0;
        f->one = NULL;
    }
}

/* ---- subscriptions */

static uint64_t subscription_hash(const struct session *session, const struct local_filter *f)
{
    const struct {
        uint64_t session, filter;
    } key = {session->serial, f->by_name.hash};
    return XXH3_64bits(&key, sizeof key);
}

static struct subscription *find_in(struct session *session, const struct local_filter *f)
{
    struct shard *s = session->shard;
    struct table_link *link = table_find(&s->subscriptions, subscription_hash(session, f));
    for (; link != NULL; link = table_find_next(link)) {
        struct subscription *sub = table_object(link, struct subscription, by_session);
        if (sub->session == session && sub->filter == f) {
            return sub;
        }
    }
    return NULL;
}

struct subscription *local_find(struct session *session, struct bytes filter)
{
    ASSERT_OWNED(session->shard);
    struct local_filter *f = filter_find(session->shard, filter, name_hash(session->shard, filter));
    return f == NULL ? NULL : find_in(session, f);
}

static struct share_member *member_create(struct session *session, struct subscription *sub)
{
    struct shard *s = session->shard;
    struct share_member *member = calloc(1, sizeof *member);
    if (member == NULL) {
        return NULL;
    }
    member->subscription_id = shard_serial(s);
    member->client_hash = session->client_hash;
    member->shard = s->id;
    member->subscription = sub;
    atomic_init(&member->online, session->conn != NULL);
    table_insert(&s->members, &member->by_id, id_hash(member->subscription_id));
    return member;
}

struct share_member *local_member(struct shard *s, uint64_t subscription_id)
{
    struct table_link *link = table_find(&s->members, id_hash(subscription_id));
    for (; link != NULL; link = table_find_next(link)) {
        struct share_member *member = table_object(link, struct share_member, by_id);
        if (member->subscription_id == subscription_id) {
            return member;
        }
    }
    return NULL;
}

static struct subscription *subscription_create(struct session *session, struct local_filter *f,
                                                const struct subscribe_options *options)
{
    struct subscription *sub = calloc(1, sizeof *sub);
    if (sub == NULL || !filter_grow(f)) {
        free(sub);
        return NULL;
    }
    sub->session = session;
    sub->filter = f;
    sub->options = *options;
    if (f->shared) {
        sub->member = member_create(session, sub);
        if (sub->member == NULL) {
            free(sub);
            return NULL;
        }
    }
    filter_add_subscription(f, sub);
    table_insert(&session->shard->subscriptions, &sub->by_session, subscription_hash(session, f));
    sub->next = session->subscriptions;
    if (sub->next != NULL) {
        sub->next->prev = sub;
    }
    session->subscriptions = sub;
    session->subscription_count++;
    session->subscription_bytes += local_subscription_bytes(local_filter_name(f));
    session->shard->subscription_bytes += SUBSCRIPTION_BYTES;
    return sub;
}

/* Out of the shard's own structures; the index is the caller's, and so is the member. */
static void subscription_free(struct subscription *sub)
{
    struct session *session = sub->session;
    struct shard *s = session->shard;
    assert(sub->replay == NULL);
    filter_take_subscription(sub->filter, sub);
    table_remove(&s->subscriptions, &sub->by_session);
    if (sub->prev != NULL) {
        sub->prev->next = sub->next;
    } else {
        session->subscriptions = sub->next;
    }
    if (sub->next != NULL) {
        sub->next->prev = sub->prev;
    }
    session->subscription_count--;
    session->subscription_bytes -= local_subscription_bytes(local_filter_name(sub->filter));
    s->subscription_bytes -= SUBSCRIPTION_BYTES;
    if (sub->member != NULL) {
        table_remove(&s->members, &sub->member->by_id);
        sub->member->subscription = NULL;
    }
    free(sub);
}

static bool wait_for(struct local_filter *f, struct subscribe_job *job)
{
    struct local_waiter *w = malloc(sizeof *w);
    if (w == NULL) {
        return false;
    }
    *w = (struct local_waiter){.next = f->waiting, .job = job};
    f->waiting = w;
    job->pending++;
    return true;
}

/* Tells the index of the shard's first subscriber. */
static enum local_err filter_announce(struct shard *s, struct local_filter *f,
                                      struct subscribe_job *job)
{
    if (f->adding) {
        return wait_for(f, job) ? LOCAL_WAIT : LOCAL_NO_MEMORY;
    }
    if (f->id != 0) {
        return LOCAL_OK;
    }
    const unsigned owner = owner_of(f);
    if (owner == s->id) {
        uint64_t id;
        if (index_add(s->node->index, s->id, local_filter_name(f), s->id, &id) != INDEX_OK) {
            return LOCAL_NO_MEMORY;
        }
        filter_activate(s, f, id);
        return LOCAL_OK;
    }
    if (!wait_for(f, job)) {
        return LOCAL_NO_MEMORY;
    }
    f->adding = true;
    struct post_filter_add *add = post_reserve(s, owner, POST_FILTER_ADD, sizeof *add);
    add->filter = f;
    post_commit(s, owner);
    return LOCAL_WAIT;
}

/* Lets the member into its group. */
static enum local_err member_announce(struct shard *s, struct subscription *sub,
                                      struct subscribe_job *job)
{
    struct local_filter *f = sub->filter;
    const unsigned owner = owner_of(f);
    if (owner == s->id) {
        const struct bytes name = local_filter_name(f);
        uint64_t group_id;
        if (index_share_join(s->node->index, s->id, share_part(name, f->share_name_len),
                             plain_part(name, f->share_name_len), sub->member,
                             &group_id) != INDEX_OK) {
            return LOCAL_NO_MEMORY;
        }
        return LOCAL_OK;
    }
    struct filter_copy *copy = filter_copy(f);
    if (copy == NULL) {
        return LOCAL_NO_MEMORY;
    }
    struct post_share_join *join = post_reserve(s, owner, POST_SHARE_JOIN, sizeof *join);
    join->filter = copy;
    join->member = sub->member;
    join->subscription_id = sub->member->subscription_id;
    join->job = job;
    join->failed = false;
    post_commit(s, owner);
    job->pending++;
    return LOCAL_WAIT;
}

enum local_err local_subscribe(struct session *session, struct bytes filter,
                               struct bytes share_name, const struct subscribe_options *options,
                               struct subscribe_job *job, bool *existed)
{
    struct shard *s = session->shard;
    ASSERT_OWNED(s);

    struct local_filter *f = filter_find(s, filter, name_hash(s, filter));
    struct subscription *sub = f == NULL ? NULL : find_in(session, f);
    *existed = sub != NULL;
    if (sub != NULL) {
        sub->options = *options;
        return f->shared ? LOCAL_OK : filter_announce(s, f, job);
    }
    if (f == NULL) {
        f = filter_create(s, filter, share_name);
    }
    if (f == NULL) {
        return LOCAL_NO_MEMORY;
    }
    enum local_err err = LOCAL_NO_MEMORY;
    sub = subscription_create(session, f, options);
    if (sub != NULL) {
        struct share_member *const member = sub->member;
        err = f->shared ? member_announce(s, sub, job) : filter_announce(s, f, job);
        if (err == LOCAL_NO_MEMORY) {
            subscription_free(sub);
            free(member); /* nobody else has seen it */
        }
    }
    if (f->count == 0 && !f->adding) {
        filter_withdraw(s, f);
    }
    return err;
}

/* Takes the member, which the shard has forgotten, out of its group. */
static void member_leave(struct shard *s, unsigned owner, struct share_member *member)
{
    if (owner == s->id) {
        index_share_leave(s->node->index, s->id, member);
        return;
    }
    struct post_share_leave *leave = post_reserve(s, owner, POST_SHARE_LEAVE, sizeof *leave);
    leave->member = member;
    post_commit(s, owner);
}

void local_unsubscribe(struct subscription *sub)
{
    struct shard *s = sub->session->shard;
    struct local_filter *f = sub->filter;
    ASSERT_OWNED(s);

    struct share_member *const member = sub->member;
    subscription_free(sub);
    if (member != NULL) {
        member_leave(s, owner_of(f), member);
    }
    if (f->count == 0 && !f->adding) {
        filter_withdraw(s, f);
    }
}

void local_unsubscribe_all(struct session *session)
{
    while (session->subscriptions != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each call takes one off the list */
        local_unsubscribe(session->subscriptions);
    }
}

void local_set_online(struct session *session, bool online)
{
    for (struct subscription *sub = session->subscriptions; sub != NULL; sub = sub->next) {
        if (sub->member != NULL) {
            atomic_store_explicit(&sub->member->online, online, memory_order_relaxed);
        }
    }
}

void local_fini(struct shard *s)
{
    size_t cursor = 0;
    for (struct table_link *link; (link = table_any(&s->filters, &cursor)) != NULL;) {
        filter_free(s, table_object(link, struct local_filter, by_name));
    }
}

/* ---- mail */

static void job_step(struct shard *s, struct subscribe_job *job, bool failed)
{
    assert(job->pending > 0);
    job->failed = job->failed || failed;
    if (--job->pending == 0) {
        job->done(s, job);
    }
}

void local_on_filter_add(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_filter_add *add = (const void *)record;
    struct local_filter *f = add->filter; /* only its name may be looked at here */
    uint64_t id;
    if (index_add(s->node->index, s->id, local_filter_name(f), from, &id) != INDEX_OK) {
        id = 0;
    }
    struct post_filter_added *added = post_reserve(s, from, POST_FILTER_ADDED, sizeof *added);
    added->filter = f;
    added->id = id;
    post_commit(s, from);
}

void local_on_filter_added(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    const struct post_filter_added *added = (const void *)record;
    struct local_filter *f = added->filter;
    struct local_waiter *w = f->waiting;
    f->waiting = NULL;
    f->adding = false;
    if (added->id != 0) {
        filter_activate(s, f, added->id);
    } else {
        while (f->count > 0) {
            struct subscription *sub = local_filter_subscriptions(f)[0];
            subscription_free(sub); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the array */
        }
    }
    if (f->count == 0) { /* all have left in the meantime, or it could not be added */
        filter_withdraw(s, f);
    }
    while (w != NULL) {
        struct local_waiter *next = w->next;
        job_step(s, w->job, added->id == 0);
        free(w);
        w = next;
    }
}

void local_on_filter_remove(struct shard *s, unsigned from, const struct post_head *record)
{
    struct filter_copy *copy = ((const struct post_filter_remove *)(const void *)record)->filter;
    index_remove(s->node->index, s->id, bytes_of(copy->name, copy->len), from);
    free(copy);
}

void local_on_share_join(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_share_join *join = (const void *)record;
    const struct bytes name = bytes_of(join->filter->name, join->filter->len);
    uint64_t group_id;
    const bool failed =
        index_share_join(s->node->index, s->id, share_part(name, join->filter->share_name_len),
                         plain_part(name, join->filter->share_name_len), join->member,
                         &group_id) != INDEX_OK;
    struct post_share_join *joined = post_reserve(s, from, POST_SHARE_JOINED, sizeof *joined);
    joined->filter = join->filter;
    joined->member = join->member;
    joined->subscription_id = join->subscription_id;
    joined->job = join->job;
    joined->failed = failed;
    post_commit(s, from);
}

void local_on_share_joined(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    const struct post_share_join *joined = (const void *)record;
    free(joined->filter);
    struct share_member *member = local_member(s, joined->subscription_id);
    if (member != NULL && joined->failed) { /* if it has left, it is freed where it went */
        struct local_filter *f = member->subscription->filter;
        subscription_free(member->subscription);
        free(member);
        if (f->count == 0) {
            filter_withdraw(s, f);
        }
    }
    job_step(s, joined->job, joined->failed);
}

void local_on_share_leave(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    index_share_leave(s->node->index, s->id,
                      ((const struct post_share_leave *)(const void *)record)->member);
}
