/* SPDX-License-Identifier: Apache-2.0 */
/* NODISCARD: ignoring this function's answer is a mistake that the compiler reports. */
#pragma once

#define NODISCARD __attribute__((warn_unused_result))
