/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_publish.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
#define HEAD(flags)                                                                                \
    1, 33, 2, 1, 0, 0, 0, 0, 0, 0,      /* op 258 */                                               \
    3, 0, 0, 0, 0, 0, 0, 0x80,          /* publisher */                                            \
    4, 0, 0, 0, 0, 0, 0, 0,             /* published */                                            \
    5, 0, 0, 0, 0, 0, 0, 0,             /* expiry */                                               \
    (flags)
#define TOPIC   2, 3, 'a', '/', 'b'
#define CONTENT 3, 4, 0x03, 0, 1, 'x' /* content type "x" */
#define GROUP_G 5, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', '/', '#'
#define GROUP_H 5, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'h', '/', '#'
#define PAYLOAD 4, 2, 'h', 'i'

static const uint8_t wire[] = {HEAD(2 | 4), TOPIC, CONTENT, GROUP_G, GROUP_H, PAYLOAD};
/* clang-format on */

Test(node_publish, is_written_byte_for_byte)
{
    uint8_t groups[64];
    size_t len = node_group_encode(groups, bytes_text("$share/g/#"));
    len += node_group_encode(groups + len, bytes_text("$share/h/#"));
    const uint8_t properties[] = {0x03, 0, 1, 'x'};
    const struct node_publish publish = {.op = 258,
                                         .publisher = 0x8000000000000003,
                                         .published_ms = 4,
                                         .expiry_ms = 5,
                                         .qos = 2,
                                         .retain = true,
                                         .topic = bytes_text("a/b"),
                                         .properties = bytes_of(properties, sizeof properties),
                                         .payload = bytes_text("hi"),
                                         .groups = bytes_of(groups, len)};
    uint8_t out[sizeof wire];
    cr_assert_eq(node_publish_encode(NULL, &publish), sizeof wire, "counted");
    cr_assert_eq(node_publish_encode(out, &publish), sizeof wire);
    cr_expect_arr_eq(out, wire, sizeof wire);
}

Test(node_publish, is_read_as_it_was_written)
{
    struct node_publish p;
    cr_assert_eq(node_publish_decode(&p, bytes_of(wire, sizeof wire)), NODE_OK);
    cr_expect_eq(p.op, 258);
    cr_expect_eq(p.publisher, 0x8000000000000003);
    cr_expect_eq(p.published_ms, 4);
    cr_expect_eq(p.expiry_ms, 5);
    cr_expect_eq(p.qos, 2);
    cr_expect(p.retain);
    cr_expect(bytes_equal(p.topic, bytes_text("a/b")));
    cr_expect_eq(p.properties.len, 4);
    cr_expect(bytes_equal(p.payload, bytes_text("hi")));
    struct bytes group, rest = p.groups;
    cr_assert(node_group_next(&rest, &group));
    cr_expect(bytes_equal(group, bytes_text("$share/g/#")));
    cr_assert(node_group_next(&rest, &group));
    cr_expect(bytes_equal(group, bytes_text("$share/h/#")));
    cr_expect_not(node_group_next(&rest, &group));
}

/* clang-format off */
static const struct {
    const char *name;
    uint8_t in[80];
    size_t len;
    enum node_err err;
} rows[] = {
#define ROW(name, err, ...) {name, {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), NODE_##err}
    ROW("no payload", OK, HEAD(0), TOPIC),
    ROW("in another order", OK, PAYLOAD, TOPIC, HEAD(1)),
    ROW("a later version's field", OK, HEAD(1), TOPIC, 77, 1, 0),
    ROW("a later version's flag", OK, HEAD(0x80), TOPIC),
    ROW("a critical field", UNKNOWN_CRITICAL, HEAD(1), TOPIC, 0x80, 0),
    ROW("no head", MALFORMED, TOPIC, PAYLOAD),
    ROW("no topic", MALFORMED, HEAD(1), PAYLOAD),
    ROW("QoS 3", MALFORMED, HEAD(3), TOPIC),
    ROW("a short head", MALFORMED, 1, 3, 0, 0, 0, TOPIC),
    ROW("an empty topic", MALFORMED, HEAD(1), 2, 0),
    ROW("a wildcard", MALFORMED, HEAD(1), 2, 1, '#'),
    ROW("a topic that is not UTF-8", MALFORMED, HEAD(1), 2, 1, 0xff),
    ROW("a property that is cut off", MALFORMED, HEAD(1), TOPIC, 3, 3, 0x03, 0, 1),
    ROW("a topic alias", MALFORMED, HEAD(1), TOPIC, 3, 3, 0x23, 0, 1),
    ROW("an expiry among the properties", MALFORMED, HEAD(1), TOPIC, 3, 5, 0x02, 0, 0, 0, 1),
    ROW("a subscription identifier", MALFORMED, HEAD(1), TOPIC, 3, 2, 0x0b, 1),
    ROW("a group that is none", MALFORMED, HEAD(1), TOPIC, 5, 3, 'a', '/', 'b'),
    ROW("groups apart", MALFORMED, HEAD(1), GROUP_G, TOPIC, GROUP_H),
    ROW("a length in a long form", MALFORMED, HEAD(1), TOPIC, 4, 0x80, 0),
    ROW("cut off", MALFORMED, HEAD(1), TOPIC, 4, 3, 'h', 'i'),
#undef ROW
};
/* clang-format on */

Test(node_publish, is_judged_before_a_client_gets_it)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node_publish p;
        cr_expect_eq(node_publish_decode(&p, bytes_of(rows[i].in, rows[i].len)), rows[i].err, "%s",
                     rows[i].name);
    }
}

Test(node_results, are_written_and_read)
{
    static const uint8_t want[] = {1, 18, 1, 0, 0, 0, 0, 0, 0,   0x80, 0x10, /* no subscriber */
                                   2, 0,  0, 0, 0, 0, 0, 0, 0x97};
    const struct node_result results[] = {{0x8000000000000001, 0x10}, {2, 0x97}};
    uint8_t out[sizeof want];
    cr_assert_eq(node_results_encode(NULL, results, 2), sizeof want);
    cr_assert_eq(node_results_encode(out, results, 2), sizeof want);
    cr_expect_arr_eq(out, want, sizeof want);
    struct bytes list;
    struct node_result r;
    cr_assert_eq(node_results_decode(&list, bytes_of(out, sizeof out)), NODE_OK);
    cr_assert(node_result_next(&list, &r));
    cr_expect_eq(r.op, 0x8000000000000001);
    cr_expect_eq(r.reason, 0x10);
    cr_assert(node_result_next(&list, &r));
    cr_expect_eq(r.op, 2);
    cr_expect_not(node_result_next(&list, &r));
    cr_expect_eq(node_results_decode(&list, bytes_of(out, sizeof out - 1)), NODE_MALFORMED);
    cr_expect_eq(node_results_decode(&list, bytes_of(NULL, 0)), NODE_MALFORMED);
    out[1] = 17;
    cr_expect_eq(node_results_decode(&list, bytes_of(out, sizeof out - 1)), NODE_MALFORMED);
    const uint8_t critical[] = {0x81, 0};
    cr_expect_eq(node_results_decode(&list, bytes_of(critical, 2)), NODE_UNKNOWN_CRITICAL);
}
