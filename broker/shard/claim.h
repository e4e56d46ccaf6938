/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim: who may touch a shard. Its own thread while it is awake; while it sleeps in the kernel,
 * any other that lays claim to it for a moment (shard/visit.h).
 *
 *             leave                     visit
 *   OWNER ───────────▶ NOBODY ───────────────────────▶ VISITOR ── take (waits) ──▶ AWAITED
 *     ▲  ◀── take, wake ──┘  ◀─── end_visit(false) ───────┘                           │
 *     └───────────────────────── end_visit(true) ─────────┴───── end_visit ───────────┘
 *
 * Every transition is a read-modify-write with acquire and release: who comes next sees all that
 * the one before it did. Mail is safe in the same way: its sender shows it, then calls
 * claim_is_free(); whoever gives a shard up looks for mail once more after that. The later of the
 * two finds what the earlier one did, so either the sender finds nobody there, or the mail is
 * found.
 *
 * Owner: the shard it is part of. A visit is short, so that waiting for its end is, too.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct claim {
    _Atomic int state; /* enum claim_state in claim.c; 0: the owner's */
};

/* ---- the shard's own thread */
void claim_leave(struct claim *c); /* from here on nothing of the shard is touched until… */
void claim_take(struct claim *c);  /* … it is ours again; waits for the end of a visit */

/* ---- other threads */

/* Does nobody have it? After whoever asks has shown the mail. */
bool claim_is_free(struct claim *c);

/* It is the caller's until claim_end_visit(); false: somebody has it. */
bool claim_visit(struct claim *c);

/* Gives it back: to its owner, who is needed, or to nobody. True: the owner's thread, which does
 * not know yet, has to be woken. */
bool claim_end_visit(struct claim *c, bool owner_is_needed);

/* Gives it to its sleeping owner; true: whose thread has to be woken by the caller. */
bool claim_wake(struct claim *c);
