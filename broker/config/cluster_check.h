/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_check: what has to hold between the keys of a cluster. */
#pragma once

#include "broker/config/config.h"

/* Adds a line for each that does not. */
void cluster_check(const struct config *c, struct config_error *error);
