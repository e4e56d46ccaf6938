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
 * Owner: the shard. Memory: about 100 bytes a filter and 80 a subscription, and the filter's text.
 * At the bounds, which the caller asks for: limits.subscriptions_per_session_max, …_bytes_…, and
 * memory_share for shard->subscription_bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/post.h"
#include "broker/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct replay;
struct session;
struct share_member;
struct shard;
struct subscribe_job;

struct subscribe_options {
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    uint8_t retain_handling;
    bool no_local;
    bool retain_as_published;
};

struct local_filter {
    struct table_link by_name, by_id;
    uint64_t id;                /* the index's; 0 until it is known */
    struct subscription **many; /* when capacity > 0 */
    struct subscription *one;   /* when capacity is 0 and count is 1 */
    uint32_t count, capacity;
    bool adding;                  /* POST_FILTER_ADD is under way: nobody may free it */
    bool shared;                  /* "$share/NAME/FILTER"; not in by_id */
    struct local_waiter *waiting; /* for the end of `adding` */
    uint16_t share_name_len;      /* when shared */
    uint16_t name_len;
    uint8_t name[]; /* the whole, with $share */
};

struct subscription {
    struct table_link by_session;
    struct session *session;
    struct local_filter *filter;
    struct subscription *next, *prev; /* of the session */
    struct share_member *member;      /* the index's to free; NULL: a plain subscription */
    struct replay *replay;            /* session/replay.h's, which has to let go first; or NULL */
    uint32_t index;                   /* its place in the filter's array */
    struct subscribe_options options;
};

static inline struct bytes local_filter_name(const struct local_filter *f)
{
    return bytes_of(f->name, f->name_len);
}

static inline struct subscription *const *local_filter_subscriptions(const struct local_filter *f)
{
    return f->capacity > 0 ? (struct subscription *const *)f->many : &f->one;
}

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
 * valid; `share_name` is empty for a plain one, else `filter` is the whole "$share/…". */
NODISCARD enum local_err local_subscribe(struct session *session, struct bytes filter,
                                         struct bytes share_name,
                                         const struct subscribe_options *options,
                                         struct subscribe_job *job, bool *existed);

/* What a subscription to the filter takes, about, if nobody else has it. */
size_t local_subscription_bytes(struct bytes filter);

struct subscription *local_find(struct session *session, struct bytes filter); /* or NULL */
void local_unsubscribe(struct subscription *subscription);
void local_unsubscribe_all(struct session *session);

/* The session is preferred in its groups while it is connected. */
void local_set_online(struct session *session, bool online);

struct local_filter *local_filter_by_id(struct shard *s, uint64_t id);        /* or NULL */
struct share_member *local_member(struct shard *s, uint64_t subscription_id); /* or NULL */

/* At the end, without sessions: the filters that there was no memory to withdraw. */
void local_fini(struct shard *s);

extern post_fn local_on_filter_add, local_on_filter_added, local_on_filter_remove,
    local_on_share_join, local_on_share_joined, local_on_share_leave;
