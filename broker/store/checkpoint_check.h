/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint_check: a checkpoint that no broker has open is read as a whole: a backup, also on a
 * medium that is read-only; or that of a node which does not run. No file is made.
 */
#pragma once

#include "broker/store/checkpoint.h"
#include "proto/nodiscard.h"

struct checkpoint_facts {
    uint8_t id[CHECKPOINT_ID_BYTES];
    uint32_t format;
    uint64_t keys;
};

/* As checkpoint_check(), but of what the checkpoint says of itself alone; `keys` is not set. */
NODISCARD enum checkpoint_err checkpoint_facts_read(struct checkpoint_facts *facts, const char *dir,
                                                    int *sys_errno);

/* `dir`/checkpoint. CHECKPOINT_CORRUPT also where the file is shorter than what it says it has.
 * *facts is set with CHECKPOINT_OK. *sys_errno as with checkpoint_open(). */
NODISCARD enum checkpoint_err checkpoint_check(struct checkpoint_facts *facts, const char *dir,
                                               int *sys_errno);

/* As checkpoint_copy(), of `dir`/checkpoint, whose directory the caller has locked. Pages that are
 * missing at the end of the file, as they may be after a crash, are added as zeros. */
NODISCARD enum checkpoint_err checkpoint_copy_closed(const char *dir, int fd, int *sys_errno);
