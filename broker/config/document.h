/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document: a configuration file's text into settings, each with its line.
 *
 * A pass of our own over libyaml's events, before libcyaml sees the values: libcyaml stops at the
 * first mistake, does not tell duplicates, and knows neither what would have been right nor, once
 * loaded, on which line a value stood.
 *
 * Owner: the caller; nothing is kept. Any bytes are fair input; the time is linear in them.
 */
#pragma once

#include <stddef.h>

#include "broker/config/config_error.h"
#include "broker/config/settings.h"

/* `name` is how messages and origins call the file. A list that the document has replaces the whole
 * one. Mistakes are added to *error; what is right is put in all the same. */
void document_read(struct settings *s, const char *name, const char *text, size_t len,
                   struct config_error *error);
