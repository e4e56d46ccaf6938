/* SPDX-License-Identifier: Apache-2.0 */
/* topic_oracle: section 4.7 in the simplest words, level by level; slow, and plainly right. */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"

bool topic_oracle_name_valid(struct bytes name);
bool topic_oracle_filter_valid(struct bytes filter);
bool topic_oracle_share(struct bytes filter, struct bytes *share_name, struct bytes *topic_filter);
bool topic_oracle_matches(struct bytes filter, struct bytes name);
