/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8: may these bytes stand in a UTF-8 Encoded String (1.5.4)?
 *
 * Memory: none. Cost: one pass; ASCII goes eight bytes at a time.
 */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"

/* False when ill-formed (overlong, cut off, a surrogate, above U+10FFFF) or when U+0000 occurs
 * [MQTT-1.5.4-1, 1.5.4-2]. Control characters and noncharacters pass: the standard leaves that to
 * the receiver, and who publishes such a topic is told nothing by a closed connection. */
bool utf8_valid(struct bytes text);
