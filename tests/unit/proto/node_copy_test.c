/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/node_copy.h"

static uint8_t body[64];

static size_t encode(const struct node_copy *copy)
{
    node_copy_encode(body, copy);
    if (copy->data.len > 0) {
        memcpy(body + NODE_COPY_HEAD_BYTES, copy->data.at, copy->data.len);
    }
    return NODE_COPY_HEAD_BYTES + copy->data.len;
}

Test(node_copy, what_is_encoded_is_decoded)
{
    const struct node_copy part = {.kind = NODE_COPY_PART,
                                   .partition = 63,
                                   .is_last = true,
                                   .incarnation = 0x01020304,
                                   .copy = UINT64_MAX,
                                   .part = 7,
                                   .index = 1ull << 40,
                                   .data = bytes_text("data")};
    struct node_copy got;
    cr_assert_eq(node_copy_decode(&got, bytes_of(body, encode(&part))), NODE_OK);
    cr_expect_eq(got.kind, part.kind);
    cr_expect_eq(got.partition, 63);
    cr_expect(got.is_last);
    cr_expect_eq(got.incarnation, part.incarnation);
    cr_expect_eq(got.copy, part.copy);
    cr_expect_eq(got.part, 7);
    cr_expect_eq(got.index, part.index);
    cr_expect(bytes_equal(got.data, part.data));
}

Test(node_copy, what_is_none_is_malformed)
{
    const struct node_copy want = {.kind = NODE_COPY_WANT, .partition = 5, .copy = 1};
    struct node_copy got;
    const size_t len = encode(&want);
    cr_expect_eq(node_copy_decode(&got, bytes_of(body, len)), NODE_OK);
    cr_expect_eq(node_copy_decode(&got, bytes_of(body, len - 1)), NODE_MALFORMED);
    cr_expect_eq(node_copy_decode(&got, bytes_of(body, len + 1)), NODE_MALFORMED, "data");
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t was = body[i];
        body[i] = 64;
        cr_expect_eq(node_copy_decode(&got, bytes_of(body, len)), NODE_MALFORMED, "%u", i);
        body[i] = was;
    }
    body[0] = NODE_COPY_PART;
    cr_expect_eq(node_copy_decode(&got, bytes_of(body, len)), NODE_MALFORMED, "no data");
}
