/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/answers.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/auth/acl.h"

static const struct callback_client alice = {.has_user_name = true,
                                             .has_password = true,
                                             .user_name = {.at = (const uint8_t *)"alice", 5},
                                             .password = {.at = (const uint8_t *)"secret", 6},
                                             .client_id = {.at = (const uint8_t *)"id", 2},
                                             .address = "192.0.2.1:4000",
                                             .listener = "tcp://:1883",
                                             .protocol_level = 5};
static const char allow[] = "{\"result\":\"allow\"}";

static struct proof proof_of(const struct answers *a, const struct callback_client *client)
{
    struct proof proof;
    cr_assert(answers_prove(a, &proof, client));
    return proof;
}

static bool finds(struct answers *a, const struct callback_client *client, uint64_t now_ms,
                  struct callback_verdict *found)
{
    const struct proof proof = proof_of(a, client);
    return answers_find(a, &proof, now_ms, found);
}

static void add(struct answers *a, uint64_t now_ms, uint64_t for_ms, const char *text,
                uint32_t expires_in_s)
{
    const struct proof proof = proof_of(a, &alice);
    answers_add(a, &proof, now_ms, for_ms, bytes_text(text), expires_in_s);
}

Test(answers, good_until_their_time)
{
    struct answers a;
    struct callback_verdict found;
    cr_assert(answers_init(&a));
    cr_expect_not(finds(&a, &alice, 1000, &found));
    add(&a, 1000, 500, allow, 0);
    cr_expect(finds(&a, &alice, 1499, &found));
    cr_expect_eq(found.result, CALLBACK_ALLOW);
    cr_expect_not(finds(&a, &alice, 1500, &found));
    answers_fini(&a);
}

/* Whatever was asked: with something else in it, it is another question. Only the port may differ.
 */
Test(answers, each_part_of_the_question_counts)
{
    struct answers a;
    struct callback_verdict found;
    cr_assert(answers_init(&a));
    add(&a, 0, 1000, allow, 0);
    struct callback_client other = alice;
    other.address = "192.0.2.1:5000";
    cr_expect(finds(&a, &other, 0, &found));
    other = alice, other.address = "192.0.2.2:4000";
    cr_expect_not(finds(&a, &other, 0, &found));
    other = alice, other.user_name = bytes_text("alicf");
    cr_expect_not(finds(&a, &other, 0, &found));
    other = alice, other.password = bytes_text("secrets");
    cr_expect_not(finds(&a, &other, 0, &found));
    other = alice, other.client_id = bytes_text("ie");
    cr_expect_not(finds(&a, &other, 0, &found));
    other = alice, other.listener = "tls://:8883";
    cr_expect_not(finds(&a, &other, 0, &found));
    other = alice, other.protocol_level = 4;
    cr_expect_not(finds(&a, &other, 0, &found));
    other = alice, other.has_uid = true;
    cr_expect_not(finds(&a, &other, 0, &found));
    const struct proof of_root = proof_of(&a, &other);
    other.uid = 1;
    const struct proof of_another = proof_of(&a, &other);
    cr_expect_not(proof_equal(&of_root, &of_another));
    other = alice, other.has_password = false, other.password = bytes_of(NULL, 0);
    cr_expect_not(finds(&a, &other, 0, &found));
    answers_fini(&a);
}

/* What was allowed for ten seconds is so for four after six, and not after ten. */
Test(answers, their_own_end_comes_as_it_was_said)
{
    struct answers a;
    struct callback_verdict found;
    cr_assert(answers_init(&a));
    add(&a, 1000, 60000, "{\"result\":\"allow\",\"expires_in_s\":10}", 10);
    cr_expect(finds(&a, &alice, 7000, &found));
    cr_expect_eq(found.expires_in_s, 4);
    cr_expect(finds(&a, &alice, 10999, &found));
    cr_expect_eq(found.expires_in_s, 1);
    cr_expect_not(finds(&a, &alice, 11000, &found));
    answers_fini(&a);
}

Test(answers, nobody_else_knows_the_key)
{
    struct answers a, b;
    cr_assert(answers_init(&a) && answers_init(&b));
    const struct proof one = proof_of(&a, &alice), other = proof_of(&b, &alice);
    cr_expect_not(proof_equal(&one, &other));
    answers_fini(&a);
    answers_fini(&b);
}

/* Each who finds it has rules of its own. */
Test(answers, rules_come_with_them)
{
    struct answers a;
    struct callback_verdict one, other;
    cr_assert(answers_init(&a));
    add(&a, 0, 1000, "{\"result\":\"allow\",\"acl\":[{\"permission\":\"allow\",\"topic\":\"a\"}]}",
        0);
    cr_assert(finds(&a, &alice, 0, &one) && finds(&a, &alice, 0, &other));
    cr_assert(one.acl != NULL && other.acl != NULL && one.acl != other.acl);
    cr_expect_eq(one.acl->count, 1);
    acl_destroy(one.acl);
    acl_destroy(other.acl);
    answers_fini(&a);
}

/* The longest that is kept, and one more; a later one takes the place of an earlier. */
Test(answers, have_their_bounds)
{
    struct answers a;
    struct callback_verdict found;
    char text[ANSWER_BYTES_MAX + 2];
    cr_assert(answers_init(&a));
    memset(text, ' ', sizeof text);
    memcpy(text, allow, strlen(allow));
    text[ANSWER_BYTES_MAX + 1] = '\0';
    add(&a, 0, 1000, text, 0);
    cr_expect_not(finds(&a, &alice, 0, &found));
    text[ANSWER_BYTES_MAX] = '\0';
    add(&a, 0, 1000, text, 0);
    cr_expect(finds(&a, &alice, 0, &found));
    add(&a, 0, 1000, "{\"result\":\"deny\"}", 0);
    cr_expect(finds(&a, &alice, 0, &found));
    cr_expect_eq(found.result, CALLBACK_DENY);
    answers_fini(&a);
}
