/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wake_fd: the eventfd by which a shard is woken from without. Internal to broker/io.
 *
 * Any thread, and a signal handler.
 */
#pragma once

void wake_fd_write(int fd);
