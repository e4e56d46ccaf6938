/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gap: messages of QoS 1 or 2 that another node has sent to this one may have been lost. Nobody may
 * be left believing that all has come: each client with a subscription of that kind is
 * disconnected, on all shards, so that it subscribes anew, or asks what it has missed.
 */
#pragma once

#include "broker/shard/post.h"

extern post_fn gap_on_gap;
