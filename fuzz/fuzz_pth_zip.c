/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: the reader of zip archives of torch.save(). Every weight of an accepted file is read. */
#include "import/torch_file.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    EffWeights *w = NULL;
    if (eff_torch_zip_read(&w, data, size) != EFF_OK)
        return 0;
    double sum = 0;
    for (size_t i = 0; i < eff_weights_count(w); i++) {
        const EffTensor *t = eff_weights_at(w, i);
        if (eff_weights_find(w, t->name) != t)
            abort();
        for (size_t k = 0; k < t->n_elements; k++)
            sum += t->data[k];
    }
    eff_weights_free(w);
    if (sum != sum) /* 2^34 finite floats do not overflow a double */
        abort();
    return 0;
}
