/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/local.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/remote/told.h"
#include "broker/route/index.h"
#include "broker/route/share.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"

/* About: a subscription; a filter, besides its text, and where it has wildcards, each of its levels
 * in the index (trie.h); a record; and a member with a group of its own. Measured with
 * ./dev load subscriptions. */
#define SUBSCRIPTION_BYTES 32u
#define FILTER_BYTES       128u
#define LEVEL_BYTES        80u
#define RECORD_BYTES       80u
#define MEMBER_BYTES       400u

/* ---- what goes between a shard that subscribes and the shard that writes the index part */

struct post_filter_add {
    struct post_head head;
    struct local_filter *filter; /* stays where it is until the answer: `adding` */
};

struct post_filter_added {
    struct post_head head;
    struct local_filter *filter;
    uint64_t id; /* 0: out of memory */
    const uint8_t *text;
};

struct post_filter_remove {
    struct post_head head;
    struct bytes filter; /* the index's own text */
};

struct filter_copy { /* on the heap; the receiver's */
    uint16_t len;
    uint8_t name[];
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

/* The name in two: *share is empty for a plain filter. */
static struct bytes split(struct bytes name, struct bytes *share)
{
    struct bytes plain = name;
    *share = bytes_of(NULL, 0);
    const bool whole = !topic_is_share(name) || topic_share_parse(name, share, &plain);
    assert(whole); /* it was when it was subscribed to */
    return plain;
}

static struct filter_copy *filter_copy(const struct local_filter *f)
{
    struct filter_copy *copy = malloc(sizeof *copy + f->name_len);
    if (copy != NULL) {
        copy->len = f->name_len;
        memcpy(copy->name, f->name, f->name_len);
    }
    return copy;
}

static unsigned owner_of(const struct local_filter *f)
{
    struct bytes share;
    return index_owner(shard_self->node->index, split(local_filter_name(f), &share));
}

/* ---- what they take */

static size_t filter_bytes(struct bytes filter)
{
    const bool wildcards =
        memchr(filter.at, '+', filter.len) != NULL || memchr(filter.at, '#', filter.len) != NULL;
    return FILTER_BYTES + filter.len + (wildcards ? LEVEL_BYTES * topic_levels(filter) : 0);
}

size_t local_subscription_bytes(struct bytes filter)
{
    return SUBSCRIPTION_BYTES + filter_bytes(filter);
}

/* ---- filters */

/* Of a filter that is not in the index, or not as yet, or shared. */
struct local_name {
    struct local_waiter *waiting; /* for the end of `adding` */
    uint8_t text[];
};

static struct local_name *own_name(const struct local_filter *f)
{
    assert(f->number == 0);
    return (struct local_name *)(uintptr_t)(f->name - offsetof(struct local_name, text));
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

struct local_filter *local_filter_by_name(struct shard *s, struct bytes name)
{
    return filter_find(s, name, index_name_hash(s->node->index, name));
}

struct local_filter *local_filter_by_id(struct shard *s, uint64_t id)
{
    struct table_link *link = table_find(&s->filters, index_id_hash(id));
    for (; link != NULL; link = table_find_next(link)) {
        struct local_filter *f = table_object(link, struct local_filter, by_name);
        if (f->number == index_id_number(id) && f->by_name.hash == index_id_hash(id)) {
            return f;
        }
    }
    return NULL;
}

static struct local_filter *filter_create(struct shard *s, struct bytes name, uint32_t hash)
{
    struct local_filter *f = malloc(sizeof *f);
    struct local_name *own = malloc(sizeof *own + name.len);
    if (f == NULL || own == NULL) {
        free(f);
        free(own);
        return NULL;
    }
    own->waiting = NULL;
    memcpy(own->text, name.at, name.len);
    *f = (struct local_filter){
        .name = own->text, .name_len = (uint16_t)name.len, .shared = topic_is_share(name)};
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
    if (f->number == 0) {
        free(own_name(f));
    }
    free(f);
}

/* It is in the index: its name is there. */
static void filter_activate(struct local_filter *f, uint64_t id, const uint8_t *text)
{
    assert(index_id_hash(id) == f->by_name.hash);
    free(own_name(f));
    f->name = text;
    f->number = index_id_number(id);
}

/* The last subscriber has gone: the index must not send us its messages any longer. */
static void filter_withdraw(struct shard *s, struct local_filter *f)
{
    const struct bytes name = local_filter_name(f);
    const bool is_in = f->number != 0;
    const unsigned owner = owner_of(f);
    if (is_in) {
        told_end(s, name);
    }
    filter_free(s, f);
    if (!is_in) {
        return;
    }
    if (owner == s->id) {
        index_remove(s->node->index, s->id, name, s->id);
        return;
    }
    struct post_filter_remove *r = post_reserve(s, owner, POST_FILTER_REMOVE, sizeof *r);
    r->filter = name; /* there until we are taken out */
    post_commit(s, owner);
}

/* ---- who is kept */

#define KEPT_PLACES 65536u

bool local_begin_keeping(struct shard *s)
{
    s->kept_filters = calloc(KEPT_PLACES, sizeof *s->kept_filters);
    return s->kept_filters != NULL;
}

static void count_kept(struct shard *s, const struct local_filter *f, int by)
{
    if (s->kept_filters != NULL) {
        _Atomic uint32_t *const place = &s->kept_filters[f->by_name.hash % KEPT_PLACES];
        const uint32_t n = atomic_load_explicit(place, memory_order_relaxed);
        atomic_store_explicit(place, n + (uint32_t)by, memory_order_release);
    }
}

void local_not_kept(struct session *session)
{
    for (uint32_t i = 0; i < session->filters.count; i++) {
        count_kept(session->shard, pointer_at(pointer_set_places(&session->filters)[i]), -1);
    }
}

bool local_keeps(const struct shard *s, uint64_t filter_id)
{
    return s->kept_filters != NULL &&
           atomic_load_explicit(&s->kept_filters[index_id_hash(filter_id) % KEPT_PLACES],
                                memory_order_acquire) > 0;
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

/* More, or less, of what a session's subscriptions take. */
static void count_bytes(struct session *session, ptrdiff_t delta)
{
    session->subscription_bytes += (size_t)delta;
    session->shard->subscription_bytes += (size_t)delta;
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

static uint64_t group_hash_of(const struct subscription *sub)
{
    struct bytes name, plain;
    const bool is_shared = topic_share_parse(local_filter_name(sub->filter), &name, &plain);
    assert(is_shared);
    return share_name_hash(name, plain);
}

static bool has_joined(const struct subscription *sub)
{
    return sub->member != NULL && sub->member->group != NULL;
}

uint64_t local_group_hash(const struct session *session, uint64_t group_id)
{
    for (const struct subscription *sub = session->subscriptions; sub != NULL; sub = sub->next) {
        if (has_joined(sub) && share_group_id(sub->member->group) == group_id) {
            return group_hash_of(sub);
        }
    }
    return 0;
}

uint64_t local_group_id(const struct session *session, uint64_t group_hash)
{
    for (const struct subscription *sub = session->subscriptions; sub != NULL; sub = sub->next) {
        if (has_joined(sub) && group_hash_of(sub) == group_hash) {
            return share_group_id(sub->member->group);
        }
    }
    return 0;
}

struct subscribe_options local_options(struct session *session, struct local_filter *f)
{
    const uint64_t *const place = pointer_set_find(&f->sessions, session);
    assert(place != NULL);
    const unsigned bits = pointer_bits(*place);
    return (bits & LOCAL_RECORD) != 0 ? record_find(session, f)->options : local_options_of(bits);
}

const struct share_member *local_member_of(struct session *session, const struct local_filter *f)
{
    const struct subscription *const sub = record_find(session, f);
    return sub == NULL ? NULL : sub->member;
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
    count_bytes(session, RECORD_BYTES);
    return sub;
}

static void record_free(struct subscription *sub)
{
    struct session *session = sub->session;
    table_remove(&session->shard->subscriptions, &sub->by_session);
    count_bytes(session, -(ptrdiff_t)RECORD_BYTES);
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
    member->kept = sub->session->kept != NULL;
    member->subscription = sub;
    atomic_init(&member->online, sub->session->conn != NULL);
    table_insert(&s->members, &member->by_id, member_hash(member->subscription_id));
    sub->member = member;
    count_bytes(sub->session, MEMBER_BYTES);
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

static void count_subscription(struct shard *s, const struct local_filter *f, uint64_t one)
{
    tally_add(&s->subscribed, one);
    if (f->shared) {
        tally_add(&s->subscribed_shared, one);
    }
}

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
    const bool needs_record = f->shared || options->identifier > LOCAL_IDENTIFIER_MAX;
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
        count_bytes(session, -(ptrdiff_t)MEMBER_BYTES);
    }
    if (session->kept != NULL) {
        count_kept(s, f, -1);
    }
    count_subscription(s, f, -(uint64_t)1);
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
    if (session->kept != NULL) {
        count_kept(session->shard, f, 1);
    }
    count_subscription(session->shard, f, 1);
    session->subscription_bytes += local_subscription_bytes(local_filter_name(f));
    session->shard->subscription_bytes += SUBSCRIPTION_BYTES;
    if (!set_options(session, f, options, record) || (f->shared && !member_create(*record))) {
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
    struct local_name *const own = own_name(f);
    *w = (struct local_waiter){.next = own->waiting, .job = job};
    own->waiting = w;
    job->pending++;
    return true;
}

/* The last wait_for() is taken back. */
static void wait_no_more(struct local_filter *f, struct subscribe_job *job)
{
    struct local_name *const own = own_name(f);
    struct local_waiter *const w = own->waiting;
    own->waiting = w->next;
    job->pending--;
    free(w);
}

/* Tells the index of the shard's first subscriber. */
static enum local_err filter_announce(struct shard *s, struct local_filter *f,
                                      struct subscribe_job *job)
{
    if (f->adding) {
        return wait_for(f, job) ? LOCAL_WAIT : LOCAL_NO_MEMORY;
    }
    if (f->number != 0) {
        return LOCAL_OK;
    }
    const unsigned owner = owner_of(f);
    if (owner == s->id) {
        uint64_t id;
        const uint8_t *text;
        const bool is_told = told_is_needed(s, local_filter_name(f));
        if (is_told && !wait_for(f, job)) {
            return LOCAL_NO_MEMORY;
        }
        if (index_add(s->node->index, s->id, local_filter_name(f), s->id, &id, &text) != INDEX_OK) {
            if (is_told) {
                wait_no_more(f, job);
            }
            return LOCAL_NO_MEMORY;
        }
        if (is_told) {
            f->adding = true;
            told_filter(s, f, id, text);
            return LOCAL_WAIT;
        }
        filter_activate(f, id, text);
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

/* The other nodes, of a member that is about to be let in. */
static bool member_tell(struct shard *s, const struct local_filter *f, struct subscribe_job *job)
{
    if (!told_is_needed(s, local_filter_name(f))) {
        return false;
    }
    job->pending++;
    told_member(s, local_filter_name(f), job);
    return true;
}

/* Lets the member into its group. */
static enum local_err member_announce(struct shard *s, struct subscription *sub,
                                      struct subscribe_job *job)
{
    struct local_filter *f = sub->filter;
    const unsigned owner = owner_of(f);
    if (owner == s->id) {
        struct bytes share;
        const struct bytes plain = split(local_filter_name(f), &share);
        uint64_t group_id;
        if (index_share_join(s->node->index, s->id, share, plain, sub->member, &group_id) !=
            INDEX_OK) {
            return LOCAL_NO_MEMORY;
        }
        return member_tell(s, f, job) ? LOCAL_WAIT : LOCAL_OK;
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
    (void)member_tell(s, f, job);
    return LOCAL_WAIT;
}

enum local_err local_subscribe(struct session *session, struct bytes filter,
                               const struct subscribe_options *options, struct subscribe_job *job,
                               bool *existed)
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
        return f->shared ? LOCAL_OK : filter_announce(s, f, job);
    }
    if (f == NULL) {
        f = filter_create(s, filter, hash);
    }
    if (f == NULL) {
        return LOCAL_NO_MEMORY;
    }
    enum local_err err = LOCAL_NO_MEMORY;
    if (subscription_begin(session, f, options, &sub)) {
        err = f->shared ? member_announce(s, sub, job) : filter_announce(s, f, job);
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
        told_end(s, local_filter_name(f));
    }
    if (f->sessions.count == 0 && !f->adding) {
        filter_withdraw(s, f);
    }
}

void local_unsubscribe_all(struct session *session)
{
    for (struct local_filter *f; (f = pointer_set_last(&session->filters)) != NULL;) {
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
    const uint8_t *text = NULL;
    if (index_add(s->node->index, s->id, local_filter_name(f), from, &id, &text) != INDEX_OK) {
        id = 0;
    }
    struct post_filter_added *added = post_reserve(s, from, POST_FILTER_ADDED, sizeof *added);
    added->filter = f;
    added->id = id;
    added->text = text;
    post_commit(s, from);
}

/* The index has it, or had no memory (id 0), and the other nodes know of it. */
static void filter_added(struct shard *s, struct local_filter *f, uint64_t id, const uint8_t *text)
{
    struct local_waiter *w = own_name(f)->waiting;
    f->adding = false;
    if (id != 0) {
        filter_activate(f, id, text);
    } else {
        for (struct session *session; (session = pointer_set_last(&f->sessions)) != NULL;) {
            (void)subscription_end(session, f); /* a plain one */
        }
    }
    if (f->sessions.count == 0) { /* all have left in the meantime, or it could not be added */
        filter_withdraw(s, f);
    }
    while (w != NULL) {
        struct local_waiter *next = w->next;
        job_step(s, w->job, id == 0);
        free(w);
        w = next;
    }
}

void local_on_filter_added(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    const struct post_filter_added *added = (const void *)record;
    struct local_filter *f = added->filter;
    if (added->id != 0 && told_is_needed(s, local_filter_name(f))) {
        told_filter(s, f, added->id, added->text);
    } else {
        filter_added(s, f, added->id, added->text);
    }
}

void local_told(struct shard *s, const struct told *told)
{
    if (told->filter != NULL) {
        filter_added(s, told->filter, told->filter_id, told->text);
    } else {
        job_step(s, told->job, false);
    }
}

void local_on_filter_remove(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_filter_remove *r = (const void *)record;
    index_remove(s->node->index, s->id, r->filter, from);
}

void local_on_share_join(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_share_join *join = (const void *)record;
    struct bytes share;
    const struct bytes plain = split(bytes_of(join->filter->name, join->filter->len), &share);
    uint64_t group_id;
    const bool failed =
        index_share_join(s->node->index, s->id, share, plain, join->member, &group_id) != INDEX_OK;
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
        told_end(s, local_filter_name(f));
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
