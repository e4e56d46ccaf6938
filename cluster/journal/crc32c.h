/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c: the checksum of what is on disk (Castagnoli's polynomial, as iSCSI has it).
 *
 * Two runs of the same length differ in it if they differ in 32 neighbouring bits or fewer; and the
 * same bytes have different sums from different beginnings (`crc`).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`, which is 0 or the sum of what stands before; by the processor's own
 * instruction where it has one (SSE 4.2). */
uint32_t crc32c(uint32_t crc, const void *at, size_t len);

/* The same by a table, which any processor can; for tests. */
uint32_t crc32c_table(uint32_t crc, const void *at, size_t len);
