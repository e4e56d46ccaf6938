/* SPDX-License-Identifier: Apache-2.0 */
/* tree: a directory with all that is in it. Each answers 0, or the errno of what failed. */
#pragma once

#include "proto/nodiscard.h"

NODISCARD int tree_clear(const char *path); /* what is in it goes; of links, only themselves */
NODISCARD int tree_sync(const char *path);  /* the names in it and in its directories */
NODISCARD int tree_sync_parent(const char *path);
