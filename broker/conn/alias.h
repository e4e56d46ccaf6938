/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alias: the topic aliases of one connection, in both directions (3.3.2.3.4).
 *
 * Towards the client an alias is given to a topic that is sent for the second time, where it saves
 * bytes; a table of as many slots as the client allows (and limits.topic_alias_maximum) is indexed
 * by the topic's hash, and the later topic takes a slot over.
 *
 * Owner: the connection. Memory: none until the first alias; then a table, and a copy of each topic
 * that has one.
 */
#pragma once

#include <stdint.h>

#include "proto/bytes.h"
#include "proto/reason.h"

struct conn;
struct message;

/* What the client meant: resolves or sets the alias of a PUBLISH. *topic: as in the packet,
 * possibly empty; replaced by the mapped topic, which is valid until the next call. SUCCESS, or
 * what to close the connection with. */
enum mqtt_reason alias_in_resolve(struct conn *c, uint16_t alias, struct bytes *topic);

/* The alias to send with the message, 0: none. *topic becomes empty when the client knows it. */
uint16_t alias_out_use(struct conn *c, const struct message *m, struct bytes *topic);

/* The PUBLISH of the last alias_out_use() was not sent after all. */
void alias_out_forget(struct conn *c, const struct message *m);

void alias_fini(struct conn *c); /* both tables */
