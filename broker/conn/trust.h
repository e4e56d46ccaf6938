/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust: clients with certificates, when their listener's revocation lists or authorities
 * (client_ca, crl) are others: who would not be let in any more is disconnected.
 *
 * Bounded: a shard checks a few in a turn (16 that are looked up among the revoked, or one whose
 * signatures are checked), and goes on in the next one, at once. Who is at its handshake meanwhile
 * is checked at CONNECT.
 *
 * Owner: the shard of the connection.
 */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"

struct conn;
struct shard;

/* Is the client's certificate good by what is trusted now? If not, it is told and counted. */
bool trust_has(struct conn *c, struct bytes client_id);

/* Once a turn. */
void trust_turn(struct shard *s);

/* Has trust_turn() still something to do? */
bool trust_is_busy(const struct shard *s);

/* The connection goes. */
void trust_forget(struct conn *c);
