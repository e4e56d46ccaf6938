/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/seeds.h"

#include <criterion/criterion.h>

Test(seeds, hosts_addresses_and_names_of_records)
{
    struct seeds s;
    cr_assert_null(seeds_parse(&s, "10.0.0.7:4000, dunlin.example.org:1,[2001:db8::1]:65535,"
                                   "srv:_dunlin._tcp.example.org"));
    cr_assert_eq(s.count, 4);
    cr_expect_str_eq(s.at[0].host, "10.0.0.7");
    cr_expect_eq(s.at[0].port, 4000);
    cr_expect_str_eq(s.at[1].host, "dunlin.example.org");
    cr_expect_eq(s.at[1].port, 1);
    cr_expect_str_eq(s.at[2].host, "2001:db8::1");
    cr_expect_eq(s.at[2].port, 65535);
    cr_expect(s.at[3].srv && !s.at[0].srv);
    cr_expect_str_eq(s.at[3].host, "_dunlin._tcp.example.org");
    cr_assert_null(seeds_parse(&s, ""));
    cr_expect_eq(s.count, 0);
}

Test(seeds, anything_else_is_refused)
{
    static const char *const wrong[] = {
        "host",       "host:",         "host:0",
        "host:65536", ":4000",         "host:40x",
        "a:1,,b:2",   "2001:db8::1:1", "[10.0.0.7]:1",
        "srv:",       "srv:a:1",       "[]:1",
        "a b:4000",   "a/b:4000",      "host:4000:4000",
        "[::1]",      "tcp://a:1",     "host:99999999999999999999",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct seeds s = {.count = 77};
        cr_expect_not_null(seeds_parse(&s, wrong[i]), "'%s'", wrong[i]);
        cr_expect_eq(s.count, 77, "'%s'", wrong[i]);
    }
}

Test(seeds, sixteen_at_most)
{
    struct seeds s;
    cr_expect_null(
        seeds_parse(&s, "a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1"));
    cr_expect_eq(s.count, SEEDS_MAX);
    cr_expect_not_null(
        seeds_parse(&s, "a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1"));
}
