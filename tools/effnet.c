/* SPDX-License-Identifier: Apache-2.0 */
/* The program: finds the command and runs it. */
#include "commands.h"

#include <string.h>

const Command *const cli_commands[] = {&cmd_classify, &cmd_eval,   &cmd_perf,    &cmd_quantize,   &cmd_debug,
                                       &cmd_compile,  &cmd_export, &cmd_check,   &cmd_graph,      &cmd_info,
                                       &cmd_pull,     &cmd_help,   &cmd_version, &cmd_completion, NULL};

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    if (name[0] == '\0') {
        cli_overview(stderr);
        return EXIT_USAGE;
    }
    const Command *command = cli_find(name);
    if (command == NULL) {
        const char *near = cli_nearest(name);
        fprintf(stderr, "effnet: unknown command '%s'%s%s%s\nSee 'effnet help'.\n", name,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return EXIT_USAGE;
    }
    Args args;
    if (!cli_parse(&args, command, argc - 1, argv + 1))
        return EXIT_USAGE;
    if (cli_flag(&args, "help")) {
        cli_help(stdout, command);
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_IO;
    }
    return (int)command->run(&args);
}
