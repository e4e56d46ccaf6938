/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bench/load/websocket.h"

static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

/* The answer, then frames of the three sizes of length and a ping among them, in pieces of any
 * size: what comes out is the payload of the data frames, whole and in order. */
Test(websocket, pieces_do_not_matter)
{
    static const size_t sizes[] = {5, 125, 126, 65535, 65536};
    static uint8_t stream[200000], want[200000];
    size_t len = sizeof answer - 1, want_len = 0;
    memcpy(stream, answer, len);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t size = sizes[i];
        const unsigned more = size < 126 ? 0 : size < 65536 ? 2 : 8;
        stream[len++] = 0x82;
        stream[len++] = (uint8_t)(more == 0 ? size : more == 2 ? 126 : 127);
        for (unsigned b = more; b > 0; b--) {
            stream[len++] = (uint8_t)(size >> (8 * (b - 1)));
        }
        for (size_t b = 0; b < size; b++) {
            stream[len++] = want[want_len++] = (uint8_t)(b * 31 + i);
        }
        memcpy(stream + len, "\x89\x02hi", 4);
        len += 4;
    }
    for (size_t piece = 1; piece < 70000; piece = piece * 3 + 1) {
        static uint8_t bytes[200000], got[200000];
        struct websocket s = {0};
        size_t got_len = 0;
        for (size_t at = 0; at < len; at += piece) {
            const size_t part = len - at < piece ? len - at : piece;
            memcpy(bytes, stream + at, part);
            const ssize_t kept = websocket_unwrap(&s, bytes, part);
            cr_assert_geq(kept, 0, "pieces of %zu, at %zu", piece, at);
            memcpy(got + got_len, bytes, (size_t)kept);
            got_len += (size_t)kept;
        }
        cr_assert_eq(got_len, want_len, "pieces of %zu: %zu", piece, got_len);
        cr_expect_arr_eq(got, want, want_len);
    }
}

Test(websocket, only_101_opens)
{
    struct websocket s = {0};
    uint8_t refused[] = "HTTP/1.1 404 Not Found\r\n\r\n";
    cr_expect_eq(websocket_unwrap(&s, refused, sizeof refused - 1), -1);
}

Test(websocket, a_close_ends_it)
{
    struct websocket s = {.is_open = true};
    uint8_t close[] = {0x88, 0x00};
    cr_expect_eq(websocket_unwrap(&s, close, sizeof close), -1);
}

/* What stands in a frame already, sent or not, is not framed again. */
Test(websocket, wraps_only_what_is_new)
{
    struct websocket s = {.is_open = true};
    struct outgoing out = {0};
    memcpy(outgoing_reserve(&out, 3), "abc", 3);
    cr_assert(websocket_wrap(&s, &out));
    cr_assert(websocket_wrap(&s, &out));
    cr_expect_eq(outgoing_len(&out), 9);
    memcpy(outgoing_reserve(&out, 2), "de", 2);
    cr_assert(websocket_wrap(&s, &out));
    static const uint8_t want[] = {0x82, 0x83, 0, 0, 0, 0, 'a', 'b', 'c',
                                   0x82, 0x82, 0, 0, 0, 0, 'd', 'e'};
    cr_assert_eq(outgoing_len(&out), sizeof want);
    cr_expect_arr_eq(out.bytes, want, sizeof want);
    outgoing_free(&out);
}
