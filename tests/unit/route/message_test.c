/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/message.h"

#include <criterion/criterion.h>
#include <xxhash.h>

#include "fault.h"

Test(message, holds_copies_of_its_parts)
{
    char topic[] = "a/b", properties[] = "pp", payload[] = "payload";
    struct message *m =
        message_create(bytes_text(topic), bytes_text(properties), bytes_text(payload));
    cr_assert_not_null(m);
    topic[0] = properties[0] = payload[0] = 'X';
    cr_expect(bytes_equal(message_topic(m), bytes_text("a/b")));
    cr_expect(bytes_equal(message_properties(m), bytes_text("pp")));
    cr_expect(bytes_equal(message_payload(m), bytes_text("payload")));
    cr_expect_eq(m->topic_hash, XXH3_64bits("a/b", 3));
    cr_expect_eq(m->publisher, 0);
    cr_expect_not(m->retain || m->has_expiry);
    message_put(m);
}

Test(message, parts_may_be_empty)
{
    struct message *m = message_create(bytes_of(NULL, 0), bytes_of(NULL, 0), bytes_of(NULL, 0));
    cr_assert_not_null(m);
    cr_expect_eq(message_topic(m).len + message_properties(m).len + message_payload(m).len, 0);
    message_put(m);
    message_put(NULL);
}

Test(message, memory_is_counted_until_the_last_put)
{
    const uint64_t before = message_memory();
    struct message *m =
        message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_text("0123456789"));
    cr_expect_eq(message_bytes(m), sizeof *m + 11);
    cr_expect_eq(message_memory(), before + message_bytes(m));
    message_take(m, 2);
    message_put(m);
    message_put(m);
    cr_expect_eq(message_memory(), before + message_bytes(m));
    message_put(m);
    cr_expect_eq(message_memory(), before);
}

Test(message, no_memory)
{
    const uint64_t before = message_memory();
    fault_at(0);
    cr_expect_null(message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(NULL, 0)));
    fault_at(FAULT_NEVER);
    cr_expect_eq(message_memory(), before);
}
