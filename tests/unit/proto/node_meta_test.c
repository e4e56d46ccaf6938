/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/node_meta.h"

static const struct cluster_uuid cluster = {{1, 2, 3}};

Test(node_meta, a_member_is_read_as_it_was_written)
{
    uint8_t out[NODE_META_MEMBER_MAX];
    const struct node_meta_member in = {
        .cluster = cluster, .number = 7, .features = 9, .zone = bytes_text("rack 1")};
    struct node_meta_member read;
    const size_t len = node_meta_member_encode(out, &in);
    cr_assert_eq(node_meta_member_decode(&read, bytes_of(out, len)), NODE_OK);
    cr_expect(cluster_uuid_equal(read.cluster, cluster));
    cr_expect_eq(read.number, 7);
    cr_expect_eq(read.features, 9);
    cr_expect(bytes_equal(read.zone, in.zone));
    for (size_t less = 0; less < len; less++) {
        cr_expect(node_meta_member_decode(&read, bytes_of(out, less)) != NODE_OK ||
                      read.zone.len == 0,
                  "%zu", less);
    }
}

/* Who is of no cluster has no number, and the other way round. */
Test(node_meta, a_member_of_nothing_has_no_number)
{
    uint8_t out[NODE_META_MEMBER_MAX];
    struct node_meta_member m = {.features = 1}, read;
    size_t len = node_meta_member_encode(out, &m);
    cr_expect_eq(node_meta_member_decode(&read, bytes_of(out, len)), NODE_OK);
    m.number = 1;
    len = node_meta_member_encode(out, &m);
    cr_expect_eq(node_meta_member_decode(&read, bytes_of(out, len)), NODE_MALFORMED);
    m = (struct node_meta_member){.cluster = cluster};
    len = node_meta_member_encode(out, &m);
    cr_expect_eq(node_meta_member_decode(&read, bytes_of(out, len)), NODE_MALFORMED);
}

Test(node_meta, a_copy_is_read_as_it_was_written)
{
    uint8_t out[NODE_META_HEAD_MAX + 5];
    struct node_meta_copy in = {.cluster = cluster, .index = 77, .state = bytes_text("state")};
    struct node_meta_copy read;
    size_t len = node_meta_copy_encode(out, &in);
    cr_expect_eq(node_meta_copy_encode(NULL, &in), len);
    cr_assert_eq(node_meta_copy_decode(&read, bytes_of(out, len)), NODE_OK);
    cr_expect(cluster_uuid_equal(read.cluster, cluster));
    cr_expect_eq(read.index, 77);
    cr_expect(bytes_equal(read.state, in.state));
    for (size_t less = 0; less < len; less++) {
        cr_expect(node_meta_copy_decode(&read, bytes_of(out, less)) != NODE_OK ||
                      read.state.len == 0,
                  "%zu", less);
    }
    in.index = 0; /* of no state, and no state is asked for */
    len = node_meta_copy_encode(out, &in);
    cr_expect_eq(node_meta_copy_decode(&read, bytes_of(out, len)), NODE_MALFORMED);
    in = (struct node_meta_copy){.index = 1};
    len = node_meta_copy_encode(out, &in);
    cr_expect_eq(node_meta_copy_decode(&read, bytes_of(out, len)), NODE_MALFORMED);
}
