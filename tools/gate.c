/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and checking gates. */
#include "gate.h"

#include <stdlib.h>
#include <string.h>

typedef struct Condition {
    char name[64];
    char op[3];
    double limit;
} Condition;

/* The condition at the start of *text, which moves behind it and the comma. */
static bool take(const char **text, Condition *c)
{
    const char *at = *text + strspn(*text, " ");
    const size_t n = strcspn(at, "<>= ");
    if (n == 0 || n >= sizeof c->name)
        return false;
    snprintf(c->name, sizeof c->name, "%.*s", (int)n, at);
    at += n;
    at += strspn(at, " ");
    const size_t n_op = strspn(at, "<>=");
    snprintf(c->op, sizeof c->op, "%.*s", (int)(n_op < 3 ? n_op : 0), at);
    if (strcmp(c->op, "<") != 0 && strcmp(c->op, "<=") != 0 && strcmp(c->op, ">") != 0 && strcmp(c->op, ">=") != 0)
        return false;
    char *end;
    c->limit = strtod(at + n_op, &end);
    if (end == at + n_op)
        return false;
    end += strspn(end, " ");
    if (*end != '\0' && *end != ',')
        return false;
    *text = *end == ',' ? end + 1 : end;
    return true;
}

bool gate_parses(const Args *a, const char *expression)
{
    Condition c;
    const char *rest = expression;
    do {
        if (!take(&rest, &c)) {
            cli_usage(a, "--gate '%s' is not NAME<=NUMBER (or <, >, >=), several separated by commas", expression);
            return false;
        }
    } while (*rest != '\0');
    return true;
}

/* "b.top1" is the member top1 of the member b; "kl_mean_ci95.high" the upper end of an interval. */
static const json_t *look_up(const json_t *object, const char *name)
{
    char part[64];
    const char *dot;
    while ((dot = strchr(name, '.')) != NULL) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - name), name);
        object = json_object_get(object, part);
        name = dot + 1;
    }
    if (json_is_array(object) && (strcmp(name, "low") == 0 || strcmp(name, "high") == 0))
        return json_array_get(object, name[0] == 'h');
    return json_object_get(object, name);
}

static bool holds(const Condition *c, double v)
{
    const bool equal_counts = c->op[1] == '=';
    return c->op[0] == '<' ? v < c->limit || (equal_counts && v == c->limit)
                           : v > c->limit || (equal_counts && v == c->limit);
}

ExitCode gate_check(const Args *a, const json_t *result, const char *expression)
{
    Condition c;
    ExitCode code = EXIT_OK;
    for (const char *rest = expression; *rest != '\0' && take(&rest, &c);) {
        const json_t *value = look_up(result, c.name);
        if (!json_is_number(value))
            return cli_usage(a, "--gate: the result has no number '%s'; --json shows the names", c.name);
        const double v = json_number_value(value);
        if (!holds(&c, v)) {
            fprintf(stderr, "effnet %s: gate failed: %s is %g, not %s %g\n", a->command->name, c.name, v, c.op,
                    c.limit);
            code = EXIT_GATE;
        }
    }
    return code;
}
