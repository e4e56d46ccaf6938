/* SPDX-License-Identifier: Apache-2.0 */
/* accept_error: what accept() failed for. Internal to broker/io. */
#pragma once

#include <stdbool.h>

/* Something of the connection's own: the next one may well succeed, at once. */
bool accept_error_is_of_the_connection(int error);
