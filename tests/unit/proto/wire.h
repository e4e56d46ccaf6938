/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: packets as tests write them down.
 *
 *   30 a0     bytes, in hexadecimal         'abc'     characters
 *   { … }     behind its length, a varint   [ … ]     behind its length, in two bytes
 *
 * so that "10 {['MQTT'] 04 02 003c ['me']}" is a CONNECT. A row that cannot be read aborts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/mqtt.h"

#define WIRE_BYTES_MAX 4096u

#define CLIENT false
#define SERVER true

/* Returns the size; out has WIRE_BYTES_MAX bytes. */
size_t wire_parse(uint8_t *out, const char *text);

/* A copy that ends where its block ends, so that ASan sees a byte read too far. To be freed. */
uint8_t *wire_exact(const uint8_t *in, size_t len);

/* What mqtt_decode() says to just these bytes; checks too that a success used them all. */
enum mqtt_err wire_judge(const uint8_t *in, size_t len, enum mqtt_version version,
                         bool from_server);
enum mqtt_err wire_judge_text(const char *text, enum mqtt_version version, bool from_server);
