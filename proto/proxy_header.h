/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_header: what a load balancer says of its client before the client's own bytes: the header
 * of HAProxy's PROXY protocol, version 1 (a line of text) or 2 (binary).
 *
 * Memory: none; what was decoded points into the header.
 * At the bound: a header over PROXY_HEADER_BYTES_MAX is refused as soon as its length is known.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define PROXY_HEADER_BYTES_MAX (16u + 4096u)

enum proxy_header_err {
    PROXY_HEADER_OK = 0,
    PROXY_HEADER_NEED_MORE,
    PROXY_HEADER_MALFORMED,
};

enum proxy_family {
    PROXY_FAMILY_NONE, /* not told: the connection's own address counts */
    PROXY_FAMILY_IPV4,
    PROXY_FAMILY_IPV6,
    PROXY_FAMILY_UNIX, /* of the load balancer's client; the paths are not given back */
};

struct proxy_end {
    struct in6_addr address; /* IPv4 mapped; zeros unless the family is IPv4 or IPv6 */
    uint16_t port;
};

/* What the client did in TLS, which the load balancer has ended (PP2_TYPE_SSL). */
struct proxy_tls {
    bool used;                /* it was TLS */
    bool certificate;         /* it showed a certificate in this connection; */
    bool certificate_earlier; /* or in the session that this one resumed; */
    bool verified;            /* and that was found good */
    struct bytes version;     /* "TLSv1.3"; may be empty, as the others */
    struct bytes common_name; /* of its certificate; UTF-8 is not checked */
};

struct proxy_header {
    bool local; /* the load balancer speaks for itself, as in a health check */
    enum proxy_family family;
    struct proxy_end source, destination;
    struct proxy_tls tls;
    struct bytes server_name; /* that the client asked for in TLS (PP2_TYPE_AUTHORITY) */
    struct bytes alpn;
};

/*
 * Decodes the header that in[0..in_len) begins with. Any bytes are fair input.
 *
 * OK: *used is its size; the client's bytes come behind it. NEED_MORE: *used is the size to call
 * again with, at least; it is never more than the header's own. *header is written on OK only.
 */
NODISCARD enum proxy_header_err proxy_header_decode(struct proxy_header *header, const uint8_t *in,
                                                    size_t in_len, size_t *used);
