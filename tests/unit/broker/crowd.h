/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd: some clients of mixed versions that do fair things in an order that somebody else chooses:
 * a random sequence (crowd_test.c) or a fuzzer (tests/fuzz/session_fuzz.c); and what the broker
 * promises each of them (ledger.h).
 *
 * Besides: never more in flight than the client's Receive Maximum, as the client sees it and as the
 * broker counts it; no packet identifier twice among those that are open; each queue as it has to
 * be (outqueue_check()), after every action; nobody is disconnected who did nothing wrong; sessions
 * are resumed that are due to be; and at the end no session has anything left for a client that has
 * answered all, and no message is left in memory. What is broken aborts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where the choices come from. */
struct chooser {
    uint32_t (*below)(struct chooser *chooser, uint32_t bound); /* 0..bound - 1 */
    bool (*has_more)(const struct chooser *chooser);            /* asked before each action */
};

/* How it went. */
struct crowd_figures {
    uint64_t actions, said, heard, repeated, resumed;
    uint64_t crashes, ends;       /* of the process */
    uint64_t compared, unwritten; /* … where all was on disk, and states compared; or was not */
};

void crowd_run(struct chooser *chooser, struct crowd_figures *figures);

/*
 * On a broker that keeps sessions on a disk (fake_disk.h), which at times is slow, and whose
 * process ends now and then, by a crash that leaves of what was being written whatever it likes, or
 * cleanly. What clients were told before holds after it; the same files give the same state each
 * time, with another number of shards, too; and where all was on disk it is the state of before.
 */
void crowd_run_kept(struct chooser *chooser, struct crowd_figures *figures);
