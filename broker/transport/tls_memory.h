/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_memory: how wolfSSL gets its memory, and how some of it is had back. Debian's has room in
 * each connection for what few use: a session of 37 KiB, most of which nobody ever writes.
 *
 * Owner: a block is wolfSSL's; what is watched is each thread's own.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tls_block {
    uint8_t *at; /* NULL: none */
    size_t len;
};

/* Before anything else of wolfSSL; again does nothing. */
void tls_memory_init(void);

/* The largest block, above 32 KiB, that this thread asks for from now on; or `b`, while none is
 * larger. What is given back is it no longer. */
void tls_memory_watch(struct tls_block b);
struct tls_block tls_memory_largest(void);

/* Its pages of zeros go back to the system, which gives zeros again when they are looked at. Not
 * where the kernel's pages are larger than 4 KiB: it would take the neighbours too. */
void tls_memory_give_back_zeros(struct tls_block b);
