/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: one shard's positions, where a part of what is to be kept is entries of its journal, and
 * another is proposals to the groups of its partitions. Answers wait for a position, and need not
 * know which of the two it is.
 *
 *   store_append() ────────────────────────┐
 *                                          ├─▶ ledger_last()  …  ledger_kept() ─▶ owed, wills, …
 *   partition_append() ─▶ group_propose() ─┘                          ▲
 *                             └── ledger_proposed(), committed ───────┘
 *
 * A position is kept when all before it are: so a partition that has to wait for the others of its
 * group holds up what came later on this shard, until they answer, or it has another leader (a
 * second or two).
 *
 * Leadership that is lost. What was proposed may come about or not. Nobody may be told that it has:
 * so its positions stay open until ledger_drop(), which is to be called when the connections and
 * sessions of the partition are gone, and with them all who wait. Then they count as over.
 *
 * Owner: the shard. Memory: 16 bytes for each proposal that is not answered; and what the group has
 * no room for now, in the order in which it came. While there is such, publishers wait
 * (shard_congested()). Without groups (s->ledger is NULL) positions are the store's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "cluster/consensus/consensus.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* Before the shard runs: s->ledger. false: no memory. */
NODISCARD bool ledger_begin(struct shard *s);
void ledger_end(struct shard *s); /* fine without */

/* ---- For who writes */

/* An entry of that partition, which this node leads; else it is nothing, and has no position. */
void partition_append(struct shard *s, unsigned partition, struct bytes entry, bool waited_for);

/* ---- For who runs the groups (partitions.h) */

/* The partition is led in that term, >= 1, from now on; 0: not any more. */
void ledger_lead(struct shard *s, unsigned partition, uint64_t term);

/* As groups_events.proposed. */
void ledger_proposed(struct shard *s, unsigned partition, uint64_t ticket, enum consensus_end end);

/* Nobody is there any more who waits for what this partition's entries have come to. */
void ledger_drop(struct shard *s, unsigned partition);

void ledger_turn(struct shard *s); /* once a turn: what the groups had no room for */

/* ---- Numbers of a partition that is led here (store/serial.h): they grow */

uint64_t ledger_number(struct shard *s, unsigned partition);

/* The term in which the partition is led here, by ledger_lead(); 0: it is not. */
uint64_t ledger_term(const struct shard *s, unsigned partition);

/* ---- For who waits; the shard has a store */

uint64_t ledger_last_of(const struct shard *s);
uint64_t ledger_last_waited_of(const struct shard *s);
uint64_t ledger_kept_of(const struct shard *s);
bool ledger_is_written_of(const struct shard *s, uint64_t position);

static inline uint64_t ledger_last(const struct shard *s)
{
    return s->ledger == NULL ? store_last(s->store) : ledger_last_of(s);
}

static inline uint64_t ledger_last_waited(const struct shard *s)
{
    return s->ledger == NULL ? store_last_waited(s->store) : ledger_last_waited_of(s);
}

static inline uint64_t ledger_kept(const struct shard *s)
{
    return s->ledger == NULL ? store_kept(s->store) : ledger_kept_of(s);
}

/* As store_is_written(): on disk, whatever data.durability says; what was proposed: committed. */
static inline bool ledger_is_written(const struct shard *s, uint64_t position)
{
    return s->ledger == NULL ? store_is_written(s->store, position)
                             : ledger_is_written_of(s, position);
}
