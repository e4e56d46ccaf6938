/* SPDX-License-Identifier: Apache-2.0 */
/*
 * varint: the Variable Byte Integer (1.5.5); seven bits a byte, the low group first.
 *
 * Memory: none. Cost: at most four bytes are read or written.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/mqtt.h"
#include "proto/nodiscard.h"

#define VARINT_BYTES_MAX 4u
#define VARINT_MAX       268435455u /* 0x0fffffff */

/* Moves *at past one Variable Byte Integer; only on MQTT_OK are *at and *value written.
 * MQTT_ERR_NEED_MORE: it does not end before `end`. MQTT_ERR_MALFORMED: nor in four bytes.
 * Whether it was the shortest form is for the caller, who knows the version: 5.0 demands it
 * [MQTT-1.5.5-1], 3.1.1 does not. */
NODISCARD enum mqtt_err varint_decode(const uint8_t **at, const uint8_t *end, uint32_t *value);

/* The bytes of the shortest form: 1..4. value <= VARINT_MAX. */
size_t varint_size(uint32_t value);

/* Writes the shortest form, and returns its size; out has room for it. value <= VARINT_MAX. */
size_t varint_encode(uint8_t *out, uint32_t value);
