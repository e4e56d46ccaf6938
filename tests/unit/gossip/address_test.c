/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

static struct sockaddr_storage of(int family, const char *text, uint16_t port)
{
    struct sockaddr_storage s = {.ss_family = (sa_family_t)family};
    if (family == AF_INET) {
        struct sockaddr_in *const in = (struct sockaddr_in *)&s;
        in->sin_port = htons(port);
        cr_assert_eq(inet_pton(family, text, &in->sin_addr), 1);
    } else {
        struct sockaddr_in6 *const in6 = (struct sockaddr_in6 *)&s;
        in6->sin6_port = htons(port);
        cr_assert_eq(inet_pton(family, text, &in6->sin6_addr), 1);
    }
    return s;
}

Test(address, there_and_back)
{
    static const struct {
        int family;
        const char *text, *printed;
    } rows[] = {
        {AF_INET, "10.1.2.3", "10.1.2.3:4000"},
        {AF_INET, "255.255.255.255", "255.255.255.255:4000"},
        {AF_INET6, "2001:db8::1", "[2001:db8::1]:4000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct sockaddr_storage from = of(rows[i].family, rows[i].text, 4000);
        const struct node_address address = address_of(&from);
        struct sockaddr_storage again;
        char printed[ADDRESS_TEXT_BYTES];
        node_address_print(printed, &address);
        cr_expect_str_eq(printed, rows[i].printed);
        const socklen_t len = address_to(&again, rows[i].family, &address);
        cr_expect_gt(len, 0);
        cr_expect_eq(memcmp(&again, &from, len), 0, "%s", rows[i].text);
    }
}

Test(address, what_a_socket_cannot_reach_is_no_address_for_it)
{
    struct sockaddr_storage out;
    const struct sockaddr_storage v4 = of(AF_INET, "10.1.2.3", 1),
                                  v6 = of(AF_INET6, "2001:db8::1", 1),
                                  none = {.ss_family = AF_UNIX};
    const struct node_address of_v4 = address_of(&v4), of_v6 = address_of(&v6),
                              of_none = address_of(&none);
    cr_expect_eq(address_to(&out, AF_INET, &of_v6), 0);
    cr_expect_eq(address_to(&out, AF_INET6, &of_v4), 0, "listeners of IPv6 are of that alone");
    cr_expect_eq(address_to(&out, AF_INET, &of_none), 0);
    cr_expect_eq(of_none.port, 0);
}
