/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing by getopt_long, typed option values, help, and messages. */
#define _GNU_SOURCE /* getopt_long */
#include "cli.h"

#include "base/suggest.h"

#include <assert.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const Command *cli_find(const char *name)
{
    for (int i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    }
    return NULL;
}

const char *cli_nearest(const char *name)
{
    const char *names[32];
    size_t n = 0;
    for (; cli_commands[n] != NULL && n < 32; n++)
        names[n] = cli_commands[n]->name;
    return eff_suggest(name, names, n, sizeof *names);
}

static const Option help_option = {"help", 'h', NULL, "show this help", COMPLETES_NOTHING};

static void gather_options(Args *a)
{
    a->n_options = 0;
    for (int g = 0; g < MAX_OPTION_GROUPS; g++) {
        for (const Option *o = a->command->options[g]; o != NULL && o->name != NULL; o++) {
            assert(a->n_options < MAX_OPTIONS - 1);
            a->options[a->n_options++] = o;
        }
    }
    a->options[a->n_options++] = &help_option;
}

static ExitCode report_unknown(const Args *a, int letter, const char *word)
{
    if (letter > 0 && letter < 256)
        return cli_usage(a, "unknown option '-%c'", letter);
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *names[MAX_OPTIONS];
    for (int i = 0; i < a->n_options; i++)
        names[i] = a->options[i]->name;
    const char *near = eff_suggest(name, names, (size_t)a->n_options, sizeof *names);
    if (near != NULL)
        return cli_usage(a, "unknown option '--%s'; did you mean '--%s'?", name, near);
    return cli_usage(a, "unknown option '--%s'", name);
}

bool cli_parse(Args *out, const Command *command, int argc, char **argv)
{
    *out = (Args){.command = command};
    gather_options(out);
    struct option longs[MAX_OPTIONS + 1] = {{0}};
    char shorts[2 * MAX_OPTIONS + 2] = ":";
    for (int i = 0; i < out->n_options; i++) {
        const Option *o = out->options[i];
        longs[i] = (struct option){o->name, o->arg != NULL ? required_argument : no_argument, NULL, 256 + i};
        if (o->letter != 0)
            strcat(strncat(shorts, &o->letter, 1), o->arg != NULL ? ":" : "");
    }
    optind = 1;
    opterr = 0;
    for (;;) {
        const int c = getopt_long(argc, argv, shorts, longs, NULL);
        if (c == -1)
            break;
        if (c == ':') {
            cli_usage(out, "option '%s' needs a value", argv[optind - 1]);
            return false;
        }
        int which = c >= 256 ? c - 256 : -1;
        for (int i = 0; which < 0 && c != '?' && i < out->n_options; i++)
            which = out->options[i]->letter == c ? i : -1;
        if (which < 0) {
            report_unknown(out, optopt, argv[optind - 1]);
            return false;
        }
        out->values[which] = optarg != NULL ? optarg : "";
    }
    out->words = argv + optind;
    out->n_words = argc - optind;
    return true;
}

const char *cli_value(const Args *a, const char *option)
{
    for (int i = 0; i < a->n_options; i++) {
        if (strcmp(a->options[i]->name, option) == 0)
            return a->values[i];
    }
    assert(!"an option that is not in the command's table");
    return NULL;
}

bool cli_flag(const Args *a, const char *option)
{
    return cli_value(a, option) != NULL;
}

static bool parse_number(const char **text, double *out)
{
    char *end;
    *out = strtod(*text, &end);
    const bool ok = end != *text && isfinite(*out);
    *text = end;
    return ok;
}

bool cli_double(const Args *a, const char *option, double min, double max, double *out)
{
    const char *text = cli_value(a, option), *rest = text;
    double v;
    if (text == NULL)
        return true;
    if (!parse_number(&rest, &v) || *rest != '\0' || v < min || v > max) {
        cli_usage(a, "--%s '%s' is not a number from %g to %g", option, text, min, max);
        return false;
    }
    *out = v;
    return true;
}

bool cli_int(const Args *a, const char *option, int min, int max, int *out)
{
    const char *text = cli_value(a, option);
    char *end;
    if (text == NULL)
        return true;
    const long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || v < min || v > max) {
        cli_usage(a, "--%s '%s' is not a whole number from %d to %d", option, text, min, max);
        return false;
    }
    *out = (int)v;
    return true;
}

bool cli_triple(const Args *a, const char *option, double min, double max, double out[3])
{
    const char *text = cli_value(a, option), *rest = text;
    double v[3];
    if (text == NULL)
        return true;
    for (int i = 0; i < 3; i++) {
        if (!parse_number(&rest, &v[i]) || v[i] < min || v[i] > max)
            goto wrong;
        rest += strspn(rest, i < 2 ? ", " : "");
    }
    if (*rest != '\0')
        goto wrong;
    memcpy(out, v, sizeof v);
    return true;
wrong:
    cli_usage(a, "--%s '%s' is not three numbers from %g to %g, such as 0.485,0.456,0.406", option, text, min, max);
    return false;
}

bool cli_colour(FILE *stream)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");
    if (no != NULL && no[0] != '\0')
        return false;
    if (force != NULL && strcmp(force, "0") != 0)
        return true;
    return isatty(fileno(stream)) != 0;
}

static void print_prefix(const Args *a)
{
    const bool colour = cli_colour(stderr);
    fprintf(stderr, "%seffnet %s:%s ", colour ? "\033[1;31m" : "", a->command->name, colour ? "\033[0m" : "");
}

ExitCode cli_usage(const Args *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_prefix(a);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nSee 'effnet %s --help'.\n", a->command->name);
    return EXIT_USAGE;
}

ExitCode cli_fail(const Args *a, EffStatus status)
{
    print_prefix(a);
    fprintf(stderr, "%s\n", eff_last_message());
    switch (status) {
    case EFF_OK: return EXIT_OK;
    case EFF_ERR_ARG: return EXIT_USAGE;
    case EFF_ERR_FORMAT: return EXIT_INPUT;
    case EFF_ERR_IO: return EXIT_IO;
    case EFF_ERR_UNSUPPORTED:
    case EFF_ERR_VERSION: return EXIT_UNSUPPORTED;
    case EFF_ERR_LIMIT:
    case EFF_ERR_NOMEM: return EXIT_RESOURCE;
    case EFF_ERR_INTERRUPTED: return EXIT_INTERRUPTED;
    }
    return EXIT_INPUT;
}

void cli_help(FILE *to, const Command *c)
{
    fprintf(to, "%s\n\nUsage: effnet %s%s%s%s\n", c->summary, c->name, c->args[0] ? " " : "", c->args, " [OPTION]...");
    if (c->details != NULL)
        fprintf(to, "\n%s\n", c->details);
    Args a = {.command = c};
    gather_options(&a);
    fputs("\nOptions:\n", to);
    for (int i = 0; i < a.n_options; i++) {
        const Option *o = a.options[i];
        char left[48];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : "  ", o->letter ? o->letter : ' ',
                 o->letter ? ", " : " ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        fprintf(to, "  %-24s %s\n", left, o->help);
    }
    fputs("\nExamples:\n", to);
    for (size_t i = 0; i < sizeof c->examples / sizeof *c->examples; i++) {
        if (c->examples[i] != NULL)
            fprintf(to, "  %s\n", c->examples[i]);
    }
}

void cli_overview(FILE *to)
{
    fprintf(to,
            "effnet %s: EfficientNet from published weights to a class name\n\nUsage: effnet COMMAND [ARGUMENT]...\n\n"
            "Commands:\n",
            EFF_VERSION);
    for (int i = 0; cli_commands[i] != NULL; i++)
        fprintf(to, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\n'effnet COMMAND --help' has the options and two examples.\n"
          "Results go to stdout, messages to stderr; --json gives JSON. NO_COLOR turns colours off.\n\n"
          "Exit codes: 0 ok, 1 usage, 2 bad input, 3 a gate failed, 4 I/O, 5 unsupported, 6 out of memory or over a\n"
          "limit, 130 interrupted.\n\nExamples:\n"
          "  effnet pull efficientnet-lite0\n"
          "  effnet classify photo.jpg\n",
          to);
}
