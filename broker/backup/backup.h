/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup: a copy of a node's directory, whether a broker runs on it or not.
 *
 * It has its name when it is whole, on disk, and has been read again; until then it is there as
 * that name and BACKUP_PARTIAL, which a later one to the same name removes.
 *
 * A thread that may wait: for the disk, for the broker, for others who back up.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct config_error;
struct manifest;

#define BACKUP_PARTIAL ".dunlin-partial"

/* true: *taken is to be given back (manifest_fini()). */
NODISCARD bool backup_take(const char *data, const char *to, struct manifest *taken,
                           struct config_error *error);
