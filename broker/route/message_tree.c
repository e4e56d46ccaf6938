/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All keys that can ever be in a node lie between two separators above it, its fences, and so share
 * what the fences share. A node skips at most that much of its keys, and keeps the next eight bytes
 * of each as a digest, a number that orders as they do. Equal digests are settled by the keys.
 *
 * Insertion splits full nodes on its way down, so each split finds room above it, and a lack of
 * memory leaves a tree that is whole. Removal merges on its way up, when a node is down to a
 * quarter and it fits together with its neighbour in three quarters, or has nothing left to hold;
 * it never needs memory.
 */
#include "broker/route/message_tree.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/message.h"

#define NODE_BYTES   1024u
#define LEAF_MAX     63u
#define INNER_MAX    41u /* one less than there is room for: merging an only child may need it */
#define HEIGHT_MAX   16u /* an inner node has two children at least, and mostly more than ten */
#define DIGEST_BYTES 8u

/* The least key of the subtree to its right, or what of it distinguishes it from those to its left.
 */
struct separator {
    uint32_t len;
    uint8_t text[];
};

struct tree_node {
    uint16_t count;
    bool is_leaf;
    uint32_t skip; /* leading bytes that all keys share and the digests leave out */
    uint64_t digests[];
};

struct tree_leaf {
    uint16_t count;
    bool is_leaf;
    uint32_t skip;
    uint64_t digests[LEAF_MAX];
    struct message *messages[LEAF_MAX]; /* in order; each with a reference */
    struct tree_leaf *next;
};

struct tree_inner {
    uint16_t count; /* children; >= 2 */
    bool is_leaf;
    uint32_t skip;
    uint64_t digests[INNER_MAX + 1];
    struct separator
        *separators[INNER_MAX + 1]; /* before children[i]; [0] is NULL, has no digest */
    struct tree_node *children[INNER_MAX + 1];
};

_Static_assert(sizeof(struct tree_leaf) <= NODE_BYTES, "a leaf fits");
_Static_assert(sizeof(struct tree_inner) <= NODE_BYTES, "an inner node fits");

/* ---- order */

/* '/' is the least; those below it move up by one. NUL is in no topic. */
static uint32_t rank(uint8_t byte)
{
    return byte == '/' ? 1u : byte < '/' ? byte + 1u : byte;
}

static size_t shared_len(struct bytes a, struct bytes b)
{
    const size_t len = a.len < b.len ? a.len : b.len;
    size_t i = 0;
    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t x, y;
        memcpy(&x, a.at + i, sizeof x);
        memcpy(&y, b.at + i, sizeof y);
        if (x != y) {
            break;
        }
    }
    while (i < len && a.at[i] == b.at[i]) {
        i++;
    }
    return i;
}

int topic_order(struct bytes a, struct bytes b)
{
    const size_t i = shared_len(a, b);
    if (i == a.len || i == b.len) {
        return (a.len > b.len) - (a.len < b.len);
    }
    return (int)rank(a.at[i]) - (int)rank(b.at[i]);
}

static uint64_t digest(struct bytes key, uint32_t skip)
{
    uint64_t sum = 0;
    for (size_t i = skip; i < skip + DIGEST_BYTES; i++) {
        sum = sum << 8 | (i < key.len ? rank(key.at[i]) : 0);
    }
    return sum;
}

static struct bytes separator_bytes(const struct separator *s)
{
    return bytes_of(s->text, s->len);
}

static struct tree_leaf *as_leaf(const struct tree_node *node)
{
    assert(node->is_leaf);
    return (struct tree_leaf *)node;
}

static struct tree_inner *as_inner(const struct tree_node *node)
{
    assert(!node->is_leaf);
    return (struct tree_inner *)node;
}

static struct bytes key_at(const struct tree_node *node, uint32_t i)
{
    return node->is_leaf ? message_topic(as_leaf(node)->messages[i])
                         : separator_bytes(as_inner(node)->separators[i]);
}

/* The first index from `first` on whose digest is not below. */
static uint32_t search_digest(const struct tree_node *node, uint32_t first, uint64_t wanted)
{
    uint32_t low = first, high = node->count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (node->digests[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first index from `first` on whose key is at or after, or after, the given one, which lies
 * between the node's fences. */
static uint32_t search(const struct tree_node *node, uint32_t first, struct bytes key,
                       enum tree_bound bound)
{
    const uint64_t wanted = digest(key, node->skip);
    uint32_t low = search_digest(node, first, wanted);
    if (low == node->count || node->digests[low] != wanted) {
        return low;
    }
    uint32_t high = wanted == UINT64_MAX ? node->count : search_digest(node, low, wanted + 1);
    const int below =
        bound == TREE_AFTER ? 1 : 0; /* keys that compare below this are left behind */
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (topic_order(key_at(node, middle), key) < below) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The child whose keys lie on both sides of the given one. */
static uint32_t child_for(const struct tree_inner *inner, struct bytes key)
{
    return search((const struct tree_node *)inner, 1, key, TREE_AFTER) - 1;
}

static struct tree_leaf *leaf_for(const struct message_tree *tree, struct bytes key)
{
    struct tree_node *node = tree->root;
    while (!node->is_leaf) {
        struct tree_inner *const inner = as_inner(node);
        node = inner->children[child_for(inner, key)];
    }
    return as_leaf(node);
}

/* ---- looking */

struct message **message_tree_find(const struct message_tree *tree, struct bytes topic)
{
    if (tree->root == NULL) {
        return NULL;
    }
    struct tree_leaf *const leaf = leaf_for(tree, topic);
    const uint32_t i = search((struct tree_node *)leaf, 0, topic, TREE_AT_OR_AFTER);
    if (i == leaf->count || !bytes_equal(message_topic(leaf->messages[i]), topic)) {
        return NULL;
    }
    return &leaf->messages[i];
}

/* Only the last leaf may be empty, if it is the root. */
static void cursor_settle(struct tree_cursor *cursor)
{
    if (cursor->at == cursor->leaf->count) {
        cursor->leaf = cursor->leaf->next;
        cursor->at = 0;
    }
}

struct tree_cursor message_tree_seek(const struct message_tree *tree, struct bytes key,
                                     enum tree_bound bound)
{
    if (tree->root == NULL) {
        return (struct tree_cursor){.leaf = NULL};
    }
    struct tree_cursor cursor = {.leaf = leaf_for(tree, key)};
    cursor.at = search((const struct tree_node *)cursor.leaf, 0, key, bound);
    cursor_settle(&cursor);
    return cursor;
}

struct message *tree_cursor_message(const struct tree_cursor *cursor)
{
    return cursor->leaf == NULL ? NULL : cursor->leaf->messages[cursor->at];
}

void tree_cursor_next(struct tree_cursor *cursor)
{
    assert(cursor->leaf != NULL);

    cursor->at++;
    cursor_settle(cursor);
}

/* ---- changing */

struct fences {
    const struct separator *low, *high; /* NULL: none on that side */
};

static struct fences child_fences(const struct tree_inner *inner, uint32_t i, struct fences of)
{
    return (struct fences){.low = i > 0 ? inner->separators[i] : of.low,
                           .high = i + 1 < inner->count ? inner->separators[i + 1] : of.high};
}

/* Sets the digests anew: the fences have moved, or the keys. */
static void redigest(struct tree_node *node, struct fences fences)
{
    node->skip =
        fences.low == NULL || fences.high == NULL
            ? 0
            : (uint32_t)shared_len(separator_bytes(fences.low), separator_bytes(fences.high));
    if (!node->is_leaf) {
        node->digests[0] = 0;
    }
    for (uint32_t i = node->is_leaf ? 0 : 1; i < node->count; i++) {
        node->digests[i] = digest(key_at(node, i), node->skip);
    }
}

static struct tree_node *node_create(struct message_tree *tree, bool is_leaf)
{
    struct tree_node *node = malloc(NODE_BYTES);
    if (node != NULL) {
        memset(node, 0, NODE_BYTES);
        node->is_leaf = is_leaf;
        tree->nodes++;
    }
    return node;
}

static void node_free(struct message_tree *tree, void *node)
{
    tree->nodes--;
    free(node);
}

/* The shortest that lies after `left` and not after `right`. */
static struct separator *separator_create(struct bytes left, struct bytes right)
{
    assert(topic_order(left, right) < 0);

    const size_t len = shared_len(left, right) + 1;
    struct separator *s = malloc(sizeof *s + len);
    if (s != NULL) {
        s->len = (uint32_t)len;
        memcpy(s->text, right.at, len);
    }
    return s;
}

#define MOVE(to, from, n) memmove((to), (from), (n) * sizeof *(to))

static void inner_insert(struct tree_inner *inner, uint32_t i, struct separator *separator,
                         struct tree_node *child)
{
    assert(i > 0);
    assert(i <= inner->count);
    assert(inner->count <= INNER_MAX);

    const uint32_t behind = inner->count - i;
    MOVE(&inner->digests[i + 1], &inner->digests[i], behind);
    MOVE(&inner->separators[i + 1], &inner->separators[i], behind);
    MOVE(&inner->children[i + 1], &inner->children[i], behind);
    inner->digests[i] = digest(separator_bytes(separator), inner->skip);
    inner->separators[i] = separator;
    inner->children[i] = child;
    inner->count++;
}

static void inner_erase(struct tree_inner *inner, uint32_t i)
{
    assert(i > 0);
    assert(i < inner->count);

    const uint32_t behind = inner->count - i - 1;
    MOVE(&inner->digests[i], &inner->digests[i + 1], behind);
    MOVE(&inner->separators[i], &inner->separators[i + 1], behind);
    MOVE(&inner->children[i], &inner->children[i + 1], behind);
    inner->count--;
}

/* Moves the upper part to `right`; the separator between them, or NULL if there is no memory for it
 * and nothing has moved. */
static struct separator *leaf_split(struct tree_leaf *left, struct tree_leaf *right)
{
    /* The last leaf keeps most, since topics often come in order (a restart reads them so). */
    const uint32_t half = left->next == NULL ? LEAF_MAX - 4 : LEAF_MAX / 2;
    struct separator *separator = separator_create(message_topic(left->messages[half - 1]),
                                                   message_topic(left->messages[half]));
    if (separator == NULL) {
        return NULL;
    }
    right->count = (uint16_t)(left->count - half);
    MOVE(right->messages, &left->messages[half], right->count);
    left->count = (uint16_t)half;
    right->next = left->next;
    left->next = right;
    return separator;
}

static struct separator *inner_split(struct tree_inner *left, struct tree_inner *right)
{
    const uint32_t half = left->count / 2;
    struct separator *const separator = left->separators[half];
    right->count = (uint16_t)(left->count - half);
    MOVE(right->separators, &left->separators[half], right->count);
    MOVE(right->children, &left->children[half], right->count);
    right->separators[0] = NULL;
    left->count = (uint16_t)half;
    return separator;
}

/* Makes two of a full child; the parent has room. */
static bool split_child(struct message_tree *tree, struct tree_inner *parent, uint32_t i,
                        struct fences parent_fences)
{
    struct tree_node *const left = parent->children[i];
    struct tree_node *const right = node_create(tree, left->is_leaf);
    if (right == NULL) {
        return false;
    }
    struct separator *const separator = left->is_leaf
                                            ? leaf_split(as_leaf(left), as_leaf(right))
                                            : inner_split(as_inner(left), as_inner(right));
    if (separator == NULL) {
        node_free(tree, right);
        return false;
    }
    inner_insert(parent, i + 1, separator, right);
    redigest(left, child_fences(parent, i, parent_fences));
    redigest(right, child_fences(parent, i + 1, parent_fences));
    return true;
}

static bool is_full(const struct tree_node *node)
{
    return node->count >= (node->is_leaf ? LEAF_MAX : INNER_MAX);
}

/* A root that can take one more child, or message. */
static bool grow_root(struct message_tree *tree)
{
    if (tree->root == NULL) {
        tree->root = node_create(tree, true);
        return tree->root != NULL;
    }
    if (!is_full(tree->root)) {
        return true;
    }
    struct tree_node *const root = node_create(tree, false);
    if (root == NULL) {
        return false;
    }
    as_inner(root)->children[0] = tree->root;
    root->count = 1;
    if (!split_child(tree, as_inner(root), 0, (struct fences){.low = NULL})) {
        node_free(tree, root);
        return false;
    }
    tree->root = root;
    return true;
}

static void leaf_insert(struct tree_leaf *leaf, struct message *message)
{
    assert(leaf->count < LEAF_MAX);

    const struct bytes topic = message_topic(message);
    const uint32_t i = search((struct tree_node *)leaf, 0, topic, TREE_AT_OR_AFTER);
    const uint32_t behind = leaf->count - i;
    MOVE(&leaf->digests[i + 1], &leaf->digests[i], behind);
    MOVE(&leaf->messages[i + 1], &leaf->messages[i], behind);
    leaf->digests[i] = digest(topic, leaf->skip);
    leaf->messages[i] = message;
    leaf->count++;
}

bool message_tree_insert(struct message_tree *tree, struct message *message)
{
    if (!grow_root(tree)) {
        return false;
    }
    const struct bytes topic = message_topic(message);
    struct fences fences = {.low = NULL};
    struct tree_node *node = tree->root;
    while (!node->is_leaf) {
        struct tree_inner *const inner = as_inner(node);
        uint32_t i = child_for(inner, topic);
        if (is_full(inner->children[i])) {
            if (!split_child(tree, inner, i, fences)) {
                return false;
            }
            i = child_for(inner, topic);
        }
        fences = child_fences(inner, i, fences);
        node = inner->children[i];
    }
    leaf_insert(as_leaf(node), message);
    tree->count++;
    return true;
}

/* Moves all of the right one of two neighbours into the left one. */
static void merge_children(struct message_tree *tree, struct tree_inner *parent, uint32_t i,
                           struct fences parent_fences)
{
    struct tree_node *const left = parent->children[i], *const right = parent->children[i + 1];
    struct separator *const separator = parent->separators[i + 1];
    if (left->is_leaf) {
        struct tree_leaf *const l = as_leaf(left), *const r = as_leaf(right);
        MOVE(&l->messages[l->count], r->messages, r->count);
        l->next = r->next;
        free(separator);
    } else {
        struct tree_inner *const l = as_inner(left), *const r = as_inner(right);
        r->separators[0] = separator;
        MOVE(&l->separators[l->count], r->separators, r->count);
        MOVE(&l->children[l->count], r->children, r->count);
    }
    left->count = (uint16_t)(left->count + right->count);
    assert(left->count <= (left->is_leaf ? LEAF_MAX : INNER_MAX + 1));
    node_free(tree, right);
    inner_erase(parent, i + 1);
    redigest(left, child_fences(parent, i, parent_fences));
}

static void merge_if_low(struct message_tree *tree, struct tree_inner *parent, uint32_t i,
                         struct fences parent_fences)
{
    assert(parent->count >= 2);

    const struct tree_node *const node = parent->children[i];
    const uint32_t max = node->is_leaf ? LEAF_MAX : INNER_MAX;
    const uint32_t left = i > 0 ? i - 1 : i; /* of the two */
    const uint32_t sum = parent->children[left]->count + parent->children[left + 1]->count;
    const bool has_to = node->count < (node->is_leaf ? 1 : 2);
    if (has_to || (node->count < max / 4 && sum <= max * 3 / 4)) {
        merge_children(tree, parent, left, parent_fences);
    }
}

/* The root is an inner node with one child, or an empty leaf: then it goes. */
static void shrink_root(struct message_tree *tree)
{
    struct tree_node *const root = tree->root;
    if (root->is_leaf ? root->count == 0 : root->count == 1) {
        tree->root = root->is_leaf ? NULL : as_inner(root)->children[0];
        node_free(tree, root);
    }
}

static void leaf_erase(struct tree_leaf *leaf, uint32_t i)
{
    const uint32_t behind = leaf->count - i - 1;
    MOVE(&leaf->digests[i], &leaf->digests[i + 1], behind);
    MOVE(&leaf->messages[i], &leaf->messages[i + 1], behind);
    leaf->count--;
}

struct message *message_tree_remove(struct message_tree *tree, struct bytes topic)
{
    struct {
        struct tree_inner *inner;
        uint32_t child;
        struct fences fences; /* of the inner node */
    } path[HEIGHT_MAX];
    unsigned height = 0;
    struct fences fences = {.low = NULL};
    struct tree_node *node = tree->root;
    while (node != NULL && !node->is_leaf) {
        struct tree_inner *const inner = as_inner(node);
        const uint32_t i = child_for(inner, topic);
        assert(height < HEIGHT_MAX);
        path[height].inner = inner;
        path[height].child = i;
        path[height].fences = fences;
        height++;
        fences = child_fences(inner, i, fences);
        node = inner->children[i];
    }
    if (node == NULL) {
        return NULL;
    }
    struct tree_leaf *const leaf = as_leaf(node);
    const uint32_t i = search(node, 0, topic, TREE_AT_OR_AFTER);
    if (i == leaf->count || !bytes_equal(message_topic(leaf->messages[i]), topic)) {
        return NULL;
    }
    struct message *const message = leaf->messages[i];
    leaf_erase(leaf, i);
    tree->count--;
    while (height > 0) {
        height--;
        merge_if_low(tree, path[height].inner, path[height].child, path[height].fences);
    }
    shrink_root(tree);
    return message;
}

/* ---- the whole */

void message_tree_init(struct message_tree *tree)
{
    *tree = (struct message_tree){.root = NULL};
}

static void leaf_destroy(struct message_tree *tree, struct tree_leaf *leaf)
{
    for (uint32_t i = 0; i < leaf->count; i++) {
        message_put(leaf->messages[i]);
    }
    node_free(tree, leaf);
}

/* As deep as the tree is high. */
static void node_destroy(struct message_tree *tree, struct tree_node *node)
{
    if (node->is_leaf) {
        leaf_destroy(tree, as_leaf(node));
        return;
    }
    struct tree_inner *const inner = as_inner(node);
    for (uint32_t i = 0; i < inner->count; i++) {
        free(inner->separators[i]);
        node_destroy(tree, inner->children[i]);
    }
    node_free(tree, node);
}

void message_tree_fini(struct message_tree *tree)
{
    if (tree->root != NULL) {
        node_destroy(tree, tree->root);
    }
    assert(tree->nodes == 0);
    message_tree_init(tree);
}

struct check {
    size_t messages, nodes;
    const struct tree_leaf *leaf; /* the last one seen */
    unsigned leaf_depth;
};

static bool key_within(struct bytes key, struct fences fences)
{
    return (fences.low == NULL || topic_order(separator_bytes(fences.low), key) <= 0) &&
           (fences.high == NULL || topic_order(key, separator_bytes(fences.high)) < 0);
}

static bool leaf_check(const struct tree_leaf *leaf, unsigned depth, struct check *check)
{
    if ((check->leaf != NULL && (check->leaf->next != leaf || check->leaf_depth != depth))) {
        return false;
    }
    check->leaf = leaf;
    check->leaf_depth = depth;
    check->messages += leaf->count;
    return leaf->count > 0;
}

static bool node_check(const struct tree_node *node, struct fences fences, unsigned depth,
                       struct check *check)
{
    check->nodes++;
    for (uint32_t i = node->is_leaf ? 0 : 1; i < node->count; i++) {
        const struct bytes key = key_at(node, i);
        if (!key_within(key, fences) || node->digests[i] != digest(key, node->skip) ||
            (i > 1 && topic_order(key_at(node, i - 1), key) >= 0)) {
            return false;
        }
    }
    if (node->is_leaf) {
        return leaf_check(as_leaf(node), depth, check);
    }
    const struct tree_inner *const inner = as_inner(node);
    bool ok = inner->count >= 2 && depth < HEIGHT_MAX;
    for (uint32_t i = 0; ok && i < inner->count; i++) {
        ok = node_check(inner->children[i], child_fences(inner, i, fences), depth + 1, check);
    }
    return ok;
}

bool message_tree_check(const struct message_tree *tree)
{
    struct check check = {.leaf = NULL};
    if (tree->root == NULL) {
        return tree->count == 0 && tree->nodes == 0;
    }
    return node_check(tree->root, (struct fences){.low = NULL}, 0, &check) &&
           check.leaf->next == NULL && check.messages == tree->count && check.nodes == tree->nodes;
}
