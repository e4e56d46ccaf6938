/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_model: partitions as a member does what meta_duty() says of them, without their groups'
 * messages: what is committed is at once, durably, with those of a majority that can just be
 * reached, and nobody else. So it is what Raft promises, and what is tried is what it is told to
 * do.
 *
 * What must hold, and is said by sim_fail():
 *   - what is committed in an incarnation goes on from what the one before was sealed with, and
 *     nothing is committed in it any more; whoever leads has all of it
 *   - when META says STARTED, a majority of those who take over have what was sealed
 *   - nobody has two incarnations of one partition, or goes back to one
 */
#pragma once

#include "tests/sim/meta_node.h"

struct meta_model;

struct meta_model *meta_model_create(void);
void meta_model_destroy(struct meta_model *m);

/* Something happens in some of the partitions, at those of that cluster. */
void meta_model_step(struct meta_model *m, struct sim *sim, struct cluster_uuid cluster);

size_t meta_model_report(struct meta_model *m, struct meta_node *n, uint8_t *out);

/* META has said STARTED, for the first time; p is as it was before. */
void meta_model_started(struct meta_model *m, struct sim *sim, unsigned partition,
                        const struct meta_partition *p, const struct meta_state *state);

/* Can that partition go on, by who is up and what they have? */
bool meta_model_can_go_on(struct meta_model *m, struct sim *sim, unsigned partition,
                          const struct meta_state *state);

/* Has something been committed in the incarnation that META has, since the faults ended? */
bool meta_model_is_alive(const struct meta_model *m, unsigned partition,
                         const struct meta_partition *p);
void meta_model_calm(struct meta_model *m); /* they have ended */

uint64_t meta_model_moves(const struct meta_model *m); /* that have come to their end */
