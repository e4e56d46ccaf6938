/* SPDX-License-Identifier: Apache-2.0 */
/* openapi: openapi.yaml, as the build has it in the program. */
#pragma once

extern const char openapi_text[]; /* with a NUL behind it */
