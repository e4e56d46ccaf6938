/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/outbuf.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "tests/unit/route/random.h"

#define BYTES_MAX (1u << 20)

/* The bytes in their order, whatever pieces they lie in. */
Test(outbuf, bytes_leave_in_the_order_they_came)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    static uint8_t in[BYTES_MAX], out[BYTES_MAX];
    for (unsigned round = 0; round < 20; round++) {
        struct outbuf o = {0};
        size_t put = 0, taken = 0;
        for (size_t i = 0; i < BYTES_MAX; i++) {
            in[i] = (uint8_t)random_next(&random);
        }
        while (taken < BYTES_MAX) {
            const size_t left = BYTES_MAX - put;
            size_t len = random_below(&random, random_below(&random, 8) == 0 ? 70000 : 300);
            len = len < left ? len : left;
            if (random_below(&random, 2) == 0 && random_below(&random, 50) == 0) {
                struct message *m =
                    message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(in + put, len));
                cr_assert_eq(outbuf_add_payload(&o, m), 0);
                message_put(m);
                put += len;
            } else if (random_below(&random, 3) > 0) {
                uint8_t *at = outbuf_reserve(&o, len + random_below(&random, 20));
                cr_assert_not_null(at);
                memcpy(at, in + put, len);
                outbuf_commit(&o, len);
                put += len;
            } else {
                struct iovec iov[16];
                size_t bytes;
                const unsigned max = 1 + random_below(&random, 16);
                const unsigned n = outbuf_gather(&o, iov, max, &bytes);
                cr_assert_leq(n, max);
                cr_assert_eq(n > 0, outbuf_bytes(&o) > 0);
                size_t sum = 0;
                for (unsigned i = 0; i < n; i++) {
                    cr_assert_gt(iov[i].iov_len, 0);
                    memcpy(out + taken + sum, iov[i].iov_base, iov[i].iov_len);
                    sum += iov[i].iov_len;
                }
                cr_assert_eq(sum, bytes);
                const size_t sent = random_below(&random, (uint32_t)bytes + 1);
                outbuf_consume(&o, sent);
                taken += sent;
            }
            cr_assert_eq(outbuf_bytes(&o), put - taken);
        }
        cr_assert_arr_eq(in, out, BYTES_MAX);
        cr_expect_null(o.first, "an empty one holds no memory");
        outbuf_fini(&o);
        cr_expect_eq(message_memory(), 0);
    }
}

/* What was handed out stays where it is while more is added (the kernel has it). */
Test(outbuf, bytes_stay_where_they_are_until_consumed)
{
    struct outbuf o = {0};
    memcpy(outbuf_reserve(&o, 5), "hello", 5);
    outbuf_commit(&o, 5);
    struct iovec iov[16];
    size_t bytes;
    cr_assert_eq(outbuf_gather(&o, iov, 16, &bytes), 1);
    for (unsigned i = 0; i < 1000; i++) {
        memset(outbuf_reserve(&o, 100), 'x', 100);
        outbuf_commit(&o, 100);
    }
    cr_expect_arr_eq(iov[0].iov_base, "hello", 5);
    outbuf_consume(&o, 5);
    cr_expect_eq(outbuf_bytes(&o), 100000);
    outbuf_fini(&o);
    cr_expect_eq(outbuf_bytes(&o), 0);
    outbuf_fini(&o);
}

Test(outbuf, a_payload_lives_until_it_is_sent)
{
    struct outbuf o = {0};
    struct message *m =
        message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_text("0123456789"));
    cr_assert_eq(outbuf_add_payload(&o, m), 0);
    cr_assert_eq(outbuf_add_payload(&o, m), 0);
    message_put(m);
    outbuf_consume(&o, 12);
    cr_expect_gt(message_memory(), 0);
    struct iovec iov[2];
    size_t bytes;
    cr_assert_eq(outbuf_gather(&o, iov, 2, &bytes), 1);
    cr_expect_arr_eq(iov[0].iov_base, "23456789", 8);
    outbuf_consume(&o, 8);
    cr_expect_eq(message_memory(), 0);
}
