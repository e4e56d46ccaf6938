/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_properties: the properties that a message keeps when it has been published: what a
 * client's PUBLISH may have, less what is the hop's own, as on the wire and without their length.
 *
 * Pure. Any bytes are fair input.
 */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"

bool message_properties_valid(struct bytes raw);
