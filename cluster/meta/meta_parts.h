/* SPDX-License-Identifier: Apache-2.0 */
/* meta_parts: what its files have in common. Not for others. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* 1, 3, 5: an even number bears no more losses than one less. */
bool meta_replicas_are_known(uint8_t replicas);
