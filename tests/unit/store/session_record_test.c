/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/session_record.h"

#include <criterion/criterion.h>

#include "tests/unit/store/stored_same.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
#define MESSAGE                                                                                    \
    BYTES("\x01\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0"                                                 \
          "thello")

static const struct session_record sessions[] = {
    {.client_id = BYTES("me"), .connected = true, .ends_ms = UINT64_MAX, .will_due_ms = UINT64_MAX},
    {.client_id = BYTES(""), .expiry_s = UINT32_MAX, .ends_ms = 1},
    {.client_id = BYTES("all"),
     .expiry_s = 5,
     .ends_ms = 1700000000000,
     .next_number = UINT64_MAX,
     .sent_end = 1ull << 50,
     .exchange = 300,
     .will = {.message = MESSAGE, .delay_s = 1, .has_expiry = true, .expiry_s = 2},
     .will_due_ms = 1700000000000,
     .received = BYTES("\x01\xff\xff\x03")}, /* 1 and 65535 */
    {.client_id = BYTES("begun"),
     .begun = BYTES("\x01\x05\xff\xff\x03\x80\x01")}, /* 1: 5, 65535: 128 */
};

static const struct delivery_record deliveries[] = {
    {.body = 0, .delivery = {.number = 3, .qos = 2}},
    {.body = UINT64_MAX,
     .bytes = 123456,
     .delivery = {.number = UINT64_MAX - 1,
                  .qos = 1,
                  .retain = true,
                  .group = 77,
                  .identifiers = BYTES("\x07\x08")}},
};

static struct field_writer w;

static void begin(void)
{
    w = (struct field_writer){.at = NULL};
}

static void end(void)
{
    field_writer_fini(&w);
}

TestSuite(session_record, .init = begin, .fini = end);

static bool is_session(const uint8_t *at, size_t len)
{
    uint8_t *const copy = malloc(len > 0 ? len : 1); /* with an end that is watched */
    struct session_record r;
    if (len > 0) {
        memcpy(copy, at, len);
    }
    const bool is_one = session_record_read(bytes_of(copy, len), &r);
    free(copy);
    return is_one;
}

static bool is_delivery(const uint8_t *at, size_t len)
{
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    struct delivery_record r;
    if (len > 0) {
        memcpy(copy, at, len);
    }
    const bool is_one = delivery_record_read(bytes_of(copy, len), &r);
    free(copy);
    return is_one;
}

Test(session_record, a_session_comes_back_whole_or_not)
{
    for (size_t i = 0; i < sizeof sessions / sizeof sessions[0]; i++) {
        struct session_record got;
        field_writer_begin(&w);
        session_record_write(&w, &sessions[i]);
        cr_assert(session_record_read(field_written(&w), &got), "%zu", i);
        cr_expect(stored_same_session(&sessions[i], &got), "%zu", i);
        for (size_t len = 0; len < w.len; len++) {
            cr_expect_not(is_session(w.at, len), "%zu, %zu bytes", i, len);
        }
        put_number(&w, 0);
        cr_expect_not(is_session(w.at, w.len), "%zu and a byte", i);
    }
}

Test(session_record, a_delivery_comes_back_whole_or_not)
{
    for (size_t i = 0; i < sizeof deliveries / sizeof deliveries[0]; i++) {
        struct delivery_record got;
        field_writer_begin(&w);
        delivery_record_write(&w, &deliveries[i]);
        cr_assert(delivery_record_read(field_written(&w), &got), "%zu", i);
        cr_expect_eq(got.body, deliveries[i].body);
        cr_expect_eq(got.bytes, deliveries[i].bytes);
        cr_expect(stored_same_delivery(&deliveries[i].delivery, &got.delivery), "%zu", i);
        for (size_t len = 0; len < w.len; len++) {
            cr_expect_not(is_delivery(w.at, len), "%zu, %zu bytes", i, len);
        }
        put_number(&w, 0);
        cr_expect_not(is_delivery(w.at, w.len), "%zu and a byte", i);
    }
}

Test(session_record, a_later_version_is_refused)
{
    for (unsigned version = 0; version < 128; version++) {
        field_writer_begin(&w);
        session_record_write(&w, &sessions[0]);
        w.at[0] = (uint8_t)version;
        cr_expect_eq(is_session(w.at, w.len), version == 1);
        field_writer_begin(&w);
        delivery_record_write(&w, &deliveries[0]);
        w.at[0] = (uint8_t)version;
        cr_expect_eq(is_delivery(w.at, w.len), version == 2);
    }
}

/* Of 0.1, which did not say how large they are. */
Test(session_record, a_delivery_of_the_first_version)
{
    struct delivery_record got;
    field_writer_begin(&w);
    put_number(&w, 1);
    put_number(&w, 77);
    stored_delivery_write(&w, &deliveries[1].delivery);
    cr_assert(delivery_record_read(field_written(&w), &got));
    cr_expect_eq(got.body, 77);
    cr_expect_eq(got.bytes, 0);
    cr_expect(stored_same_delivery(&deliveries[1].delivery, &got.delivery));
}

Test(session_record, what_a_delivery_refers_to)
{
    uint8_t scratch[CHECKPOINT_KEY_BYTES_MAX];
    struct delivery_record d = {.body = 0x0102030405060708, .delivery = {.number = 1, .qos = 1}};
    field_writer_begin(&w);
    delivery_record_write(&w, &d);
    static const struct bytes want = BYTES("b\x01\x02\x03\x04\x05\x06\x07\x08");
    cr_expect(bytes_equal(delivery_record_reference(field_written(&w), scratch), want));
    d.body = 0;
    field_writer_begin(&w);
    delivery_record_write(&w, &d);
    cr_expect_eq(delivery_record_reference(field_written(&w), scratch).len, 0);
    static const struct bytes none = BYTES("\xff");
    cr_expect_eq(delivery_record_reference(none, scratch).len, 0);
}

static const struct bytes bad_received[] = {
    BYTES("\x80"),         /* not whole */
    BYTES("\x80\x80\x04"), /* 65536 */
    BYTES("\x01\x00"),     /* 0 is none */
};

Test(session_record, packet_identifiers_are_some)
{
    for (size_t i = 0; i < sizeof bad_received / sizeof bad_received[0]; i++) {
        struct session_record r = sessions[0];
        r.received = bad_received[i];
        field_writer_begin(&w);
        session_record_write(&w, &r);
        cr_expect_not(is_session(w.at, w.len), "%zu", i);
    }
}
