/* SPDX-License-Identifier: Apache-2.0 */
/** Everything of effnet: running compiled models, building and compiling them, and preparing images. */
#ifndef EFFNET_EFFNET_H
#define EFFNET_EFFNET_H

#include "effnet/base.h"
#include "effnet/compile.h"
#include "effnet/hub.h"
#include "effnet/image.h"
#include "effnet/runtime.h"

#endif
