/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts: what there is to know about a message of a topic on its way from a publisher to a client,
 * as it was when it was asked. Plain values: the shards have filled them in, and whoever has them
 * may read them at leisure.
 *
 * Memory: some KiB. Texts are cut at EXPLAIN_TEXT; of matching filters, groups and near misses so
 * many are kept as the arrays have room for, and all are counted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/conn/access.h"
#include "broker/explain/near_miss.h"
#include "broker/guard/guard.h"

#define EXPLAIN_TEXT        160u /* with the NUL */
#define EXPLAIN_FILTERS_MAX 16u
#define EXPLAIN_NEAR_MAX    8u
#define EXPLAIN_DROPS_MAX   8u /* reasons */

/* The message. */
struct explain_message {
    uint8_t qos;
    bool retain;
    uint32_t payload_bytes;
};

/* ---- of the publisher; as its shard has it */

struct explain_publisher {
    bool asked; /* there is one */
    char client_id[EXPLAIN_TEXT];
    bool session, connected, closing;
    struct guard_outlook guard;
    bool topic_reserved, topic_levels;
    struct access_reason access; /* of one that is connected, as what follows */
    uint16_t blocked;            /* enum conn_blocked */
    uint64_t rate_wait_ms;       /* 0: it need not wait */
    uint32_t packet_bytes, packet_bytes_max;
    uint32_t unreleased, receive_maximum; /* QoS 2 from it; what it may have */
    bool memory_full, disk_refuses, retained_full;
};

/* ---- of the client; as its shard has it */

struct explain_filter {
    char text[EXPLAIN_TEXT]; /* the whole, with $share */
    uint8_t qos;
    bool no_local, retain_as_published, shared;
    uint64_t group;        /* share_name_hash(); of a shared one */
    uint64_t subscription; /* the member's; likewise */
};

struct explain_near {
    char text[EXPLAIN_TEXT];
    enum near_miss why;
};

/* Messages for it, or from it, that were dropped, as the shard's recorder has them. */
struct explain_drops {
    const char *reason; /* the metric's name, constant */
    uint16_t metric;
    uint32_t count, of_topic;
    uint64_t last_ago_ms;
};

struct explain_client {
    bool asked;
    char client_id[EXPLAIN_TEXT];
    bool session, connected, closing;
    bool is_publisher;   /* it is the message's own publisher */
    uint64_t ends_in_ms; /* of the session, when away; UINT64_MAX: not by time */
    struct guard_outlook guard;
    uint32_t subscriptions, matching, near; /* all of them */
    uint32_t filters_kept, near_kept;
    struct explain_filter filters[EXPLAIN_FILTERS_MAX];
    struct explain_near nearly[EXPLAIN_NEAR_MAX];
    /* of those that match and are not shared, and that No Local does not keep from it: */
    bool plain, plain_retain;
    uint8_t plain_qos;
    bool plain_local; /* No Local keeps one from it */

    bool rules; /* there are some */
    struct access_reason access;
    uint32_t packet_bytes, packet_bytes_max;
    uint32_t in_flight, window;
    uint64_t output_bytes, output_bytes_max;
    uint64_t queued, queued_bytes, queued_max, queued_bytes_max;
    enum config_queue_full queue_full;
    uint32_t drops_kept;
    struct explain_drops drops[EXPLAIN_DROPS_MAX];
    uint32_t waiting, expired; /* of that topic in the queue; of them, those past their time */
};

/* ---- of the groups that the client is in; as the publisher's shard would pick (or any shard) */

struct explain_group {
    uint64_t group; /* as in explain_filter */
    bool found;     /* the index has it */
    uint32_t members, online;
    bool more;                      /* there are more than were counted */
    uint64_t next;                  /* the member's subscription; 0: there is none */
    unsigned next_shard;            /* INDEX_PEER_FIRST or more: another node's */
    char next_client[EXPLAIN_TEXT]; /* "": it is not known */
};

struct explain_facts {
    struct explain_message message;
    struct explain_publisher publisher;
    struct explain_client client;
    enum config_strategy strategy;
    uint32_t groups_kept;
    struct explain_group groups[EXPLAIN_FILTERS_MAX];
};
