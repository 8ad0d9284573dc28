/* SPDX-License-Identifier: Apache-2.0 */
/* effnet help, version and completion: all from the table of commands. */
#include "commands.h"
#include "output.h"

#include "base/threads.h"

#include <string.h>

static const Option json_option[] = {{"json", 0, NULL, "one JSON object", COMPLETES_NOTHING}, {0}};

static json_t *describe(const Command *c)
{
    json_t *list = json_array();
    for (int g = 0; g < MAX_OPTION_GROUPS; g++) {
        for (const Option *o = c->options[g]; o != NULL && o->name != NULL; o++)
            json_array_append_new(list, json_pack("{s:s,s:s?,s:s}", "name", o->name, "arg", o->arg, "help", o->help));
    }
    return json_pack("{s:s,s:s,s:s,s:o}", "command", c->name, "args", c->args, "summary", c->summary, "options", list);
}

static ExitCode run_help(const Args *a)
{
    if (a->n_words == 0) {
        if (!cli_flag(a, "json")) {
            cli_overview(stdout);
            return output_flush(a);
        }
        json_t *all = json_array();
        for (int i = 0; cli_commands[i] != NULL; i++)
            json_array_append_new(all, describe(cli_commands[i]));
        return output_json(a, json_pack("{s:s,s:o}", "version", EFF_VERSION, "commands", all));
    }
    const Command *c = cli_find(a->words[0]);
    if (c == NULL) {
        const char *near = cli_nearest(a->words[0]);
        return cli_usage(a, "unknown command '%s'%s%s%s", a->words[0], near ? "; did you mean '" : "", near ? near : "",
                         near ? "'?" : "");
    }
    if (cli_flag(a, "json"))
        return output_json(a, describe(c));
    cli_help(stdout, c);
    return output_flush(a);
}

const Command cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .summary = "show what a command does",
    .options = {json_option},
    .examples = {"effnet help", "effnet help classify"},
    .run = run_help,
};

static ExitCode run_version(const Args *a)
{
    if (cli_flag(a, "json"))
        return output_json(
            a, json_pack("{s:s,s:s,s:i}", "version", EFF_VERSION, "compiler", __VERSION__, "cpus", eff_cpu_count()));
    printf("effnet %s (compiler %s, %d CPUs)\n", EFF_VERSION, __VERSION__, eff_cpu_count());
    return output_flush(a);
}

const Command cmd_version = {
    .name = "version",
    .args = "",
    .summary = "print the version",
    .options = {json_option},
    .examples = {"effnet version", "effnet version --json"},
    .run = run_version,
};

/* ---- Completion ---- */

static void print_models(FILE *to, const char *separator)
{
    for (size_t i = 0; eff_arch_name(i) != NULL; i++)
        fprintf(to, "%s%s", i ? separator : "", eff_arch_name(i));
}

static void print_words(FILE *to, const Command *c)
{
    for (int g = 0; g < MAX_OPTION_GROUPS; g++) {
        for (const Option *o = c->options[g]; o != NULL && o->name != NULL; o++)
            fprintf(to, "--%s ", o->name);
    }
    fputs("--help", to);
}

static void print_bash(FILE *to)
{
    fputs("_effnet()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='",
          to);
    for (int i = 0; cli_commands[i] != NULL; i++)
        fprintf(to, "%s%s", i ? " " : "", cli_commands[i]->name);
    fputs("'\n    else\n        case ${COMP_WORDS[1]} in\n", to);
    for (int i = 0; cli_commands[i] != NULL; i++) {
        fprintf(to, "        %s) words='", cli_commands[i]->name);
        print_words(to, cli_commands[i]);
        if (cli_commands[i]->completes != COMPLETES_NOTHING) {
            fputc(' ', to);
            print_models(to, " ");
        }
        fputs("' ;;\n", to);
    }
    fputs("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
          "complete -o bashdefault -o default -F _effnet effnet\n",
          to);
}

static void print_zsh(FILE *to)
{
    fputs("#compdef effnet\nautoload -U +X bashcompinit && bashcompinit\n", to);
    print_bash(to);
}

/* A text inside single quotes for fish. */
static void print_quoted(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            fputc('\\', to);
        fputc(*text, to);
    }
}

static void print_fish(FILE *to)
{
    for (int i = 0; cli_commands[i] != NULL; i++) {
        const Command *c = cli_commands[i];
        fprintf(to, "complete -c effnet -n __fish_use_subcommand -a %s -d '", c->name);
        print_quoted(to, c->summary);
        fputs("'\n", to);
        for (int g = 0; g < MAX_OPTION_GROUPS; g++) {
            for (const Option *o = c->options[g]; o != NULL && o->name != NULL; o++) {
                fprintf(to, "complete -c effnet -n '__fish_seen_subcommand_from %s' -l %s%s -d '", c->name, o->name,
                        o->arg != NULL ? " -r" : "");
                print_quoted(to, o->help);
                fputs("'\n", to);
            }
        }
        if (c->completes != COMPLETES_NOTHING) {
            fprintf(to, "complete -c effnet -n '__fish_seen_subcommand_from %s' -a '", c->name);
            print_models(to, " ");
            fputs("'\n", to);
        }
    }
}

static ExitCode run_completion(const Args *a)
{
    const char *shell = a->n_words == 1 ? a->words[0] : "";
    if (strcmp(shell, "bash") == 0)
        print_bash(stdout);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(stdout);
    else if (strcmp(shell, "fish") == 0)
        print_fish(stdout);
    else
        return cli_usage(a, "name a shell: bash, zsh or fish");
    return output_flush(a);
}

const Command cmd_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .summary = "print completions for a shell",
    .examples = {"effnet completion bash > /etc/bash_completion.d/effnet", "source <(effnet completion bash)"},
    .run = run_completion,
};
