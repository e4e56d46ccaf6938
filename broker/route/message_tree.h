/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_tree: messages in the order of their topics, in a B+ tree.
 *
 * Order: byte by byte, '/' before every other, and the shorter first; so "a", then all of "a/…",
 * then "a!": what lies below a topic is in one piece. A node is 1 KiB: it holds eight bytes of each
 * of its keys, from where they begin to differ, so that a search seldom has to read a topic
 * elsewhere.
 *
 * Owner: one shard. Memory: the nodes, and a reference to each message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct message;
struct tree_leaf;
struct tree_node;

struct message_tree {
    struct tree_node *root; /* NULL: empty */
    size_t count;           /* messages */
    size_t nodes;           /* of 1 KiB */
};

void message_tree_init(struct message_tree *tree);
void message_tree_fini(struct message_tree *tree); /* puts the messages */

/* Where the message with that topic is kept, or NULL. Until the next change. */
struct message **message_tree_find(const struct message_tree *tree, struct bytes topic);

/* Its topic is not in. The reference is the tree's from now on. false: out of memory. */
NODISCARD bool message_tree_insert(struct message_tree *tree, struct message *message);

/* The message, with the tree's reference, now the caller's; NULL: there is none. */
struct message *message_tree_remove(struct message_tree *tree, struct bytes topic);

/* A position; valid until the next change. */
struct tree_cursor {
    const struct tree_leaf *leaf; /* NULL: past the end */
    uint32_t at;
};

enum tree_bound { TREE_AT_OR_AFTER, TREE_AFTER };
struct tree_cursor message_tree_seek(const struct message_tree *tree, struct bytes key,
                                     enum tree_bound bound);
struct message *tree_cursor_message(const struct tree_cursor *cursor); /* NULL: past the end */
void tree_cursor_next(struct tree_cursor *cursor);

/* Below 0, 0, above 0: a comes before b, they are the same, it comes after. */
int topic_order(struct bytes a, struct bytes b);

/* Everything that should hold does; walks the whole tree. For tests. */
bool message_tree_check(const struct message_tree *tree);
