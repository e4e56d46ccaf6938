/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet_json: what a packet says, as far as packet_head() shows it, as members of an object.
 *
 * The bytes may end anywhere: what is not there is left out.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* `version`: enum mqtt_version, of its connection. Not the topic of a PUBLISH, which may be an
 * alias. -1: no memory. */
NODISCARD int packet_json_add(json_t *object, uint8_t version, struct bytes head);
