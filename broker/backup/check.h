/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check: is a backup what was written, and can a broker start on it? All of it is read: each file's
 * sum, each value of the checkpoint, each record of the journals.
 */
#pragma once

#include <stdbool.h>

#include "broker/backup/manifest.h"
#include "proto/nodiscard.h"

struct config_error;

/* The files in the directory `dir` against the manifest. false: told. */
NODISCARD bool check_backup(const struct manifest *m, const char *dir, struct config_error *error);
