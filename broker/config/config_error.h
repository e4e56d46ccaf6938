/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_error: what is wrong with the configuration: sentences for the operator, one a line.
 *
 * Each line says where (FILE:LINE, the variable, or the flag), which key, what is wrong, and what
 * would be right. A load goes on after a mistake, so that all are told at once.
 *
 * Owner: the caller, on its stack or in a struct; = {0} is empty.
 * At the bound: further lines are counted, not kept; the last line then says how many.
 */
#pragma once

#include <stddef.h>

#define CONFIG_ERROR_BYTES 4096u

struct config_error {
    unsigned count; /* mistakes, also those that found no room; 0: none */
    /* ---- config_error's own */
    unsigned lost;
    size_t len;
    char text[CONFIG_ERROR_BYTES]; /* lines, each ended by \n, then NUL */
};

/* One more mistake; the format without a newline at its end. */
__attribute__((format(printf, 2, 3))) void config_error_add(struct config_error *e,
                                                            const char *format, ...);
