/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deliver: a message to those of one shard's sessions that have a matching subscription.
 *
 * A session gets one copy, whatever the number of its matching subscriptions: at the highest of
 * their QoS, with all of their subscription identifiers [MQTT-3.3.4-2..4], with RETAIN as published
 * if one of them asks for it, and not at all if all of them say No Local and it is the publisher's
 * own.
 *
 * Owner: the subscribers' shard. Memory: a scratch entry for each session that the message goes to,
 * when more than one filter matched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct message;
struct shard;
struct share_member;

/* To the subscribers of these filters; ids that are not (any longer) known here are passed over. */
void deliver_to_filters(struct shard *s, struct message *message, const uint64_t *filter_ids,
                        size_t count);

/*
 * Sessions of a partition that several nodes have (store/serial.h) are passed over by the above
 * when the message is of QoS 1 or 2: they get it by this, on the node that leads their partition,
 * and nobody else does. false: it was queued in none of them.
 */
bool deliver_to_partition(struct shard *s, unsigned partition, struct message *message,
                          const uint64_t *filter_ids, size_t count);

/* To one member of the shared subscription `group_id`, who is of this shard and has not left.
 * false: it may not see the message. */
NODISCARD bool deliver_to_member(const struct share_member *member, struct message *message,
                                 uint64_t group_id);

void deliver_fini(struct shard *s); /* the scratch */
