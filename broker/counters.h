/* SPDX-License-Identifier: Apache-2.0 */
/* counters: every figure of the node as log lines (msg=counter name=… value=…), for SIGUSR1. */
#pragma once

struct node;

void counters_log(const struct node *node); /* any thread */
