/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_hello.h"

#include <criterion/criterion.h>
#include <string.h>

static struct node_hello sample(void)
{
    struct node_hello h = {.protocol_min = 1,
                           .protocol_max = 1,
                           .features = 0x8000000000000001,
                           .generation = 7,
                           .name = bytes_text("dunlin-0"),
                           .build = bytes_text("0.1"),
                           .frame_max = 0x01020304,
                           .stream = 9,
                           .received_stream = 10,
                           .received_seq = 11,
                           .credit = 12};
    memset(h.cluster.bytes, 0xc1, UUID_BYTES);
    memset(h.node.bytes, 0xd1, UUID_BYTES);
    memset(h.to.bytes, 0xe1, UUID_BYTES);
    return h;
}

#define UUID_OF(byte)                                                                              \
    byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte

/* clang-format off */
static const uint8_t wire[] = {
    'd', 'u', 'n', 'l', 'i', 'n', 'N', 'D', 1, 0, 1, 0,
    1, 8, 1, 0, 0, 0, 0, 0, 0, 0x80,               /* features */
    2, 16, UUID_OF(0xc1),                          /* cluster */
    3, 16, UUID_OF(0xd1),                          /* node */
    4, 16, UUID_OF(0xe1),                          /* to */
    5, 8, 7, 0, 0, 0, 0, 0, 0, 0,                  /* generation */
    6, 8, 'd', 'u', 'n', 'l', 'i', 'n', '-', '0',  /* name */
    7, 3, '0', '.', '1',                           /* build */
    8, 4, 4, 3, 2, 1,                              /* frame_max */
    9, 8, 9, 0, 0, 0, 0, 0, 0, 0,                  /* stream */
    10, 16, 10, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, /* received */
    11, 8, 12, 0, 0, 0, 0, 0, 0, 0,                /* credit */
};
/* clang-format on */

#define AT_FIELDS 12u
#define AT_NODE   (AT_FIELDS + 10 + 18)
#define AT_NAME   (AT_FIELDS + 10 + 3 * 18 + 10)

Test(node_hello, is_written_byte_for_byte)
{
    const struct node_hello h = sample();
    uint8_t out[NODE_HELLO_BYTES_MAX];
    cr_assert_eq(node_hello_encode(out, &h), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
}

Test(node_hello, is_read_as_it_was_written)
{
    const struct node_hello want = sample();
    struct node_hello h;
    cr_assert_eq(node_hello_decode(&h, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(h.protocol_min, 1);
    cr_expect_eq(h.protocol_max, 1);
    cr_expect_eq(h.features, want.features);
    cr_expect(cluster_uuid_equal(h.cluster, want.cluster));
    cr_expect(node_uuid_equal(h.node, want.node));
    cr_expect(node_uuid_equal(h.to, want.to));
    cr_expect_eq(h.generation, 7);
    cr_expect(bytes_equal(h.name, want.name));
    cr_expect(bytes_equal(h.build, want.build));
    cr_expect_eq(h.frame_max, want.frame_max);
    cr_expect_eq(h.stream, 9);
    cr_expect_eq(h.received_stream, 10);
    cr_expect_eq(h.received_seq, 11);
    cr_expect_eq(h.credit, 12);
}

/* Where a beginning ends between two fields, a field is missing; elsewhere one is cut off. What may
 * be missing: received, credit. */
Test(node_hello, is_not_taken_in_part)
{
    struct node_hello h;
    for (size_t len = 0; len < sizeof wire; len++) {
        const bool enough = len == sizeof wire - 10 || len == sizeof wire - 10 - 18;
        uint8_t in[sizeof wire];
        memcpy(in, wire, len);
        cr_expect_eq(node_hello_decode(&h, bytes_of(in, len)), enough ? NODE_OK : NODE_MALFORMED,
                     "%zu", len);
        if (enough) {
            cr_expect_eq(h.credit, UINT64_MAX, "as much as the sender keeps");
        }
    }
}

static enum node_err with_byte(size_t at, uint8_t value)
{
    uint8_t in[sizeof wire];
    struct node_hello h;
    memcpy(in, wire, sizeof wire);
    in[at] = value;
    return node_hello_decode(&h, bytes_of(in, sizeof in));
}

Test(node_hello, is_judged_by_its_form)
{
    cr_expect_eq(with_byte(0, 'D'), NODE_MALFORMED, "magic");
    cr_expect_eq(with_byte(8, 2), NODE_MALFORMED, "lowest above highest");
    cr_expect_eq(with_byte(AT_NAME + 2, '/'), NODE_MALFORMED, "a name");
    cr_expect_eq(with_byte(AT_NAME - 8, 0), NODE_MALFORMED, "generation 0");
    cr_expect_eq(with_byte(AT_NAME, 0x86), NODE_UNKNOWN_CRITICAL);
    cr_expect_eq(with_byte(AT_NAME, 0x46), NODE_MALFORMED, "passed over, so there is no name");
}

Test(node_hello, of_no_node_is_refused)
{
    uint8_t in[sizeof wire];
    struct node_hello h;
    memcpy(in, wire, sizeof wire);
    memset(in + AT_NODE + 2, 0, UUID_BYTES);
    cr_expect_eq(node_hello_decode(&h, bytes_of(in, sizeof in)), NODE_MALFORMED);
}

/* What a later version adds is passed over, unless it has to be understood; and values may grow. */
Test(node_hello, of_a_later_version_is_understood)
{
    struct node_hello h;
    uint8_t in[sizeof wire + 8];
    memcpy(in, wire, sizeof wire);
    const uint8_t more[] = {100, 1, 42, 11, 3, 1, 2, 3}; /* and a credit that is too short */
    memcpy(in + sizeof wire, more, sizeof more);
    cr_expect_eq(node_hello_decode(&h, bytes_of(in, sizeof wire + 3)), NODE_OK);
    cr_expect_eq(node_hello_decode(&h, bytes_of(in, sizeof in)), NODE_MALFORMED);
    in[sizeof wire] = 0x80 | 100;
    cr_expect_eq(node_hello_decode(&h, bytes_of(in, sizeof wire + 3)), NODE_UNKNOWN_CRITICAL);
}

/* Its first twelve bytes are all that two versions without anything in common have to agree on. */
Test(node_hello, of_other_versions_tells_which)
{
    static const uint8_t in[] = {'d', 'u', 'n', 'l', 'i', 'n', 'N', 'D', 5, 0, 9, 0, 0xff};
    struct node_hello h;
    cr_assert_eq(node_hello_decode(&h, bytes_of(in, sizeof in)), NODE_OK);
    cr_expect_eq(h.protocol_min, 5);
    cr_expect_eq(h.protocol_max, 9);
}

Test(node_hello, has_a_bound)
{
    static uint8_t in[NODE_HELLO_BYTES_MAX + 1];
    struct node_hello h;
    memcpy(in, wire, sizeof wire);
    in[sizeof wire] = 100; /* a field that is passed over, up to the end */
    const size_t len = sizeof in - sizeof wire - 3;
    in[sizeof wire + 1] = (uint8_t)(0x80 | (len & 0x7f));
    in[sizeof wire + 2] = (uint8_t)(len >> 7);
    cr_expect_eq(node_hello_decode(&h, bytes_of(in, sizeof in)), NODE_TOO_LARGE);
    in[sizeof wire + 1]--;
    cr_expect_eq(node_hello_decode(&h, bytes_of(in, sizeof in - 1)), NODE_OK);
}
