/* SPDX-License-Identifier: Apache-2.0 */
/* Gates: conditions on a result that decide the exit code, "kl_mean<=0.003,b.top1>=88,expected_loss_ci95.high<0.5". */
#ifndef EFFNET_TOOLS_GATE_H
#define EFFNET_TOOLS_GATE_H

#include "output.h"

/* Whether an expression can be read; prints what is wrong. */
bool gate_parses(const Args *a, const char *expression);

/* Check it against the numbers of a result. @return EXIT_OK, EXIT_GATE after saying which part failed, EXIT_USAGE for
 * an unknown name. */
ExitCode gate_check(const Args *a, const json_t *result, const char *expression);

#endif
