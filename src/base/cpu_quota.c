/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/self/cgroup has a line a hierarchy, "NUMBER:CONTROLLERS:PATH"; v2's is "0::PATH". Inside a container the path
 * may be one of the host that does not exist here; what the container may use stands in the files of the hierarchy's
 * root then, so the walk upwards from PATH finds it either way.
 */
#include "base/cpu_quota.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PATH_BYTES = 4096 };

/* The first line of a file; false when there is none. */
static bool read_line(char *line, int size, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    const bool ok = fgets(line, size, file) != NULL;
    fclose(file);
    return ok;
}

static double ratio(long long quota, long long period)
{
    return quota > 0 && period > 0 ? (double)quota / (double)period : 0;
}

static bool read_number(long long *out, const char *dir, const char *name)
{
    char path[MAX_PATH_BYTES + 64], line[64];
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof path && read_line(line, sizeof line, path) && sscanf(line, "%lld", out) == 1;
}

/* Quota of one directory; 0 for none. */
static double quota_of(const char *dir)
{
    char path[MAX_PATH_BYTES + 64], line[64];
    long long quota, period;
    const int n = snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (n > 0 && (size_t)n < sizeof path && read_line(line, sizeof line, path))
        return sscanf(line, "%lld %lld", &quota, &period) == 2 ? ratio(quota, period) : 0; /* "max PERIOD" */
    if (read_number(&quota, dir, "cpu.cfs_quota_us") && read_number(&period, dir, "cpu.cfs_period_us"))
        return ratio(quota, period); /* -1 is no quota */
    return 0;
}

/* The least quota of `path` below `mount` and of all that is above it. */
static double least_quota(const char *mount, const char *path)
{
    char dir[MAX_PATH_BYTES];
    const size_t n_mount = strlen(mount);
    const int n = snprintf(dir, sizeof dir, "%s%s", mount, strstr(path, "..") == NULL ? path : "");
    if (n < 0 || (size_t)n >= sizeof dir)
        return 0;
    double least = 0;
    for (;;) {
        const double quota = quota_of(dir);
        least = quota > 0 && (least == 0 || quota < least) ? quota : least;
        char *slash = strrchr(dir, '/');
        if (slash == NULL || (size_t)(slash - dir) < n_mount)
            return least;
        *slash = '\0';
    }
}

static bool names_cpu(const char *controllers, size_t size)
{
    for (size_t at = 0; at < size;) {
        const size_t n = strcspn(controllers + at, ",:");
        if (n == 3 && memcmp(controllers + at, "cpu", 3) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

double eff_cpu_quota(const char *root)
{
    static const char *const v2[] = {"", "/unified"}, *const v1[] = {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"};
    char file_path[MAX_PATH_BYTES], line[MAX_PATH_BYTES], mount[MAX_PATH_BYTES];
    const int n = snprintf(file_path, sizeof file_path, "%s/proc/self/cgroup", root);
    FILE *file = n > 0 && (size_t)n < sizeof file_path ? fopen(file_path, "r") : NULL;
    if (file == NULL)
        return 0;
    double least = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const char *controllers = strchr(line, ':');
        const char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        controllers++;
        const bool is_v2 = path == controllers;
        if (!is_v2 && !names_cpu(controllers, (size_t)(path - controllers)))
            continue;
        path = strcmp(path + 1, "/") == 0 ? "" : path + 1;
        const size_t n_mounts = is_v2 ? sizeof v2 / sizeof *v2 : sizeof v1 / sizeof *v1;
        for (size_t i = 0; i < n_mounts; i++) {
            const int length = snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, is_v2 ? v2[i] : v1[i]);
            if (length < 0 || (size_t)length >= sizeof mount)
                continue;
            const double quota = least_quota(mount, path);
            least = quota > 0 && (least == 0 || quota < least) ? quota : least;
        }
    }
    fclose(file);
    return least;
}
