/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preference: which of its replicas should lead a partition: the one with the highest weight of
 * rendezvous (cluster/meta/placement.h) of those that have lived for a while. So leaders are spread
 * over the members, and come back after a member was away, without that anybody counts.
 *
 * Pure.
 */
#pragma once

#include <stdint.h>

#include "proto/node_meta.h"

/* stable[count]: numbers of members that live, and have for long enough. 0: none of the replicas
 * does. */
uint32_t preference_of(unsigned partition, const struct node_replicas *replicas,
                       const uint32_t *stable, unsigned count);
