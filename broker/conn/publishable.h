/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publishable: from what a client wants published (a PUBLISH, a will) to a message, if it may be.
 */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"
#include "proto/mqtt.h"

struct message;
struct shard;

/* Is the topic one of the broker's own, $SYS/…? */
bool publishable_is_own(struct bytes topic);

/* SUCCESS, or why clients may not publish there: too many levels (limits.topic_levels_max), or one
 * of the broker's own topics, $SYS/… (4.7.2). */
enum mqtt_reason publishable_topic(const struct shard *s, struct bytes topic);

/* The message, with the properties that are passed on as they came (3.3.2.3); its expiry, QoS and
 * so on are the caller's to set. NULL when out of memory. */
struct message *publishable_message(struct bytes topic, const struct mqtt_properties *properties,
                                    struct bytes payload);
