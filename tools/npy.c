/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy's .npy format. */
#include "npy.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

EffStatus npy_write(const char *path, const float *data, size_t n_rows, size_t n_cols)
{
    enum { HEADER_BYTES = 128, PREFIX_BYTES = 10 }; /* a multiple of 64: the data stays aligned */
    const size_t n_bytes = n_rows * n_cols * sizeof *data;
    uint8_t *file = eff_malloc(HEADER_BYTES + n_bytes);
    if (file == NULL)
        return eff_fail_nomem(HEADER_BYTES + n_bytes, path);
    const uint16_t n = HEADER_BYTES - PREFIX_BYTES;
    memset(file, ' ', HEADER_BYTES);
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    memcpy(file + 8, &n, sizeof n);
    const int length = snprintf((char *)file + PREFIX_BYTES, n,
                                "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", n_rows, n_cols);
    file[PREFIX_BYTES + length] = ' ';
    file[HEADER_BYTES - 1] = '\n';
    memcpy(file + HEADER_BYTES, data, n_bytes);
    const EffStatus st = eff_file_write_atomic(path, file, HEADER_BYTES + n_bytes);
    eff_free(file);
    return st;
}
