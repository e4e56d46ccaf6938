/* SPDX-License-Identifier: Apache-2.0 */
/*
 * will_words: a will as bytes, for other nodes, and back. They are those of a message that goes to
 * another node (proto/node_publish.h); its expiry is its whole interval, as that is counted from
 * when it is published.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"

struct message;
struct shard;
struct will;

/* Its length; out is NULL: that only, else there is room for it. */
size_t will_words_write(uint8_t *out, const struct will *will);

/* To be published now. Any bytes are fair input; NULL: they are no will, or no memory. */
struct message *will_words_read(struct shard *s, struct bytes words);
