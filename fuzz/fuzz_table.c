/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a table of ranges for Lite0: what is accepted holds ranges around 0, and leaves no node half done. */
#undef NDEBUG
#include "base/mem.h"
#include "quant/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EffGraph *network(void)
{
    static EffGraph *g;
    EffArch arch;
    if (g == NULL && (eff_arch_find(&arch, "lite0") != EFF_OK || eff_graph_build(&g, &arch) != EFF_OK))
        abort();
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const EffGraph *g = network();
    char *text = malloc(size + 1);
    EffTable t;
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (eff_table_parse(&t, text, "input", g) == EFF_OK) {
        EffRanges r;
        assert(eff_ranges_create(&r, g) == EFF_OK);
        eff_table_apply(&t, &r, g);
        for (int v = 0; v < r.n_values; v++) {
            for (int c = 0; c < r.values[v].c; c++)
                assert(r.values[v].min[c] <= 0 && r.values[v].max[c] >= 0);
        }
        (void)eff_table_choose(&t, NULL, 0, g);
        eff_ranges_free(&r);
        eff_table_free(&t);
    }
    free(text);
    return 0;
}
