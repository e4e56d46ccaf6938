/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/address_rate.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#define NOW_MS 1000000u

static struct address_rate *r;

static void setup(void)
{
    r = address_rate_create(4711);
    cr_assert_not_null(r);
}

static void teardown(void)
{
    address_rate_destroy(r);
}

TestSuite(address_rate, .init = setup, .fini = teardown);

static struct in6_addr address_of(const char *text)
{
    struct in6_addr a;
    cr_assert_eq(inet_pton(AF_INET6, text, &a), 1, "%s", text);
    return a;
}

static struct in6_addr v4(uint32_t number)
{
    struct in6_addr a = address_of("::ffff:0.0.0.0");
    const uint32_t n = htonl(number);
    memcpy(&a.s6_addr[12], &n, sizeof n);
    return a;
}

/* So many of `tries` are taken. */
static unsigned taken(struct in6_addr a, unsigned tries, uint32_t per_second, uint64_t now_ms)
{
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++) {
        n += address_rate_take(r, &a, per_second, now_ms);
    }
    return n;
}

Test(address_rate, so_many_a_second)
{
    cr_expect_eq(taken(v4(1), 100, 10, NOW_MS), 10);
    cr_expect_eq(taken(v4(2), 100, 10, NOW_MS), 10, "another address has its own");
    cr_expect_eq(taken(v4(1), 100, 10, NOW_MS + 599), 5, "as time pays");
    cr_expect_eq(taken(v4(1), 100, 10, NOW_MS + 5000), 10);
}

Test(address_rate, of_ipv6_a_network_counts)
{
    cr_expect_eq(taken(address_of("2001:db8::1"), 6, 10, NOW_MS), 6);
    cr_expect_eq(taken(address_of("2001:db8::ffff:2"), 6, 10, NOW_MS), 4);
    cr_expect_eq(taken(address_of("2001:db8:0:1::1"), 6, 10, NOW_MS), 6, "another network");
}

Test(address_rate, of_ipv4_all_of_it_counts)
{
    for (unsigned i = 0; i < 256; i++) {
        cr_expect_eq(taken(v4(0x0a000000 + i), 3, 2, NOW_MS), 2, "%u", i);
    }
}

/* Twenty thousand addresses at their rate: hardly anybody else is at both of its places. Memory
 * is what it was, as there is nothing in it that grows. */
Test(address_rate, floods_hinder_few_others)
{
    for (uint32_t i = 0; i < 20000; i++) {
        taken(v4(0x0b000000 + i), 1, 1, NOW_MS);
    }
    unsigned let_in = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        let_in += taken(v4(0x0c000000 + i), 1, 1, NOW_MS);
    }
    cr_expect(let_in > 850, "%u of 1000", let_in); /* (1 - 1/e^0.3)^2 is 7 % */
}

/* With another seed others share a place: who would be hindered cannot be told beforehand. */
Test(address_rate, places_hang_on_the_seed)
{
    struct address_rate *const other = address_rate_create(4712);
    cr_assert_not_null(other);
    const struct in6_addr a = v4(1);
    cr_expect(address_rate_take(r, &a, 1, NOW_MS));
    cr_expect(address_rate_take(other, &a, 1, NOW_MS));
    unsigned same = 0;
    for (size_t i = 0; i < ADDRESS_RATE_PLACES; i++) {
        same += r->places[0][i] != 0 && other->places[0][i] != 0;
    }
    cr_expect_eq(same, 0);
    address_rate_destroy(other);
}
