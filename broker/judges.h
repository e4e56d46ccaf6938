/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judges: the gate's threads (auth/gate.h), for all that judge by them: users, tokens. They are
 * there as soon as one of those needs them.
 *
 * Owner: the main thread; shards see node->gate.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct node;

/* Before the shards run; once, whoever asks again. false: no memory, or no thread; told. */
NODISCARD bool judges_start(struct node *node);

/* While the shards still run: none of them waits for a verdict afterwards. NULL is fine. */
void judges_stop(struct node *node);
void judges_close(struct node *node); /* no shard runs any more; NULL is fine */
