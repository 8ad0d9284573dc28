/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands; each is defined in cmd_<name>.c. */
#ifndef EFFNET_TOOLS_COMMANDS_H
#define EFFNET_TOOLS_COMMANDS_H

#include "cli.h"

extern const Command cmd_check, cmd_classify, cmd_compile, cmd_completion, cmd_debug, cmd_eval, cmd_export, cmd_graph,
    cmd_help, cmd_info, cmd_perf, cmd_pull, cmd_quantize, cmd_version;

#endif
