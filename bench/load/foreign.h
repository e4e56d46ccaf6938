/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign: the topic filters of others, beside which the messages have to find their way: any
 * number of different ones, none of which matches a message of the run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOREIGN_BYTES_MAX  96u
#define FOREIGN_PER_PACKET 32u /* a SUBACK of so many fits the reader */

enum foreign_kind {
    FOREIGN_EXACT, /* no wildcard */
    FOREIGN_PLUS,  /* a + in the second or third of four levels */
    FOREIGN_HASH,  /* a # in the fourth */
    FOREIGN_MIXED, /* each of these in turn */
    FOREIGN_KINDS,
};

/* The names of these, as the command line has them. */
extern const char *const foreign_kind_names[FOREIGN_KINDS];

struct foreign {
    enum foreign_kind kind;
    const char *first_level; /* the same for all; NULL: spread over a thousand */
};

/* Filter number i; its length. */
size_t foreign_filter(const struct foreign *f, uint64_t i, char out[FOREIGN_BYTES_MAX]);

/*
 * The `filters` part of a SUBSCRIBE, with QoS 0, or of an UNSUBSCRIBE, for count filters from
 * `first` on, at most FOREIGN_PER_PACKET. out: FOREIGN_PER_PACKET * (FOREIGN_BYTES_MAX + 3) bytes.
 */
size_t foreign_filters(const struct foreign *f, uint64_t first, uint32_t count, bool subscribe,
                       uint8_t *out);
