/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet_head: how much of a packet may be shown to an operator: what it is and whom it concerns,
 * but no payload, no password or token, and of PUBLISH no property, which may be the application's.
 */
#pragma once

#include <stddef.h>

#include "proto/bytes.h"

/*
 * How many of the bytes that a packet begins with may be shown:
 *
 *   CONNECT   before 5.0 up to the client identifier, with 5.0 up to keep alive
 *   PUBLISH   up to the packet identifier
 *   CONNACK   up to the reason code        AUTH   likewise
 *   others    all
 *
 * Any bytes are fair input; never more than there are.
 */
size_t packet_head(struct bytes packet);
