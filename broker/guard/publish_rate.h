/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish_rate: how much a client publishes (limits.publish_…_per_second). Who is over it is not
 * read from until it is within it again (BLOCKED_RATE); nothing is dropped.
 *
 * Owner: the connection, hence its shard. Memory: 72 bytes for a connection that publishes while
 * there is a limit; without memory for them there is none for it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/shard/shard.h"
#include "proto/mqtt.h"

struct conn;

static inline bool publish_rate_is_set(const struct shard *s)
{
    const struct config_limits *const l = &s->config->limits;
    return (l->publish_messages_per_second | l->publish_bytes_per_second) != 0;
}

/* true: this one has to wait, and the connection is blocked until it may come; counted. Otherwise
 * it is taken from what the client may publish. */
bool publish_rate_is_over(struct conn *c, const struct mqtt_publish *publish);

/* How long a PUBLISH with so many bytes in it would have to wait now; nothing is taken. */
uint64_t publish_rate_wait_ms(const struct conn *c, size_t bytes);

void publish_rate_forget(struct conn *c);
