/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/address_ranges.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static struct in6_addr address(const char *text)
{
    struct in6_addr six = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (strchr(text, ':') != NULL) {
        cr_assert_eq(inet_pton(AF_INET6, text, &six), 1, "%s", text);
    } else {
        cr_assert_eq(inet_pton(AF_INET, text, &six.s6_addr[12]), 1, "%s", text);
    }
    return six;
}

Test(address_ranges, have_what_lies_in_one)
{
    static const struct {
        const char *ranges, *address;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"192.168.1.128/25", "192.168.1.128", true},
        {"192.168.1.128/25", "192.168.1.127", false},
        {"192.168.1.128/25", "192.168.1.255", true},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"192.168.1.7", "192.168.1.7", true},
        {"192.168.1.7", "192.168.1.6", false},
        {"192.168.1.7/32", "192.168.1.8", false},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "::1", true},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fe00::1", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"10.0.0.0/8, fd00::/8 ,127.0.0.1", "127.0.0.1", true},
        {"10.0.0.0/8, fd00::/8 ,127.0.0.1", "fd00::2", true},
        {"10.0.0.0/8, fd00::/8 ,127.0.0.1", "127.0.0.2", false},
        {"", "127.0.0.1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address_ranges r;
        const struct in6_addr asked = address(rows[i].address);
        cr_assert_null(address_ranges_parse(&r, rows[i].ranges), "%s", rows[i].ranges);
        cr_expect_eq(address_ranges_have(&r, &asked), rows[i].in, "%s in %s", rows[i].address,
                     rows[i].ranges);
    }
}

Test(address_ranges, bad)
{
    static const struct {
        const char *ranges, *part;
    } rows[] = {
        {"10.0.0.0/33", "number of bits"},   {"::/129", "number of bits"},
        {"10.0.0.0/", "number of bits"},     {"10.0.0.0/x", "number of bits"},
        {"10.0.0.0/0008", "number of bits"}, {"10.0.0.1/8", "bits set behind"},
        {"example.org", "no IP address"},    {"10.0.0", "no IP address"},
        {"1.2.3.4,,5.6.7.8", "empty"},       {"/8", "empty"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address_ranges r = {.count = 77};
        const char *const wrong = address_ranges_parse(&r, rows[i].ranges);
        cr_assert_not_null(wrong, "%s", rows[i].ranges);
        cr_expect_not_null(strstr(wrong, rows[i].part), "%s: %s", rows[i].ranges, wrong);
        cr_expect_eq(r.count, 77, "nothing is written");
    }
}

Test(address_ranges, as_many_as_there_is_room_for)
{
    char text[8 * (ADDRESS_RANGES_MAX + 1) + 1] = "";
    struct address_ranges r;
    for (unsigned i = 0; i < ADDRESS_RANGES_MAX; i++) {
        strcat(text, "1.2.3.4,");
    }
    cr_expect_null(address_ranges_parse(&r, text));
    cr_expect_eq(r.count, ADDRESS_RANGES_MAX);
    strcat(text, "1.2.3.4");
    cr_expect_str_eq(address_ranges_parse(&r, text), "there are more than 64 addresses in it");
}
