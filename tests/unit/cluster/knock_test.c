/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/knock.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct seal_key old_key = {{1, 2, 3}}, new_key = {{4, 5, 6}}, other_key = {{7}};

static struct identity node(uint8_t number, uint8_t cluster)
{
    return (struct identity){.cluster = {{cluster}}, .node = {{number}}, .generation = 1};
}

/* A stream between them: what one says is put behind what the other has not read yet. */
struct pipe {
    uint8_t bytes[256];
    size_t len;
};

static void put(struct pipe *to, const struct knock_out *out)
{
    memcpy(to->bytes + to->len, out->bytes, out->len);
    to->len += out->len;
}

/* Takes all that is there, `step` bytes more each time. */
static enum knock_state take(struct knock *k, struct pipe *from, struct pipe *to, size_t step)
{
    enum knock_state state = KNOCK_NEED_MORE;
    for (size_t shown = 0; state == KNOCK_NEED_MORE && shown < from->len;) {
        struct knock_out out;
        size_t used;
        shown = shown + step < from->len ? shown + step : from->len;
        state = knock_take(k, bytes_of(from->bytes, shown), &used, &out);
        memmove(from->bytes, from->bytes + used, from->len - used);
        from->len -= used;
        shown -= used;
        put(to, &out);
    }
    return state;
}

struct ring {
    struct seal_key keys[2];
    size_t count;
};

struct both {
    enum knock_state dialer, acceptor;
};

static struct both meet(struct identity from, struct identity to, struct node_uuid meant,
                        struct ring of_dialer, struct ring of_acceptor, size_t step)
{
    struct both both = {KNOCK_NEED_MORE, KNOCK_NEED_MORE};
    struct knock dialer, acceptor;
    struct pipe there = {.len = 0}, back = {.len = 0};
    struct knock_out out;
    const uint8_t one[KNOCK_RANDOM_BYTES] = {11}, two[KNOCK_RANDOM_BYTES] = {22};
    cr_assert(knock_dial(&dialer, &from, meant, of_dialer.keys, of_dialer.count, one, &out));
    cr_assert(knock_accept(&acceptor, &to, of_acceptor.keys, of_acceptor.count, two));
    put(&there, &out);
    both.acceptor = take(&acceptor, &there, &back, step);
    if (both.acceptor == KNOCK_NEED_MORE) {
        both.dialer = take(&dialer, &back, &there, step);
    }
    if (both.dialer == KNOCK_DONE) {
        both.acceptor = take(&acceptor, &there, &back, step);
        cr_expect(node_uuid_equal(acceptor.dialer, from.node));
    }
    knock_end(&dialer);
    knock_end(&acceptor);
    return both;
}

static void expect_both(struct both both, enum knock_state state, const char *what)
{
    cr_expect_eq(both.dialer, state, "%s: the dialer", what);
    cr_expect_eq(both.acceptor, state, "%s: the acceptor", what);
}

Test(knock, both_ends_know_the_other_however_it_is_cut)
{
    const struct identity a = node(1, 9), b = node(2, 9);
    const struct ring ring = {{old_key}, 1};
    for (size_t step = 1; step <= 64; step++) {
        expect_both(meet(a, b, b.node, ring, ring, step), KNOCK_DONE, "the same key");
    }
}

Test(knock, a_ring_of_two_can_be_rotated)
{
    const struct identity a = node(1, 9), b = node(2, 9);
    const struct ring first = {{old_key}, 1}, second = {{old_key, new_key}, 2},
                      third = {{new_key, old_key}, 2}, last = {{new_key}, 1};
    const struct ring steps[] = {first, second, third, last};
    for (size_t i = 0; i + 1 < 4; i++) {
        expect_both(meet(a, b, b.node, steps[i], steps[i + 1], 64), KNOCK_DONE, "a step ahead");
        expect_both(meet(a, b, b.node, steps[i + 1], steps[i], 64), KNOCK_DONE, "a step behind");
    }
    cr_expect_neq(meet(a, b, b.node, first, last, 64).dialer, KNOCK_DONE);
}

Test(knock, who_has_another_key_is_refused)
{
    const struct identity a = node(1, 9), b = node(2, 9);
    const struct ring ours = {{old_key, new_key}, 2}, theirs = {{other_key}, 1};
    cr_expect_eq(meet(a, b, b.node, theirs, ours, 64).dialer, KNOCK_REFUSED);
    cr_expect_eq(meet(a, b, b.node, ours, theirs, 64).dialer, KNOCK_REFUSED);
}

Test(knock, another_cluster_or_node_than_was_meant_is_refused)
{
    const struct identity a = node(1, 9), b = node(2, 9), stranger = node(2, 8);
    const struct ring ring = {{old_key}, 1};
    cr_expect_eq(meet(a, stranger, b.node, ring, ring, 64).dialer, KNOCK_REFUSED);
    cr_expect_eq(meet(a, b, (struct node_uuid){{3}}, ring, ring, 64).dialer, KNOCK_REFUSED);
    cr_expect_eq(meet(a, a, a.node, ring, ring, 64).acceptor, KNOCK_REFUSED, "the node itself");
}

/* Each bit of what is said counts: with any of them another, one of both does not get through. */
Test(knock, what_is_changed_on_its_way_is_refused)
{
    const struct identity a = node(1, 9), b = node(2, 9);
    const uint8_t one[KNOCK_RANDOM_BYTES] = {11}, two[KNOCK_RANDOM_BYTES] = {22};
    for (size_t bit = 0; bit < 8 * (52 + 64 + 32); bit++) {
        struct knock dialer, acceptor;
        struct knock_out out;
        size_t used, at = bit / 8;
        cr_assert(knock_dial(&dialer, &a, b.node, &old_key, 1, one, &out));
        cr_assert(knock_accept(&acceptor, &b, &old_key, 1, two));
        if (at < out.len) {
            out.bytes[at] ^= (uint8_t)(1u << bit % 8);
        }
        at -= out.len;
        enum knock_state state = knock_take(&acceptor, bytes_of(out.bytes, out.len), &used, &out);
        if (state == KNOCK_NEED_MORE) {
            if (at < out.len) {
                out.bytes[at] ^= (uint8_t)(1u << bit % 8);
            }
            at -= out.len;
            state = knock_take(&dialer, bytes_of(out.bytes, out.len), &used, &out);
        }
        if (state == KNOCK_DONE) {
            cr_assert_lt(at, out.len, "bit %zu was let through by the dialer", bit);
            out.bytes[at] ^= (uint8_t)(1u << bit % 8);
            state = knock_take(&acceptor, bytes_of(out.bytes, out.len), &used, &out);
        }
        cr_expect_eq(state, KNOCK_REFUSED, "bit %zu", bit);
    }
}

/* What the acceptor has said cannot be said back to it: the roles are in the proofs. */
Test(knock, a_proof_is_no_proof_of_the_other_role)
{
    const struct identity b = node(2, 9);
    const uint8_t two[KNOCK_RANDOM_BYTES] = {22};
    struct knock acceptor;
    struct knock_out out;
    size_t used;
    uint8_t hello[52] = KNOCK_MAGIC "\1";
    cr_assert(knock_accept(&acceptor, &b, &old_key, 1, two));
    cr_assert_eq(knock_take(&acceptor, bytes_of(hello, sizeof hello), &used, &out),
                 KNOCK_NEED_MORE);
    uint8_t proof[KNOCK_PROOF_BYTES];
    memcpy(proof, out.bytes + KNOCK_RANDOM_BYTES, sizeof proof);
    cr_expect_eq(knock_take(&acceptor, bytes_of(proof, sizeof proof), &used, &out), KNOCK_REFUSED);
}

Test(knock, something_else_is_refused)
{
    const struct identity b = node(2, 9);
    const uint8_t two[KNOCK_RANDOM_BYTES] = {22};
    const uint8_t no_magic[52] = "GET / HTTP/1.1", no_node[52] = KNOCK_MAGIC;
    struct knock acceptor;
    struct knock_out out;
    size_t used;
    cr_assert(knock_accept(&acceptor, &b, &old_key, 1, two));
    cr_expect_eq(knock_take(&acceptor, bytes_of(no_magic, sizeof no_magic), &used, &out),
                 KNOCK_REFUSED);
    cr_assert(knock_accept(&acceptor, &b, &old_key, 1, two));
    cr_expect_eq(knock_take(&acceptor, bytes_of(no_node, sizeof no_node), &used, &out),
                 KNOCK_REFUSED);
}
