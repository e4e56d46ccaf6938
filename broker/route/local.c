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

static size_t filter_size(struct bytes name)
{
    const size_t size = offsetof(struct local_filter, name) + name.len;
    return size < sizeof(struct local_filter) ? sizeof(struct local_filter) : size;
}

size_t local_subscription_bytes(struct bytes filter)
{
    return SUBSCRIPTION_BYTES + filter_bytes(filter);
}

/* ---- filters */

static bool is_shared(const struct local_filter *f)
{
    return f->share_name_len > 0;
}

static struct local_filter *filter_find(struct shard *s, struct bytes name, uint32_t hash)
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

struct local_filter *local_filter_by_id(struct shard *s, uint64_t id)
{
    struct table_link *link = table_find(&s->filters, index_id_hash(id));
    for (; link != NULL; link = table_find_next(link)) {
        struct local_filter *f = table_object(link, struct local_filter, by_name);
        if (!f->adding && f->id == id) {
            return f;
        }
    }
    return NULL;
}

static struct local_filter *filter_create(struct shard *s, struct bytes name, uint32_t hash,
                                          struct bytes share_name)
{
    struct local_filter *f = malloc(filter_size(name));
    if (f == NULL) {
        return NULL;
    }
    *f = (struct local_filter){.name_len = (uint16_t)name.len,
                               .share_name_len = (uint16_t)share_name.len};
    memcpy(f->name, name.at, name.len);
    table_insert(&s->filters, &f->by_name, hash);
    s->subscription_bytes += filter_bytes(name);
    return f;
}

static void filter_free(struct shard *s, struct local_filter *f)
{
    assert(f->sessions.count == 0);
    assert(!f->adding);
    s->subscription_bytes -= filter_bytes(local_filter_name(f));
    table_remove(&s->filters, &f->by_name);
    free(f);
}

/* The last subscriber has gone: the index must not send us its messages any longer. */
static void filter_withdraw(struct shard *s, struct local_filter *f)
{
    assert(!f->adding);
    if (is_shared(f) || f->id == 0) {
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

/* ---- subscriptions */

uint64_t local_hash(const struct session *session, const struct local_filter *f)
{
    const struct {
        uint64_t session, filter;
    } key = {session->serial, f->by_name.hash};
    return XXH3_64bits(&key, sizeof key);
}

struct local_filter *local_find(struct session *session, struct bytes filter)
{
    struct shard *s = session->shard;
    ASSERT_OWNED(s);
    struct local_filter *f = filter_find(s, filter, index_name_hash(s->node->index, filter));
    return f == NULL || pointer_set_find(&session->filters, f) == NULL ? NULL : f;
}

/* ---- their records */

static struct subscription *record_find(struct session *session, const struct local_filter *f)
{
    struct table_link *link = table_find(&session->shard->subscriptions, local_hash(session, f));
    for (; link != NULL; link = table_find_next(link)) {
        struct subscription *sub = table_object(link, struct subscription, by_session);
        if (sub->session == session && sub->filter == f) {
            return sub;
        }
    }
    return NULL;
}

uint32_t local_identifier(struct session *session, const struct local_filter *f)
{
    const struct subscription *const sub = record_find(session, f);
    assert(sub != NULL);
    return sub->options.identifier;
}

static struct subscription *record_create(struct session *session, struct local_filter *f)
{
    struct subscription *sub = malloc(sizeof *sub);
    if (sub == NULL) {
        return NULL;
    }
    *sub = (struct subscription){.session = session, .filter = f, .next = session->subscriptions};
    if (sub->next != NULL) {
        sub->next->prev = sub;
    }
    session->subscriptions = sub;
    table_insert(&session->shard->subscriptions, &sub->by_session, local_hash(session, f));
    return sub;
}

static void record_free(struct subscription *sub)
{
    struct session *session = sub->session;
    table_remove(&session->shard->subscriptions, &sub->by_session);
    if (sub->prev != NULL) {
        sub->prev->next = sub->next;
    } else {
        session->subscriptions = sub->next;
    }
    if (sub->next != NULL) {
        sub->next->prev = sub->prev;
    }
    free(sub);
}

/* ---- members of groups */

static uint64_t member_hash(uint64_t subscription_id)
{
    return XXH3_64bits(&subscription_id, sizeof subscription_id);
}

/* For the subscription, which is of a group. false: out of memory. */
static bool member_create(struct subscription *sub)
{
    struct shard *s = sub->session->shard;
    struct share_member *member = calloc(1, sizeof *member);
    if (member == NULL) {
        return false;
    }
    member->subscription_id = shard_serial(s);
    member->client_hash = sub->session->client_hash;
    member->shard = s->id;
    member->subscription = sub;
    atomic_init(&member->online, sub->session->conn != NULL);
    table_insert(&s->members, &member->by_id, member_hash(member->subscription_id));
    sub->member = member;
    return true;
}

struct share_member *local_member(struct shard *s, uint64_t subscription_id)
{
    struct table_link *link = table_find(&s->members, member_hash(subscription_id));
    for (; link != NULL; link = table_find_next(link)) {
        struct share_member *member = table_object(link, struct share_member, by_id);
        if (member->subscription_id == subscription_id) {
            return member;
        }
    }
    return NULL;
}

/* ---- both sides of a subscription */

static uint16_t bits_of(const struct subscribe_options *o, bool has_record)
{
    return (uint16_t)(o->qos | (o->no_local ? LOCAL_NO_LOCAL : 0) |
                      (o->retain_as_published ? LOCAL_RETAIN_AS_PUBLISHED : 0) |
                      (has_record ? LOCAL_RECORD : o->identifier << LOCAL_IDENTIFIER_SHIFT));
}

/* Sets what the session, which is in the filter's set, asked for; *record: NULL if none is needed.
 * false: out of memory, nothing has changed. */
static bool set_options(struct session *session, struct local_filter *f,
                        const struct subscribe_options *options, struct subscription **record)
{
    uint64_t *const place = pointer_set_find(&f->sessions, session);
    struct subscription *sub =
        (pointer_bits(*place) & LOCAL_RECORD) != 0 ? record_find(session, f) : NULL;
    const bool needs_record = is_shared(f) || options->identifier > LOCAL_IDENTIFIER_MAX;
    if (needs_record && sub == NULL) {
        sub = record_create(session, f);
        if (sub == NULL) {
            return false;
        }
    } else if (!needs_record && sub != NULL) {
        record_free(sub);
        sub = NULL;
    }
    if (sub != NULL) {
        sub->options = *options;
    }
    pointer_bits_set(place, bits_of(options, sub != NULL));
    *record = sub;
    return true;
}

/* Out of the shard's own structures; the index is the caller's, and so is the member, if it is one
 * of a group: returned. */
static struct share_member *subscription_end(struct session *session, struct local_filter *f)
{
    struct shard *s = session->shard;
    struct share_member *member = NULL;
    if ((pointer_bits(*pointer_set_find(&f->sessions, session)) & LOCAL_RECORD) != 0) {
        struct subscription *sub = record_find(session, f);
        member = sub->member;
        record_free(sub);
    }
    if (member != NULL) {
        table_remove(&s->members, &member->by_id);
        member->subscription = NULL;
    }
    pointer_set_remove(&f->sessions, session);
    pointer_set_remove(&session->filters, f);
    session->subscription_bytes -= local_subscription_bytes(local_filter_name(f));
    s->subscription_bytes -= SUBSCRIPTION_BYTES;
    return member;
}

/* *record: if it needed one. false: out of memory, nothing has changed. */
static bool subscription_begin(struct session *session, struct local_filter *f,
                               const struct subscribe_options *options,
                               struct subscription **record)
{
    if (pointer_set_add(&f->sessions, session, 0) != 0) {
        return false;
    }
    if (pointer_set_add(&session->filters, f, 0) != 0) {
        pointer_set_remove(&f->sessions, session);
        return false;
    }
    session->subscription_bytes += local_subscription_bytes(local_filter_name(f));
    session->shard->subscription_bytes += SUBSCRIPTION_BYTES;
    if (!set_options(session, f, options, record) || (is_shared(f) && !member_create(*record))) {
        (void)subscription_end(session, f); /* there is no member */
        return false;
    }
    return true;
}

/* ---- telling the index */

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
        f->id = id;
        return LOCAL_OK;
    }
    f->waiting = NULL;
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

    const uint32_t hash = index_name_hash(s->node->index, filter);
    struct local_filter *f = filter_find(s, filter, hash);
    struct subscription *sub;
    *existed = f != NULL && pointer_set_find(&session->filters, f) != NULL;
    if (*existed) {
        if (!set_options(session, f, options, &sub)) {
            return LOCAL_NO_MEMORY;
        }
        return is_shared(f) ? LOCAL_OK : filter_announce(s, f, job);
    }
    if (f == NULL) {
        f = filter_create(s, filter, hash, share_name);
    }
    if (f == NULL) {
        return LOCAL_NO_MEMORY;
    }
    enum local_err err = LOCAL_NO_MEMORY;
    if (subscription_begin(session, f, options, &sub)) {
        err = is_shared(f) ? member_announce(s, sub, job) : filter_announce(s, f, job);
        if (err == LOCAL_NO_MEMORY) {
            free(subscription_end(session, f)); /* nobody else has seen the member */
        }
    }
    if (f->sessions.count == 0 && !f->adding) {
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

void local_unsubscribe(struct session *session, struct local_filter *f)
{
    struct shard *s = session->shard;
    ASSERT_OWNED(s);

    struct share_member *const member = subscription_end(session, f);
    if (member != NULL) {
        member_leave(s, owner_of(f), member);
    }
    if (f->sessions.count == 0 && !f->adding) {
        filter_withdraw(s, f);
    }
}

void local_unsubscribe_all(struct session *session)
{
    size_t cursor = 0;
    for (struct local_filter *f; (f = pointer_set_any(&session->filters, &cursor)) != NULL;) {
        local_unsubscribe(session, f);
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
    f->id = added->id;
    f->adding = false;
    if (f->id == 0) {
        size_t cursor = 0;
        for (struct session *session; (session = pointer_set_any(&f->sessions, &cursor)) != NULL;) {
            (void)subscription_end(session, f); /* a plain one */
        }
    }
    if (f->sessions.count == 0) { /* all have left in the meantime, or it could not be added */
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
        free(subscription_end(member->subscription->session, f));
        if (f->sessions.count == 0) {
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
