/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_text: a small file, whole.
 *
 * Owner: the caller, who frees it. At the bound: EFBIG.
 */
#pragma once

#include <stddef.h>

#include "proto/nodiscard.h"

/* 0: *text is to be freed; it is len bytes and then a NUL. Otherwise an errno. */
NODISCARD int file_text_read(const char *path, size_t bytes_max, char **text, size_t *len);
