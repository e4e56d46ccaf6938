/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/address_ranges.h"

#include <arpa/inet.h>
#include <string.h>

#include "broker/config/comma_list.h"

#define MAPPED_BITS 96u /* before an IPv4 address */

static bool parse_bits(const char *text, unsigned max, unsigned *bits)
{
    unsigned sum = 0;
    if (*text == '\0' || strlen(text) > 3) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        sum = sum * 10 + (unsigned)(*text - '0');
    }
    *bits = sum;
    return sum <= max;
}

struct in6_addr address_range_cut(struct in6_addr address, unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        const unsigned before = i * 8;
        const unsigned counts = bits <= before ? 0 : bits - before < 8 ? bits - before : 8;
        address.s6_addr[i] &= (uint8_t)(0xff00u >> counts);
    }
    return address;
}

static const char *parse_one(struct address_range *range, const char *text)
{
    char host[INET6_ADDRSTRLEN];
    const char *const slash = strchrnul(text, '/');
    const size_t len = (size_t)(slash - text);
    if (len == 0 || len >= sizeof host) {
        return "there is an empty or overlong address in it; write it as 10.0.0.0/8, fd00::/8";
    }
    memcpy(host, text, len);
    host[len] = '\0';

    struct in_addr v4;
    struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    const bool is_v4 = inet_pton(AF_INET, host, &v4) == 1;
    if (is_v4) {
        memcpy(&address.s6_addr[12], &v4, sizeof v4);
    } else if (inet_pton(AF_INET6, host, &address) != 1) {
        return "there is something in it that is no IP address; names are not looked up";
    }
    const unsigned before = is_v4 ? MAPPED_BITS : 0;
    unsigned bits = 128 - before;
    if (*slash == '/' && !parse_bits(slash + 1, 128 - before, &bits)) {
        return "behind a slash there has to be a number of bits, up to 32, for IPv6 up to 128";
    }
    range->bits = (uint8_t)(bits + before);
    range->address = address_range_cut(address, range->bits);
    if (memcmp(&range->address, &address, sizeof address) != 0) {
        return "an address in it has bits set behind those that count, as in 10.0.0.1/8; write "
               "10.0.0.0/8, or 10.0.0.1 for that one alone";
    }
    return NULL;
}

const char *address_ranges_parse(struct address_ranges *out, const char *text)
{
    struct address_ranges r = {.count = 0};
    const size_t count = comma_list_count(text);
    if (count > ADDRESS_RANGES_MAX) {
        return "there are more than 64 addresses in it";
    }
    for (; r.count < count; r.count++) {
        char one[64] = "";
        const char *wrong = "there is an overlong address in it";
        if (comma_list_at(text, r.count, one, sizeof one)) {
            wrong = parse_one(&r.all[r.count], one);
        }
        if (wrong != NULL) {
            return wrong;
        }
    }
    *out = r;
    return NULL;
}

bool address_ranges_have(const struct address_ranges *r, const struct in6_addr *address)
{
    for (unsigned i = 0; i < r->count; i++) {
        const struct in6_addr same = address_range_cut(*address, r->all[i].bits);
        if (memcmp(&same, &r->all[i].address, sizeof same) == 0) {
            return true;
        }
    }
    return false;
}
