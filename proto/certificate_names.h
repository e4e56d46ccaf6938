/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificate_names: whom an X.509 certificate (DER) is for, of those names that may name a client:
 * the subject's common name, and of the subject alternative name the DNS name, the URI, and the
 * e-mail address (RFC 5280, 4.1.2.6 and 4.2.1.6).
 *
 * Whether the certificate is any good is not asked here. A name is given only if it can be mistaken
 * for no other: there is one of its kind, of 1 to CERTIFICATE_NAME_BYTES_MAX bytes, UTF-8 without
 * control characters, and, of the kinds that may stand for many hosts, without an asterisk.
 *
 * Memory: none; names point into the certificate.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define CERTIFICATE_NAME_BYTES_MAX 255u

enum certificate_name {
    CERTIFICATE_COMMON_NAME,
    CERTIFICATE_DNS,
    CERTIFICATE_URI,
    CERTIFICATE_EMAIL,
    CERTIFICATE_NAMES /* so many */
};

struct certificate_names {
    struct bytes name[CERTIFICATE_NAMES]; /* len 0: there is none that could be used */
};

/* Any bytes are fair input. false: they are no certificate; *names is left alone. */
NODISCARD bool certificate_names_decode(struct certificate_names *names, struct bytes der);

/* The same rules for a name of that kind that came otherwise. */
bool certificate_name_is_fair(enum certificate_name kind, struct bytes name);
