/* SPDX-License-Identifier: Apache-2.0 */
/* The two file forms of torch.save(). Messages do not name the file yet: eff_weights_read() does. */
#ifndef EFF_IMPORT_TORCH_FILE_H
#define EFF_IMPORT_TORCH_FILE_H

#include "effnet/compile.h"

/* The zip archive of torch 1.6 and later: NAME/data.pkl and NAME/data/KEY. */
EffStatus eff_torch_zip_read(EffWeights **out, const uint8_t *data, size_t size);

/* The sequence of pickles before it. */
EffStatus eff_torch_legacy_read(EffWeights **out, const uint8_t *data, size_t size);

#endif
