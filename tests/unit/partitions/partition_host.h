/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_host: three nodes on one thread that have a few partitions, and a test that says what
 * becomes of sessions as entries of their groups, whoever leads.
 *
 * Owner: the test; one cluster at a time. What must not happen aborts with a sentence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/partitions/partitions.h"
#include "broker/session/session.h"
#include "broker/store/entry.h"
#include "broker/store/partition_hash.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/remote/fake_cluster.h"

#define PHOST_NODES      3u
#define PHOST_PARTITIONS 3u

extern const unsigned phost_numbers[PHOST_PARTITIONS];

struct phost_partition {
    uint64_t led;               /* the term of hooks.lead; 0: it has ceased */
    unsigned times_led, ceased; /* hooks */
    uint64_t origin, op;        /* of hooks.applied, the last */
    uint64_t sealed, held;      /* hooks, the last */
    struct partition_conf said; /* phost_serve(); incarnation 0: what all begin with */
};

struct phost {
    struct fake_cluster *cluster;
    struct fake_disk disks[PHOST_NODES];
    struct phost_partition of[PHOST_NODES][PHOST_PARTITIONS];
    uint32_t incarnation;
    unsigned times_said;
    struct groups_conf groups;
};

extern struct phost phost;

void phost_begin(void);
void phost_end(void);
void phost_crash(unsigned node);
void phost_close(unsigned node); /* in order */
void phost_start(unsigned node);

struct shard *phost_enter(unsigned node, unsigned i); /* the home of phost_numbers[i] */
struct partition_state phost_state(unsigned node, unsigned i);

/* Of the nodes that `servers` has, 1 << node, and those that take over; what else is said is in
 * conf. It is said again when the node is started. */
void phost_serve(unsigned node, unsigned i, struct partition_conf conf, unsigned servers,
                 unsigned newcomers);

/* Runs until one leads, and serves; aborts after 30 s. */
unsigned phost_leader(unsigned i);
unsigned phost_leader_but(unsigned i, unsigned but);

/* Runs until what was said is in the records of all nodes that are there. */
void phost_settle(void);

/* ---- Entries, at whoever leads; it waits until they are taken */

uint64_t phost_serial(unsigned i, uint32_t counter);
const char *phost_id(unsigned i, unsigned number); /* of a client of it; good for good */
void phost_say(unsigned i, const struct entry *e);
void phost_say_bytes(unsigned i, struct bytes entry);
void phost_opened(unsigned i, uint64_t serial, const char *id, const char *will_topic);
void phost_subscribed(unsigned i, uint64_t serial, const char *filter);
void phost_queued(unsigned i, uint64_t serial, uint64_t number, uint64_t origin, uint64_t op);
void phost_closed(unsigned i, uint64_t serial, uint64_t sent_end);

struct bytes phost_message(const char *topic, const char *payload); /* good until the next one */

/* ---- What has come of it */

struct partition_hash phost_hash(unsigned node, unsigned i);              /* on disk */
struct session *phost_session(unsigned node, unsigned i, const char *id); /* or NULL */
bool phost_agrees(unsigned i); /* all that are there have the same, and know of it */
