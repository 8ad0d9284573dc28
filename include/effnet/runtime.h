/* SPDX-License-Identifier: Apache-2.0 */
/** Running models: the part that an application links, and nothing else. */
#ifndef EFFNET_RUNTIME_H
#define EFFNET_RUNTIME_H

#include "effnet/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __cplusplus
}
#endif
#endif
