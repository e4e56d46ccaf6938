/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inquiry: a question about one client that a shard cannot answer without waiting, and that a
 * thread answers for it: is this password right, is this token good, what says that server?
 *
 *   shard ── asks ─▶ gate, or another thread ── login_answer() ─▶ answered(), on the shard
 *
 * It is the first member of what holds question and answer. Owner: the asker, until the thread has
 * taken it; that one, until it hands it to login_answer(); then the shard.
 */
#pragma once

struct inquiry {
    struct inquiry *next; /* of whoever has it */
    void *client;         /* the asker's: its connection */
    unsigned shard;
    void (*answered)(struct inquiry *q); /* on the shard: takes the answer up */
    void (*destroy)(struct inquiry *q);  /* by whoever has it last */
};
