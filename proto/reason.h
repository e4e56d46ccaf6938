/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reason: the reason codes of MQTT 5.0 (2.4), from one table (proto/tbl/reason.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum mqtt_reason {
#define REASON(name, value, text, packets) MQTT_REASON_##name = (value),
#include "proto/tbl/reason.h"
};

/* "Success", "Packet too large" …; "?" for a number that is no reason code. */
const char *mqtt_reason_text(uint8_t reason);

/* May this reason code stand in that packet (enum mqtt_type), sent by that side? */
bool mqtt_reason_allowed(uint8_t reason, unsigned type, bool from_server);

/* The CONNACK return code before 5.0 (3.1.1: 3.2.2.3) that says it best: 0 for success, 1..5. */
uint8_t mqtt_reason_to_return_code(uint8_t reason);
