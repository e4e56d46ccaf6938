/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_relay.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
static const uint8_t open_wire[] = {
    1, 40, 0x47, 2, 3, 4, 5, 6, 7, 8,                     /* id */
    0, 9, 0x5b, 0x07,                                     /* flags, listener, port */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3, /* address */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                    /* uid, gid, pid */
    3, 2, 'c', 'n',                                       /* common name */
    6, 3, 'a', '@', 'b'};                                 /* e-mail */
static const uint8_t data_wire[] = {1, 8, 0x47, 2, 3, 4, 5, 6, 7, 8, 2, 2, 0xc0, 0};
static const uint8_t credit_wire[] = {1, 12, 0x47, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 0};
static const uint8_t end_wire[] = {1, 9, 0x47, 2, 3, 4, 5, 6, 7, 8, 2};
/* clang-format on */

#define ID UINT64_C(0x0807060504030247)

static struct node_relay open_sample(void)
{
    return (struct node_relay){
        .type = NODE_FRAME_RELAY_OPEN,
        .id = ID,
        .listener = 9,
        .port = 1883,
        .address = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3},
        .names =
            {[NODE_RELAY_COMMON_NAME] = bytes_text("cn"), [NODE_RELAY_EMAIL] = bytes_text("a@b")},
    };
}

static void writes(const struct node_relay *relay, const uint8_t *wire, size_t len)
{
    uint8_t out[NODE_RELAY_BODY_MAX];
    cr_assert_eq(node_relay_encode(NULL, relay), len);
    cr_assert_eq(node_relay_encode(out, relay), len);
    cr_expect_arr_eq(out, wire, len);
}

static enum node_err reads(struct node_relay *relay, uint8_t type, const uint8_t *wire, size_t len)
{
    return node_relay_decode(relay, type, bytes_of(wire, len));
}

Test(node_relay, open)
{
    const struct node_relay open = open_sample();
    struct node_relay r;
    writes(&open, open_wire, sizeof open_wire);
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_OPEN, open_wire, sizeof open_wire), NODE_OK);
    cr_expect_eq(r.id, ID);
    cr_expect_eq(node_relay_partition(r.id), 7);
    cr_expect_eq(r.listener, 9);
    cr_expect_eq(r.port, 1883);
    cr_expect_arr_eq(r.address, open.address, sizeof r.address);
    for (unsigned i = 0; i < NODE_RELAY_NAMES; i++) {
        cr_expect(bytes_equal(r.names[i], open.names[i]), "%u", i);
    }
}

Test(node_relay, open_of_a_local_client)
{
    const struct node_relay open = {.type = NODE_FRAME_RELAY_OPEN,
                                    .id = 1,
                                    .flags = NODE_RELAY_LOCAL,
                                    .uid = 1000,
                                    .gid = 100,
                                    .pid = 0xfffffffe};
    uint8_t out[NODE_RELAY_BODY_MAX];
    struct node_relay r;
    const size_t len = node_relay_encode(out, &open);
    cr_assert_leq(len, NODE_RELAY_HEAD_MAX);
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_OPEN, out, len), NODE_OK);
    cr_expect_eq(r.flags, NODE_RELAY_LOCAL);
    cr_expect_eq(r.uid, 1000);
    cr_expect_eq(r.gid, 100);
    cr_expect_eq(r.pid, 0xfffffffe);
}

Test(node_relay, data)
{
    static uint8_t all[NODE_RELAY_DATA_MAX], out[NODE_RELAY_BODY_MAX];
    struct node_relay data = {.type = NODE_FRAME_RELAY_DATA, .id = ID}, r;
    data.data = bytes_of(data_wire + 12, 2);
    writes(&data, data_wire, sizeof data_wire);
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_DATA, data_wire, sizeof data_wire), NODE_OK);
    cr_expect(r.id == ID && bytes_equal(r.data, data.data));
    data.data = bytes_of(all, sizeof all);
    const size_t len = node_relay_encode(out, &data);
    cr_assert_leq(len, sizeof out);
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_DATA, out, len), NODE_OK);
    cr_expect_eq(r.data.len, sizeof all);
}

Test(node_relay, credit_and_end)
{
    const struct node_relay credit = {
        .type = NODE_FRAME_RELAY_CREDIT, .id = ID, .credit = NODE_RELAY_WINDOW};
    const struct node_relay end = {.type = NODE_FRAME_RELAY_END, .id = ID, .why = NODE_RELAY_GONE};
    struct node_relay r;
    writes(&credit, credit_wire, sizeof credit_wire);
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_CREDIT, credit_wire, sizeof credit_wire), NODE_OK);
    cr_expect(r.id == ID && r.credit == NODE_RELAY_WINDOW);
    writes(&end, end_wire, sizeof end_wire);
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_END, end_wire, sizeof end_wire), NODE_OK);
    cr_expect(r.id == ID && r.why == NODE_RELAY_GONE);
}

/* What a later version puts behind what is known is passed over; what it says is critical is not.
 */
Test(node_relay, of_a_later_version)
{
    static const uint8_t longer[] = {1, 11, 0x47, 2, 3, 4, 5, 6, 7, 8, 200, 1, 2, 99, 1, 0};
    static const uint8_t critical[] = {1, 9, 0x47, 2, 3, 4, 5, 6, 7, 8, 2, 0x80, 0};
    struct node_relay r;
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_END, longer, sizeof longer), NODE_OK);
    cr_expect_eq(r.why, 200);
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_END, critical, sizeof critical), NODE_UNKNOWN_CRITICAL);
}

/* Each beginning of a body is malformed, or says less. */
Test(node_relay, cut_off)
{
    static const struct {
        uint8_t type;
        const uint8_t *wire;
        size_t len, least; /* from there on a beginning may be whole */
    } rows[] = {
        {NODE_FRAME_RELAY_OPEN, open_wire, sizeof open_wire, 42},
        {NODE_FRAME_RELAY_DATA, data_wire, sizeof data_wire, sizeof data_wire},
        {NODE_FRAME_RELAY_CREDIT, credit_wire, sizeof credit_wire, sizeof credit_wire},
        {NODE_FRAME_RELAY_END, end_wire, sizeof end_wire, sizeof end_wire},
    };
    struct node_relay r;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len < rows[i].len; len++) {
            const bool whole = len == rows[i].least || len == rows[i].least + 4;
            cr_expect_eq(reads(&r, rows[i].type, rows[i].wire, len),
                         whole && i == 0 ? NODE_OK : NODE_MALFORMED, "%zu, %zu", i, len);
        }
    }
}

Test(node_relay, out_of_range)
{
    static const uint8_t no_data[] = {1, 8, 0x47, 2, 3, 4, 5, 6, 7, 8, 2, 0};
    static const uint8_t no_credit[] = {1, 12, 0x47, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0};
    static const uint8_t credit_over[] = {1, 12, 0x47, 2, 3, 4, 5, 6, 7, 8, 1, 0, 1, 0};
    static uint8_t long_data[NODE_RELAY_DATA_MAX + 14] = {1, 8, 1};
    struct node_relay r;
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_DATA, no_data, sizeof no_data), NODE_MALFORMED);
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_CREDIT, no_credit, sizeof no_credit), NODE_MALFORMED);
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_CREDIT, credit_over, sizeof credit_over),
                 NODE_MALFORMED);
    long_data[10] = 2;
    long_data[11] = 0x81; /* 16,385 */
    long_data[12] = 0x80;
    long_data[13] = 0x01;
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_DATA, long_data, sizeof long_data), NODE_MALFORMED);
    long_data[11] = 0x80;
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_DATA, long_data, sizeof long_data - 1), NODE_MALFORMED,
                 "it ends before");
}

Test(node_relay, names)
{
    static uint8_t long_name[42 + 3 + 256];
    uint8_t bad_name[sizeof open_wire];
    struct node_relay r;
    memcpy(bad_name, open_wire, sizeof bad_name);
    bad_name[44] = 0xff;
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_OPEN, bad_name, sizeof bad_name), NODE_MALFORMED);
    memset(long_name, 'a', sizeof long_name);
    memcpy(long_name, open_wire, 42);
    long_name[42] = 4;
    long_name[43] = 0x80; /* 256 */
    long_name[44] = 0x02;
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_OPEN, long_name, sizeof long_name), NODE_MALFORMED);
    long_name[43] = 0xff; /* 255 */
    long_name[44] = 0x01;
    cr_assert_eq(reads(&r, NODE_FRAME_RELAY_OPEN, long_name, sizeof long_name - 1), NODE_OK);
    cr_expect_eq(r.names[NODE_RELAY_DNS].len, NODE_RELAY_NAME_MAX);
    bad_name[44] = 'c';
    bad_name[9] = 0x88; /* the id is far's, which opens none */
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_OPEN, bad_name, sizeof bad_name), NODE_MALFORMED);
    /* In a frame of another type it is a field that is not known. */
    cr_expect_eq(reads(&r, NODE_FRAME_RELAY_END, bad_name, sizeof bad_name), NODE_OK);
}
