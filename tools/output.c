/* SPDX-License-Identifier: Apache-2.0 */
/* Results on stdout. */
#include "output.h"

#include "base/status.h"

#include <errno.h>

ExitCode output_flush(const Args *a)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail(a, eff_fail_errno(errno ? errno : EIO, "standard output", "cannot write"));
    return EXIT_OK;
}

ExitCode output_json(const Args *a, json_t *object)
{
    if (object == NULL)
        return cli_fail(a, eff_fail_nomem(256, "the result"));
    /* Six digits: enough for a probability, and 88.4 stays 88.4. */
    const bool ok = json_dumpf(object, stdout, JSON_REAL_PRECISION(6) | JSON_ENSURE_ASCII) == 0;
    json_decref(object);
    fputc('\n', stdout);
    const ExitCode code = output_flush(a);
    return code == EXIT_OK && !ok ? cli_fail(a, eff_fail(EFF_ERR_IO, "cannot write JSON; is a path not UTF-8?")) : code;
}

json_t *output_interval(double low, double high)
{
    return json_pack("[f,f]", low, high);
}

json_t *output_floats(const float *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real((double)values[i]));
    return list;
}
