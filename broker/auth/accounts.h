/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accounts: the users and groups of this machine, by what an operator calls them: a name, or a
 * number, which needs no account.
 *
 * To be asked by the main thread only: the answer may come from a file, or over a network.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

/* Digits only, below UINT32_MAX, which is nobody's id; false: it is a name. */
NODISCARD bool account_number(const char *text, uint32_t *id);

/* Where names are looked up. false: there is none of that name, or it cannot be found out. */
struct accounts {
    bool (*uid)(const char *name, uint32_t *uid);
    bool (*gid)(const char *name, uint32_t *gid);
};

extern const struct accounts accounts_of_this_machine;
