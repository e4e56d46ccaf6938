/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_id.h"

#include <criterion/criterion.h>

static const uint8_t some[UUID_BYTES] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                         0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};

Test(node_id, a_uuid_is_read_as_it_is_printed)
{
    char text[UUID_TEXT_BYTES];
    uint8_t again[UUID_BYTES];
    uuid_print(text, some);
    cr_expect_str_eq(text, "01234567-89ab-cdef-fedc-ba9876543210");
    cr_expect(uuid_parse(again, bytes_text(text)));
    cr_expect_arr_eq(again, some, UUID_BYTES);
    cr_expect(uuid_parse(again, bytes_text("01234567-89AB-CDEF-FEDC-BA9876543210")));
    cr_expect_arr_eq(again, some, UUID_BYTES);
}

Test(node_id, what_is_no_uuid_is_refused_and_leaves_the_output)
{
    static const char *const wrong[] = {
        "",
        "01234567-89ab-cdef-fedc-ba987654321",
        "01234567-89ab-cdef-fedc-ba98765432100",
        "01234567089ab-cdef-fedc-ba9876543210",
        "01234567-89ab-cdef-fedcxba9876543210",
        "0123456g-89ab-cdef-fedc-ba9876543210",
        "01234567-89ab-cdef-fedc-ba987654321 ",
        "0123456--89ab-cdef-fedc-ba9876543210",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t out[UUID_BYTES] = {7};
        cr_expect_not(uuid_parse(out, bytes_text(wrong[i])), "%s", wrong[i]);
        cr_expect_eq(out[0], 7);
    }
}

Test(node_id, a_random_uuid_says_that_it_is_one)
{
    static const uint8_t ones[UUID_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                             0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    char text[UUID_TEXT_BYTES];
    uuid_print(text, node_uuid_of_random(ones).bytes);
    cr_expect_str_eq(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    uuid_print(text, cluster_uuid_of_random(ones).bytes);
    cr_expect_str_eq(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

Test(node_id, none_is_all_zeros)
{
    struct node_uuid node = {{0}};
    struct cluster_uuid cluster = {{0}};
    cr_expect(node_uuid_is_none(node));
    cr_expect(cluster_uuid_is_none(cluster));
    node.bytes[15] = 1;
    cluster.bytes[0] = 1;
    cr_expect_not(node_uuid_is_none(node));
    cr_expect_not(cluster_uuid_is_none(cluster));
    cr_expect(node_uuid_compare(node, (struct node_uuid){{0}}) > 0);
}

/* The generation first, whatever the versions; then the version. */
Test(node_id, incarnations_are_ordered_lexicographically)
{
    static const struct incarnation ascending[] = {
        {1, 0}, {1, 1}, {1, UINT32_MAX}, {2, 0}, {2, 7}, {UINT64_MAX, 0}, {UINT64_MAX, UINT32_MAX}};
    const size_t n = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            const int order = incarnation_compare(ascending[i], ascending[k]);
            cr_expect_eq((order > 0) - (order < 0), (i > k) - (i < k), "%zu, %zu", i, k);
        }
    }
}

Test(node_id, addresses_are_printed_as_people_write_them)
{
    char text[ADDRESS_TEXT_BYTES];
    struct node_address a = {.ip = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3}, .port = 1884};
    node_address_print(text, &a);
    cr_expect_str_eq(text, "10.1.2.3:1884");
    a = (struct node_address){.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = 1};
    node_address_print(text, &a);
    cr_expect_str_eq(text, "[2001:db8::1]:1");
    struct node_address b = a;
    cr_expect(node_address_equal(&a, &b));
    b.port = 2;
    cr_expect_not(node_address_equal(&a, &b));
}

Test(node_id, names_are_what_may_stand_in_a_path)
{
    char longest[NODE_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    cr_expect(node_name_is_valid(bytes_text("dunlin-0")));
    cr_expect(node_name_is_valid(bytes_text("Node_1.rack-2")));
    cr_expect(node_name_is_valid(bytes_of(longest, NODE_NAME_MAX)));
    cr_expect_not(node_name_is_valid(bytes_of(longest, NODE_NAME_MAX + 1)));
    cr_expect_not(node_name_is_valid(bytes_text("")));
    cr_expect_not(node_name_is_valid(bytes_text("a b")));
    cr_expect_not(node_name_is_valid(bytes_text("a/b")));
    cr_expect_not(node_name_is_valid(bytes_text("\xc3\xa4")));
    cr_expect_not(node_name_is_valid(bytes_of("a\0b", 3)));
}
