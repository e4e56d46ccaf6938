/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/remembered.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct remembered *fresh(void)
{
    struct remembered *r = calloc(1, sizeof *r);
    cr_assert_not_null(r);
    cr_assert(remembered_init(r));
    return r;
}

static void end(struct remembered *r)
{
    remembered_fini(r);
    free(r);
}

static struct password_hash line(const char *salt)
{
    struct password_hash h;
    password_hash_init(&h, PASSWORD_SCRYPT, bytes_text(salt));
    return h;
}

static struct proof proof_of(const struct remembered *r, const char *user, const char *password,
                             const char *salt)
{
    struct proof proof;
    const struct password_hash h = line(salt);
    cr_assert(remembered_prove(r, &proof, bytes_text(user), bytes_text(password), &h));
    return proof;
}

Test(remembered, knows_what_was_added_and_nothing_near_it)
{
    static const struct {
        const char *user, *password, *salt;
        bool known;
    } rows[] = {
        {"alice", "wonderland", "saltsalt", true},  {"alice", "wonderlan", "saltsalt", false},
        {"alice", "", "saltsalt", false},           {"alicew", "onderland", "saltsalt", false},
        {"bob", "wonderland", "saltsalt", false},   {"", "alicewonderland", "saltsalt", false},
        {"alice", "wonderland", "saltsald", false},
    };
    struct remembered *r = fresh();
    struct proof proof = proof_of(r, "alice", "wonderland", "saltsalt");
    cr_expect_not(remembered_has(r, &proof));
    remembered_add(r, &proof);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        proof = proof_of(r, rows[i].user, rows[i].password, rows[i].salt);
        cr_expect_eq(remembered_has(r, &proof), rows[i].known, "row %zu", i);
    }
    end(r);
}

Test(remembered, each_process_has_a_key_of_its_own)
{
    struct remembered *r = fresh(), *other = fresh();
    const struct proof proof = proof_of(r, "alice", "wonderland", "saltsalt");
    remembered_add(other, &proof);
    const struct proof again = proof_of(other, "alice", "wonderland", "saltsalt");
    cr_expect_not(remembered_has(other, &again));
    end(r);
    end(other);
}

Test(remembered, later_one_takes_the_place)
{
    struct remembered *r = fresh();
    const struct proof first = {.words = {5, 1, 2, 3}};
    const struct proof second = {.words = {5 + REMEMBERED_PLACES, 1, 2, 3}};
    remembered_add(r, &first);
    cr_expect(remembered_has(r, &first));
    remembered_add(r, &second);
    cr_expect(remembered_has(r, &second));
    cr_expect_not(remembered_has(r, &first));
    end(r);
}

Test(remembered, every_part_counts)
{
    struct remembered *r = fresh();
    const struct proof proof = {.words = {7, 1, 2, 3}};
    remembered_add(r, &proof);
    for (unsigned i = 0; i < PROOF_WORDS; i++) {
        struct proof other = proof;
        other.words[i] ^= i == 0 ? REMEMBERED_PLACES : 1;
        cr_expect_not(remembered_has(r, &other), "word %u", i);
    }
    end(r);
}
