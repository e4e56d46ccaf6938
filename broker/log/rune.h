/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rune: one character of UTF-8 at a time, for text that goes before a person's eyes.
 *
 * Owner: the caller; no memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the character that at[0..len) begins with, 1..4, and its code point; 0 when those bytes
 * are no well-formed UTF-8 (cut short, overlong, a surrogate, above U+10FFFF). len > 0. */
size_t rune_decode(const uint8_t *at, size_t len, uint32_t *rune);

/* Is it one that a terminal or an editor acts upon instead of showing: a control character, a line
 * or paragraph separator, one that changes the direction of text, or no character at all? */
bool rune_is_unsafe(uint32_t rune);
