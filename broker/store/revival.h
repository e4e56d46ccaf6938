/* SPDX-License-Identifier: Apache-2.0 */
/*
 * revival: what revive.c and revive_checkpoint.c put together; internal to them. Sessions by their
 * serial numbers, and the steps by which one of them changes.
 *
 * Owner: main. Memory: an entry for each session, and what is unfinished.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/route/local.h"
#include "broker/store/entry.h"
#include "broker/store/revive.h"
#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct message;
struct node;
struct session;
struct shard;

struct revived_session {
    struct table_link by_serial;
    struct session *session;
    uint64_t ends_ms, will_due_ms; /* by the clock on the wall; while not connected */
    uint64_t sent_end;
    uint64_t reach; /* deliveries with lower numbers have to be in memory */
    bool connected;
};

struct revival {
    struct node *node;
    struct table sessions;
    struct table unfinished;  /* unfinished.h's */
    struct subscribe_job job; /* of all subscriptions; it never ends */
    unsigned subscribing;
    uint64_t serial_max;
    uint64_t least; /* wills of lower numbers are over */
    const char *problem;
    bool sizes_unknown; /* there are deliveries of a version that did not tell their size */
    struct revived result;
};

/* Both say what the problem is, and answer false. */
bool revival_out_of_memory(struct revival *r);
bool revival_unknown(struct revival *r);

/* Main is that shard from now on. */
struct shard *revival_enter(struct revival *r, unsigned shard);

void revival_settle(struct revival *r); /* subscriptions are where they belong */

/* ---- sessions */

struct revived_session *revival_find(struct revival *r, uint64_t serial); /* or NULL */

/* One that is kept, and that nobody is connected to yet. NULL: no memory. */
struct revived_session *revival_open(struct revival *r, uint64_t serial, struct bytes client_id);
void revival_drop(struct revival *r, struct revived_session *v); /* it ended */

typedef void revival_fn(struct revival *r, struct revived_session *v);
void revival_each(struct revival *r, revival_fn *fn,
                  bool is_last); /* is_last: and they are freed */

/* The next process's numbers are above that one. */
void revival_count_serial(struct revival *r, uint64_t serial);

/* ---- what changes in one; false: no memory, where nothing else is said */

NODISCARD bool revival_set_will(struct revival *r, struct session *session,
                                const struct stored_will *stored);
NODISCARD bool revival_subscribe(struct revival *r, struct session *session, struct bytes filter,
                                 const struct subscribe_options *options);
NODISCARD bool revival_queue(struct revived_session *v, struct message *message,
                             const struct stored_delivery *stored); /* takes the reference */

/* All up to that number are in memory, if they are there. false: revive_problem() says why not,
 * which may be asked later. */
bool revival_reach(struct revival *r, struct revived_session *v, uint64_t number);

/* ---- messages */

struct message *revival_message(struct revival *r, struct bytes stored); /* NULL: no memory */
void revival_set_retained(struct revival *r, struct message *m, bool *no_memory);
