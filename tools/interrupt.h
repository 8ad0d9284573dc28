/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C: work stops between two pictures, with a message and exit code 130. While files are being written it goes on
 * to their end, so that none is left half-written and no temporary one stays behind.
 */
#ifndef EFFNET_TOOLS_INTERRUPT_H
#define EFFNET_TOOLS_INTERRUPT_H

#include <stdbool.h>

/* From here to the end of the command SIGINT is noted, and no longer ends the program; where it was ignored, it stays
 * so. */
void interrupt_catch(void);
/* Whether it has come. */
bool interrupt_seen(void);

#endif
