/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health: does the process live, and may it be sent clients? What an orchestrator asks every few
 * seconds: it restarts what does not live, and sends nobody to what is not ready.
 *
 * Any thread but a shard's: health_lives() may wait.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;

#define HEALTH_TEXT_BYTES 256u

/* Does every shard turn? Each is woken, and has `within_ms` for it. The text says which does not.
 */
bool health_lives(const struct node *node, uint64_t within_ms, char text[HEALTH_TEXT_BYTES]);

/* May clients be sent here? Otherwise the text says why not. */
bool health_is_ready(const struct node *node, char text[HEALTH_TEXT_BYTES]);
