/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/address.h"

#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct node_address address_of(const struct sockaddr_storage *from)
{
    struct node_address address = {.port = 0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *const in = (const struct sockaddr_in *)from;
        memcpy(address.ip, mapped, sizeof mapped);
        memcpy(address.ip + sizeof mapped, &in->sin_addr, sizeof in->sin_addr);
        address.port = ntohs(in->sin_port);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *const in6 = (const struct sockaddr_in6 *)from;
        memcpy(address.ip, &in6->sin6_addr, sizeof address.ip);
        address.port = ntohs(in6->sin6_port);
    }
    return address;
}

socklen_t address_to(struct sockaddr_storage *out, int family, const struct node_address *address)
{
    const bool is_v4 = memcmp(address->ip, mapped, sizeof mapped) == 0;
    memset(out, 0, sizeof *out);
    out->ss_family = (sa_family_t)family;
    if (address->port == 0 || (family == AF_INET) != is_v4) {
        return 0;
    }
    if (family == AF_INET) {
        struct sockaddr_in *const in = (struct sockaddr_in *)out;
        memcpy(&in->sin_addr, address->ip + sizeof mapped, sizeof in->sin_addr);
        in->sin_port = htons(address->port);
        return sizeof *in;
    }
    struct sockaddr_in6 *const in6 = (struct sockaddr_in6 *)out;
    memcpy(&in6->sin6_addr, address->ip, sizeof in6->sin6_addr);
    in6->sin6_port = htons(address->port);
    return sizeof *in6;
}
