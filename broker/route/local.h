/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local: the subscriptions of one shard's sessions, by filter.
 *
 * A plain filter that the shard subscribes to stands in the shared index once, whatever the number
 * of its subscribers here; so the index is only written when the first one comes or the last one
 * goes. A member of a shared subscription stands in the index itself.
 *
 *   subscribe ─▶ local_filter new? ── its part is ours: index_add() ─────────────────▶ active
 *                                  └─ another's: POST_FILTER_ADD … POST_FILTER_ADDED ─▶ active
 *
 * In a cluster it is active when the other nodes know of it as well (remote/told.h).
 *
 * A subscription is one place in the filter's set of sessions, and one in the session's of filters;
 * the few that need more have a struct subscription besides.
 *
 * Owner: the shard. Memory: 48 bytes a filter, whose text is the index's, and 8 to 16 in the table;
 * a subscription twice 8 to 16 (pointer_set.h).
 * At the bounds, which the caller asks for: limits.subscriptions_per_session_max, …_bytes_…, and
 * memory_share for shard->subscription_bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/pointer_set.h"
#include "broker/shard/post.h"
#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct session;
struct share_member;
struct shard;
struct subscribe_job;

struct subscribe_options {
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
};

struct local_filter {
    struct table_link by_name;   /* and by id: the hash is index_name_hash() */
    struct pointer_set sessions; /* with what they asked for (local_next()) */
    /* The whole, with $share. The index's own text, which stays while this shard is one of the
     * filter's; without a number, of a struct local_name. */
    const uint8_t *name;
    uint32_t number; /* the lower half of its id; 0 until it is known; a shared one has none */
    uint16_t name_len;
    bool adding; /* the index's writer, or other nodes, have yet to answer: nobody may free it */
    bool shared; /* "$share/NAME/FILTER" */
};

/*
 * What few subscriptions need and no bit is left for: a member of a group, or an identifier of more
 * than LOCAL_IDENTIFIER_MAX.
 */
struct subscription {
    struct table_link by_session; /* and filter */
    struct session *session;
    struct local_filter *filter;
    struct subscription *next, *prev; /* of the session */
    struct share_member *member;      /* the index's to free; NULL: a plain subscription */
    struct subscribe_options options;
};

static inline struct bytes local_filter_name(const struct local_filter *f)
{
    return bytes_of(f->name, f->name_len);
}

/* ---- who subscribes to a filter */

/* The bits beside a session: */
#define LOCAL_QOS                 0x3u
#define LOCAL_NO_LOCAL            0x4u
#define LOCAL_RETAIN_AS_PUBLISHED 0x8u
#define LOCAL_RECORD              0x10u /* there is a struct subscription */
#define LOCAL_IDENTIFIER_SHIFT    5u    /* the others, if there is none: the identifier */
#define LOCAL_IDENTIFIER_MAX      (UINT16_MAX >> LOCAL_IDENTIFIER_SHIFT)

struct subscriber {
    struct session *session;
    struct subscribe_options options;
};

/* Of a subscription with a record. */
uint32_t local_identifier(struct session *session, const struct local_filter *f);

/* Of a subscription without a record. */
static inline struct subscribe_options local_options_of(unsigned bits)
{
    return (struct subscribe_options){
        .identifier = bits >> LOCAL_IDENTIFIER_SHIFT,
        .qos = bits & LOCAL_QOS,
        .no_local = (bits & LOCAL_NO_LOCAL) != 0,
        .retain_as_published = (bits & LOCAL_RETAIN_AS_PUBLISHED) != 0,
    };
}

/* The next subscriber, from *at (0 at first) on; false: there is none. */
static inline bool local_next(const struct local_filter *f, uint32_t *at, struct subscriber *sub)
{
    if (*at == f->sessions.count) {
        return false;
    }
    const uint64_t place = pointer_set_places(&f->sessions)[(*at)++];
    const unsigned bits = pointer_bits(place);
    sub->session = pointer_at(place);
    sub->options = local_options_of(bits);
    if ((bits & LOCAL_RECORD) != 0) {
        sub->options.identifier = local_identifier(sub->session, f);
    }
    return true;
}

/* What the session asked for of that filter, which it subscribes to. */
struct subscribe_options local_options(struct session *session, struct local_filter *f);

/* As whom the session is in the group of the shared filter, which it subscribes to; or NULL. */
const struct share_member *local_member_of(struct session *session, const struct local_filter *f);

/* ---- to subscribe */

/* A SUBSCRIBE that waits for the index's writers; broker/conn/on_subscribe.c has the rest of it. */
struct subscribe_job {
    void (*done)(struct shard *s, struct subscribe_job *job); /* pending has come down to 0 */
    unsigned pending;
    bool failed; /* some filter could not be added: its subscription is gone again */
};

struct local_waiter {
    struct local_waiter *next;
    struct subscribe_job *job;
};

enum local_err {
    LOCAL_OK = 0, /* subscribed everywhere now */
    LOCAL_WAIT,   /* … once job->pending, which was counted up, has come down */
    LOCAL_NO_MEMORY,
};

/* Subscribes the session, or replaces the options of its subscription (*existed). The filter is
 * valid; of a shared subscription, the whole "$share/…". */
NODISCARD enum local_err local_subscribe(struct session *session, struct bytes filter,
                                         const struct subscribe_options *options,
                                         struct subscribe_job *job, bool *existed);

/* What a subscription to the filter takes, about, if nobody else has it. */
size_t local_subscription_bytes(struct bytes filter);

/* The filter, if the session subscribes to it; else NULL. */
struct local_filter *local_find(struct session *session, struct bytes filter);
void local_unsubscribe(struct session *session, struct local_filter *f); /* it does */
void local_unsubscribe_all(struct session *session);

/* A hash of the two, for tables of what hangs on a subscription. */
uint64_t local_hash(const struct session *session, const struct local_filter *f);

/* The session is no longer one that is kept, or about to be none. */
void local_not_kept(struct session *session);

/* Does the shard (any; by any thread) have kept sessions that subscribe to that filter? Perhaps it
 * has not, when true: then those of another filter have a part of the id in common. */
bool local_keeps(const struct shard *s, uint64_t filter_id);

/* For local_keeps(); before the shard runs. false: no memory. */
NODISCARD bool local_begin_keeping(struct shard *s);

/* share_name_hash() of the group that the session is a member of, and the other way: 0 if it is not
 * any more. */
uint64_t local_group_hash(const struct session *session, uint64_t group_id);
uint64_t local_group_id(const struct session *session, uint64_t group_hash);

/* The session is preferred in its groups while it is connected. */
void local_set_online(struct session *session, bool online);

struct local_filter *local_filter_by_id(struct shard *s, uint64_t id);         /* or NULL */
struct local_filter *local_filter_by_name(struct shard *s, struct bytes name); /* or NULL */
struct share_member *local_member(struct shard *s, uint64_t subscription_id);  /* or NULL */

/* The other nodes know of it now (remote/told.h). */
struct told;
void local_told(struct shard *s, const struct told *told);

extern post_fn local_on_filter_add, local_on_filter_added, local_on_filter_remove,
    local_on_share_join, local_on_share_joined, local_on_share_leave;
