/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_frame.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t whole[] = {
    3,    0,    0,    0,                            /* length */
    16,   1,    2,    1,                            /* PUBLISH, critical, lane 258 */
    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* its number */
    5,    0,    0,    0,    0,    0,    0,    0x80, /* what was received */
    'a',  'b',  'c',                                /* the body */
    99};                                            /* of the next frame */

#define SIZE (sizeof whole - 1)

Test(node_frame, is_written_byte_for_byte)
{
    const struct node_frame frame = {.type = NODE_FRAME_PUBLISH,
                                     .flags = NODE_FRAME_CRITICAL,
                                     .lane = 258,
                                     .seq = 0x1122334455667788,
                                     .ack = 0x8000000000000005,
                                     .body = bytes_text("abc")};
    uint8_t out[NODE_FRAME_HEAD_BYTES];
    node_frame_head_encode(out, &frame);
    cr_expect_arr_eq(out, whole, sizeof out);
}

/* Every beginning asks for more, and only a whole frame is given. */
Test(node_frame, is_read_whole)
{
    struct node_frame frame = {0};
    size_t used = 0;
    for (size_t len = 0; len < SIZE; len++) {
        uint8_t in[SIZE];
        memcpy(in, whole, len);
        cr_expect_eq(node_frame_decode(&frame, in, len, 3, &used), NODE_NEED_MORE, "%zu", len);
        cr_expect_eq(used, len < NODE_FRAME_HEAD_BYTES ? NODE_FRAME_HEAD_BYTES : SIZE);
        cr_expect_eq(frame.type, 0, "nothing is written");
    }
    cr_assert_eq(node_frame_decode(&frame, whole, sizeof whole, 3, &used), NODE_OK);
    cr_expect_eq(used, SIZE);
    cr_expect_eq(frame.type, NODE_FRAME_PUBLISH);
    cr_expect_eq(frame.flags, NODE_FRAME_CRITICAL);
    cr_expect_eq(frame.lane, 258);
    cr_expect_eq(frame.seq, 0x1122334455667788);
    cr_expect_eq(frame.ack, 0x8000000000000005);
    cr_expect(bytes_equal(frame.body, bytes_text("abc")));
    cr_expect_eq(frame.body.at, whole + NODE_FRAME_HEAD_BYTES);
}

Test(node_frame, that_is_too_large_is_known_by_its_head)
{
    struct node_frame frame;
    size_t used;
    cr_expect_eq(node_frame_decode(&frame, whole, NODE_FRAME_HEAD_BYTES, 2, &used), NODE_TOO_LARGE);
    cr_expect_eq(node_frame_decode(&frame, whole, NODE_FRAME_HEAD_BYTES, 3, &used), NODE_NEED_MORE);
}

Test(node_frame, has_a_name_if_it_is_known)
{
    cr_expect_str_eq(node_frame_name(NODE_FRAME_HELLO), "HELLO");
    cr_expect_str_eq(node_frame_name(NODE_FRAME_INTEREST_ACK), "INTEREST_ACK");
    cr_expect_null(node_frame_name(0));
    cr_expect_null(node_frame_name(255));
}
