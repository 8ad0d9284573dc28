/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one table of commands and options makes the parser, the help and the shell completions. */
#ifndef EFFNET_TOOLS_CLI_H
#define EFFNET_TOOLS_CLI_H

#include "effnet/effnet.h"

#include <stdbool.h>
#include <stdio.h>

/* Exit codes; also printed by `effnet help`. */
typedef enum ExitCode {
    EXIT_OK = 0,
    EXIT_USAGE = 1,       /* the command line is wrong */
    EXIT_INPUT = 2,       /* a file is damaged, or not what it should be */
    EXIT_GATE = 3,        /* a gate that was asked for failed */
    EXIT_IO = 4,          /* the system could not read, write or reach something */
    EXIT_UNSUPPORTED = 5, /* valid, but beyond this version */
    EXIT_RESOURCE = 6,    /* out of memory, or over a limit */
    EXIT_INTERRUPTED = 130
} ExitCode;

/* What completes an option's value or an argument. */
typedef enum Completes { COMPLETES_NOTHING, COMPLETES_FILE, COMPLETES_MODEL, COMPLETES_ARCH } Completes;

typedef struct Option {
    const char *name; /* without the dashes */
    char letter;      /* short form, or 0 */
    const char *arg;  /* name of its value for the help; NULL for a switch */
    const char *help; /* one line; says the default */
    Completes completes;
} Option;

enum { MAX_OPTIONS = 32, MAX_OPTION_GROUPS = 3 };

typedef struct Args Args;

typedef struct Command {
    const char *name;
    const char *args;                         /* "[MODEL] IMAGE..." */
    const char *summary;                      /* one line */
    const char *details;                      /* more lines, or NULL */
    const Option *options[MAX_OPTION_GROUPS]; /* lists that end with a NULL name; unused ones are NULL */
    const char *examples[2];
    Completes completes; /* its arguments */
    ExitCode (*run)(const Args *args);
} Command;

/* A parsed command line. */
struct Args {
    const Command *command;
    const Option *options[MAX_OPTIONS];
    const char *values[MAX_OPTIONS]; /* NULL: not given; "" for a switch that was */
    int n_options;
    char **words; /* positional arguments */
    int n_words;
};

extern const Command *const cli_commands[]; /* ends with NULL; effnet.c */

/* The command of that name, or NULL; and the nearest name for a misspelt one, or NULL. */
const Command *cli_find(const char *name);
const char *cli_nearest(const char *name);

/* Parse argv[1..] after the command's name. On failure the message has been printed and the exit code is EXIT_USAGE. */
bool cli_parse(Args *out, const Command *command, int argc, char **argv);

/* Value of an option, or NULL when it was not given. The option must be in the command's table. */
const char *cli_value(const Args *a, const char *option);
bool cli_flag(const Args *a, const char *option);
/* Numbers within [min, max]; a missing option leaves *out as it is. False after printing what is wrong. */
bool cli_int(const Args *a, const char *option, int min, int max, int *out);
bool cli_double(const Args *a, const char *option, double min, double max, double *out);
/* Three numbers separated by commas or spaces. */
bool cli_triple(const Args *a, const char *option, double min, double max, double out[3]);

/* Print "effnet COMMAND: message" and the way to the help; returns EXIT_USAGE. */
ExitCode cli_usage(const Args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Print eff_last_message() and turn a status into an exit code. */
ExitCode cli_fail(const Args *a, EffStatus status);

void cli_help(FILE *to, const Command *command);
void cli_overview(FILE *to);

/* Colours of a stream: on for a terminal, off under NO_COLOR, forced by CLICOLOR_FORCE. */
bool cli_colour(FILE *stream);

#endif
