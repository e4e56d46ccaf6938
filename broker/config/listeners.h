/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listeners: what has to fit together in the entries of the list `listeners`. What a listener has
 * no use for is refused, lest it be believed.
 */
#pragma once

struct config;
struct config_error;

void listeners_check(const struct config *c, struct config_error *error);
