/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay_town: three whole nodes, and where partitions have their home; for the tests of this
 * folder.
 *
 * Owner: the test.
 */
#pragma once

#include "broker/conn/conn.h"
#include "broker/relay/relay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/node_relay.h"
#include "tests/unit/remote/fake_cluster.h"

#define TOWN_NODES 3u

extern struct fake_cluster *town;

/* With 2, 1 and 3 shards. */
void town_begin(const char *const settings[]);
void town_end(void);

/* All partitions have their home at that node, as all nodes have it. */
void town_move(unsigned home);
void town_move_to_nowhere(void);
void town_die(unsigned node); /* the others are told so, and nobody has a connection to it */
void town_cut(unsigned a, unsigned b, bool cut);

struct fake_client *town_come_as(unsigned at, const char *id, const struct terms *terms);
struct fake_client *town_come(unsigned at, const char *id); /* a session that lasts */
bool town_is_in(const struct fake_client *c);
void town_settle(void);

uint8_t town_subscribe(struct fake_client *c, const char *filter, uint8_t qos); /* the reason */
void town_say(struct fake_client *c, const char *topic, const char *payload, uint8_t qos);
const char *town_heard(struct fake_client *c);
uint8_t town_told(struct fake_client *c); /* the reason of its DISCONNECT; 255: none came */

/* The session of that client there; NULL: none. The thread is its shard then. */
struct session *town_session(unsigned node, const char *id);
int64_t town_near(unsigned node);
int64_t town_far(unsigned node);
uint64_t town_count(enum metric metric); /* of all nodes */
uint64_t town_kept_bytes(unsigned node); /* of its links */
