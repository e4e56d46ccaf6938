/* SPDX-License-Identifier: Apache-2.0 */
/* directory: what a directory is asked for by its path. */
#pragma once

#include "proto/nodiscard.h"

/* The names that it has are on disk. 0, or an errno. */
NODISCARD int directory_sync(const char *path);
