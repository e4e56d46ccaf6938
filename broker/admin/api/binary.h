/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binary: bytes in JSON: member NAME as text where they are UTF-8, NAME_base64 (RFC 4648, section
 * 4) otherwise.
 */
#pragma once

#include <jansson.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* -1: no memory. */
NODISCARD int binary_add(json_t *object, const char *name, struct bytes bytes);

/* The one of these two that the object has; at NULL: neither. *out is to be freed. NULL, or what is
 * wrong: a constant text. */
NODISCARD const char *binary_take(const json_t *object, const char *name, struct bytes *out);
