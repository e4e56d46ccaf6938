/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: bytes from sources to sinks, on one io_uring in one thread.
 *
 * What is received stays where the kernel has put it until the last sink has been sent it; then the
 * buffer goes back. So a sink that does not read stops everything once it holds all buffers, which
 * is fair: the generator always reads. A turn is as a shard's: all completions, then one send for
 * each peer that has something to be sent, then one enter.
 *
 * Owner: the calling thread. Memory: 4 MiB of buffers, and some hundred bytes a peer.
 */
#pragma once

/* Never returns but for an errno, when there is no ring. */
int relay_run(int listen_fd);
