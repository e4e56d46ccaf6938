/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend: with which of the kernel's interfaces the shards wait, as process.io says: io_uring, or
 * epoll where that is asked for or io_uring is refused. All shards of a node wait with the same.
 *
 * Owner: the main thread, at the start.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct node;
struct node_conf;

/* node_create(), with a create_io of ours in *conf. false: it cannot be; told. */
NODISCARD bool backend_node_create(struct node **out, struct node_conf *conf);

bool backend_is_uring(const struct node *node);
