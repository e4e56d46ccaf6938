/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys_topics: figures of the node as messages: retained, below $SYS/broker/, as Mosquitto has them
 * (tbl/sys_topic.h), every mqtt.sys_interval_s seconds those that have changed, or are gone.
 *
 *   time ─▶ all figures are read ─▶ a few are published each turn ─▶ … until time again
 *
 * They go out at QoS 0, are kept in memory only, and no limit of retained messages counts them; no
 * client may publish there (conn/publishable.h).
 *
 * Owner: the shard that retained messages of $SYS/… belong to. Memory: some 5 KiB, and the retained
 * messages themselves.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct node;
struct shard;
struct sys_topics;

struct sys_topics *sys_topics_create(const struct node *node); /* NULL: no memory */
void sys_topics_destroy(struct sys_topics *sys);               /* NULL is fine */

/* Once a turn, of any shard: leaves what is to be published (shard_due()). */
void sys_topics_turn(struct shard *s);

/* Is there more to be published at once? */
bool sys_topics_are_waiting(const struct shard *s);

/* By main, now and then: how much memory the process has asked for, where that is known, which
 * takes a look at all of the allocator. */
void sys_topics_tell_heap(struct node *node);
