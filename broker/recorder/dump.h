/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump: what all shards have recorded, for somebody outside: each gives its ring away for an empty
 * one. So a second dump begins where the first one ended.
 *
 * Any thread but a shard's; one at a time, others wait for it. A shard that does not turn within a
 * second is read as it stands: that is when one wants to know.
 */
#pragma once

#include <stdbool.h>

#include "broker/recorder/story.h"
#include "proto/nodiscard.h"

struct node;

/* false: no memory, or the sink did not take it. */
NODISCARD bool dump_tell(struct node *node, story_sink *sink, void *context);

/*
 * Into a new file of `dir`, whose name says when and why; of files of that kind the newest
 * DUMP_FILES_MAX stay. What became of it is in the log. `why`: a word.
 */
#define DUMP_FILES_MAX 16u
void dump_to_file(struct node *node, const char *dir, const char *why);
