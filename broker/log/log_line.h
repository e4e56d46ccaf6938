/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_line: a record as the line that an operator reads, or that a program does.
 *
 *   ts=2026-11-23T23:59:59.123456Z level=warning msg=connection_refused limit=5 client_id="a \"b\""
 *   {"ts":"2026-11-23T23:59:59.123456Z","level":"warning","msg":"connection_refused","limit":5,…}
 *
 * No field can break out of its line, its quotes, or the terminal: characters that are not for
 * showing become \u escapes, bytes that are no UTF-8 become U+FFFD (escaped, too). A JSON line is
 * valid JSON whatever the record holds.
 *
 * Owner: the caller; no memory.
 */
#pragma once

#include <stddef.h>

#include "broker/log/log_record.h"

#define LOG_NAME_BYTES_MAX 48u /* of a field's name or an event; asserted */

/* Enough for any record: each byte of text becomes at most six. */
#define LOG_LINE_BYTES_MAX                                                                         \
    (6u * LOG_RECORD_BYTES + (LOG_FIELDS_MAX + 4) * (LOG_NAME_BYTES_MAX + 28))

/* Length of the line, with its newline and without a NUL. */
size_t log_line_write(char out[LOG_LINE_BYTES_MAX], const struct log_record *r,
                      enum log_format format);
