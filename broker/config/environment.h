/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment: DUNLIN_A__B=value and DUNLIN_A__B_FILE=path into settings.
 *
 * Every variable that begins with DUNLIN_ has to be one of these; but those that Kubernetes sets in
 * each container for a Service of that name (DUNLIN_PORT, DUNLIN_SERVICE_HOST …) are passed over.
 *
 * Owner: the caller; nothing is kept.
 * At the bound: a file that a _FILE variable names has at most ENVIRONMENT_FILE_BYTES_MAX bytes.
 */
#pragma once

#include "broker/config/config_error.h"
#include "broker/config/settings.h"

#define ENVIRONMENT_FILE_BYTES_MAX 65536u

/* `environment`: "NAME=value" …, NULL. Mistakes are added to *error. */
void environment_read(struct settings *s, char *const *environment, struct config_error *error);
