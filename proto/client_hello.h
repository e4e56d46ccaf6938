/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_hello: what the first message of a TLS handshake (RFC 8446, 4.1.2; RFC 5246, 7.4.1.2)
 * tells before anybody has dealt with it: the host that the client wants, and whether it comes back
 * to an earlier session, so that the answer is cheap. Nothing else is judged here; the TLS library
 * reads the same bytes again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* The record's header, and the most that one carries. */
#define CLIENT_HELLO_BYTES_MAX (5u + 16384u)

enum client_hello_err {
    CLIENT_HELLO_OK = 0,
    CLIENT_HELLO_NEED_MORE, /* *wanted bytes, at least */
    CLIENT_HELLO_NOT_TLS,   /* it begins with no TLS handshake */
};

struct client_hello {
    struct bytes server_name; /* empty: none, or more than the first record holds */
    bool resumes;             /* it shows a ticket or a pre-shared key */
};

/* in[0..len) is the beginning of the stream; server_name points into it. Any bytes are fair input;
 * what is malformed behind the record's header is left to the TLS library to refuse. */
NODISCARD enum client_hello_err client_hello_peek(struct client_hello *hello, const uint8_t *in,
                                                  size_t len, size_t *wanted);
