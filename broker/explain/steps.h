/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps: from facts to words: each step of a message's way with a code that stays (tbl/code.h,
 * docs/explain.md) and a sentence; and what it all comes to.
 *
 * Memory: none; a step is lent for the call. Facts in, steps out: nothing else is looked at.
 */
#pragma once

#include <stdint.h>

struct explain_facts;

enum explain_code {
#define CODE(name, text, about, effect) EXPLAIN_##name,
#include "broker/explain/tbl/code.h"
    EXPLAIN_CODES
};

enum explain_about { EXPLAIN_PUBLISHER, EXPLAIN_CLIENT };

/* What becomes of the message, the worst last; also what all steps come to: the worst of them. */
enum explain_effect {
    EXPLAIN_EFFECT_NONE,  /* it gets it */
    EXPLAIN_EFFECT_MAYBE, /* that depends on what was not said, or cannot be known */
    EXPLAIN_EFFECT_LATER, /* it is taken, and gets there later */
    EXPLAIN_EFFECT_NO,
};

#define EXPLAIN_SENTENCE_MAX 640u /* bytes, with the NUL */

struct explain_step {
    enum explain_code code;
    enum explain_about about;
    enum explain_effect effect;
    const char *sentence; /* may have any bytes of a client's in it, cut anywhere */
};

typedef void explain_step_fn(void *context, const struct explain_step *step);

struct explain_verdict {
    enum explain_effect effect;
    enum explain_code reason; /* the first step with that effect; EXPLAIN_CODES: none says so */
};

/* Publisher first, where one was asked for, then the client; in the order in which things happen.
 */
struct explain_verdict explain_steps(const struct explain_facts *facts, explain_step_fn *step,
                                     void *context);

const char *explain_code_text(enum explain_code code);
enum explain_about explain_code_about(enum explain_code code);
enum explain_effect explain_code_effect(enum explain_code code);
