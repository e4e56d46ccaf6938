/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_fake: io.h in memory, for whole shards in unit tests and fuzzers: no descriptor (but of
 * files), no clock, no thread. The test is the clients; everything happens in an order that follows
 * from the calls.
 *
 * Owner: one thread for all. Memory: a net owns its connections, with all bytes under way, until it
 * is destroyed; ios are destroyed first. Nothing is bounded but by what the test writes; out of
 * memory aborts.
 *
 * As in the kernel, what is asked for in a turn happens in the next one at the earliest, a
 * receive_stop() is under way until the next turn, and descriptors mean the same in every io of the
 * net. Unlike there, descriptors are not used again, so that a client can still be asked after its
 * connection was closed. io_turn() never waits, whatever the timeout: it calls handlers for all
 * that is there, first accepted() in the order of the connects, then each socket in the order of
 * descriptors: sent(), then received() and ended(), or closed(); then done() of each file
 * operation, in the order in which they were asked for.
 *
 * Files are real ones. Of io_write_and_sync() nothing is in the file before the turn that calls
 * done(), and then all of it: what is under way is what a crash may lose, or leave in part.
 */
#pragma once

#include "broker/io/io.h"

struct io_fake_net;

struct io_fake_net *io_fake_net_create(void);
void io_fake_net_destroy(struct io_fake_net *net);

struct io *io_fake_create(struct io_fake_net *net, const struct io_handlers *handlers,
                          void *context);

/* Whether the next turn would call a handler. */
bool io_fake_has_pending(const struct io *io);

/* Whether it was woken since its last turn began. */
bool io_fake_is_woken(const struct io *io);

/* A client connects: its descriptor, from now on the client's name too; -1 if nobody listens. */
int io_fake_connect(struct io *io, unsigned listener);

/* A connection that nobody listened for, to be attached by whoever it is given to. */
int io_fake_open(struct io_fake_net *net);

/* The next turn's accept fails with that error, once; the connections stay where they are. */
void io_fake_fail_accept(struct io *io, unsigned listener, int error);

/* received() gets at most that many bytes at a time; SIZE_MAX at first. */
void io_fake_set_chunk(struct io_fake_net *net, size_t bytes_max);

/* ---- files */

/* On a slow disk: while held, nothing that was asked for completes. */
void io_fake_files_hold(struct io *io, bool hold);

/* The next that is asked for fails with that error, after so many of its bytes were written. */
void io_fake_fail_file(struct io *io, int error, size_t bytes);

/*
 * The power fails: what is under way is over, without done(). Of each, in order, those sectors
 * reach the file for which kept() says so; its argument counts sectors of 512 bytes in the file, of
 * which a write may touch the first and the last in part. NULL: nothing reaches it.
 */
void io_fake_files_lose(struct io *io, bool (*kept)(void *context, uint64_t sector), void *context);
unsigned io_fake_files_under_way(const struct io *io);

/* ---- what clients do */
void io_fake_client_write(struct io_fake_net *net, int fd, const void *data, size_t len);
void io_fake_client_finish(struct io_fake_net *net,
                           int fd);                         /* end of stream, after what it wrote */
void io_fake_client_reset(struct io_fake_net *net, int fd); /* what it wrote is lost */

/* How much may be under way to the client, unread: SIZE_MAX at first; 0: sends stay pending. */
void io_fake_client_set_window(struct io_fake_net *net, int fd, size_t bytes);

/* Takes what was sent to the client; how much there is. */
size_t io_fake_client_read(struct io_fake_net *net, int fd, void *out, size_t out_max);
size_t io_fake_client_readable(const struct io_fake_net *net, int fd);

/* Whether the broker has ended the stream (shut down or closed), and all of it was read. */
bool io_fake_client_sees_end(const struct io_fake_net *net, int fd);
bool io_fake_client_sees_close(const struct io_fake_net *net,
                               int fd); /* the descriptor is closed */
