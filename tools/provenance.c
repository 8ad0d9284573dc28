/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a compiled model's provenance, and following it back to the float weights. */
#include "provenance.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

/* ---- Writing ---- */

EffStatus provenance_digest(char hex[EFF_SHA256_HEX], const char *path)
{
    EffBytes bytes = {0};
    const EffStatus st = eff_file_read(&bytes, path, SIZE_MAX / 2);
    if (st == EFF_OK)
        eff_sha256_hex(hex, bytes.data, bytes.size);
    eff_free(bytes.data);
    return st;
}

/* Of all files of a calibration set, in their order. */
static EffStatus digest_of_set(char hex[EFF_SHA256_HEX], const Dataset *d)
{
    char *all = eff_calloc(d->n + 1, EFF_SHA256_HEX);
    EffStatus st = all != NULL ? EFF_OK : eff_fail_nomem(d->n * EFF_SHA256_HEX, "digests");
    for (size_t i = 0; i < d->n && st == EFF_OK; i++)
        st = provenance_digest(all + i * (EFF_SHA256_HEX - 1), d->paths[i]);
    if (st == EFF_OK)
        eff_sha256_hex(hex, all, d->n * (EFF_SHA256_HEX - 1));
    eff_free(all);
    return st;
}

static EffStatus describe(json_t **out, const Calibration *c)
{
    char pictures[EFF_SHA256_HEX];
    if (c->n_synthetic > 0) {
        *out = json_pack("{s:I}", "synthetic", (json_int_t)c->n_synthetic);
        return EFF_OK;
    }
    const EffStatus st = digest_of_set(pictures, &c->d);
    if (st == EFF_OK)
        *out = json_pack("{s:I,s:i,s:s}", "pictures", (json_int_t)c->d.n, "views", c->n_views, "sha256", pictures);
    return st;
}

EffStatus provenance_make(json_t **out, const ModelSpec *spec, const Calibration *calibration, const char *table)
{
    char weights[EFF_SHA256_HEX] = "";
    json_t *with = NULL;
    EffStatus st = provenance_digest(weights, spec->file);
    if (st == EFF_OK && calibration != NULL)
        st = describe(&with, calibration);
    if (st != EFF_OK)
        return st;
    json_t *object =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:f}", "tool", "effnet " EFF_VERSION, "type",
                  calibration != NULL ? "int8" : "float", "arch", spec->arch.name, "weights_sha256", weights, "padding",
                  spec->arch.padding == EFF_PADDING_SAME ? "same" : "symmetric", "bn_eps", (double)spec->arch.bn_eps);
    if (with != NULL)
        json_object_set_new(object, "calibration", with);
    if (spec->arch.in_channels != 3)
        json_object_set_new(object, "in_channels", json_integer(spec->arch.in_channels));
    if (table != NULL) {
        eff_sha256_hex(weights, table, strlen(table));
        json_object_set_new(object, "table_sha256", json_string(weights));
    }
    *out = object;
    return EFF_OK;
}

/* ---- Following ---- */

static const char *text_of(const json_t *origin, const char *key)
{
    const char *text = json_string_value(json_object_get(origin, key));
    return text != NULL ? text : "";
}

/* The architecture that the model was built as; its options in the file come before the architecture's own. */
static ExitCode find_arch(const Args *a, EffArch *arch, const EffModelInfo *info, const json_t *origin)
{
    const char *given = cli_value(a, "arch"), *name = given != NULL ? given : text_of(origin, "arch");
    if (strcmp(name, "onnx") == 0) { /* its architecture is in the file */
        *arch = (EffArch){.n_classes = info->n_classes, .in_channels = 3, .pre = info->pre};
        return EXIT_OK;
    }
    if (eff_arch_find(arch, name[0] != '\0' ? name : info->name) != EFF_OK)
        return cli_usage(a, "%s", eff_last_message());
    const json_t *eps = json_object_get(origin, "bn_eps"), *channels = json_object_get(origin, "in_channels");
    arch->n_classes = info->n_classes;
    arch->pre = info->pre;
    if (json_is_number(eps))
        arch->bn_eps = (float)json_number_value(eps);
    if (strcmp(text_of(origin, "padding"), "same") == 0)
        arch->padding = EFF_PADDING_SAME;
    else if (strcmp(text_of(origin, "padding"), "symmetric") == 0)
        arch->padding = EFF_PADDING_SYMMETRIC;
    if (json_is_integer(channels))
        arch->in_channels = (int)json_integer_value(channels);
    return EXIT_OK;
}

static bool has_digest(const char *path, const char *wanted)
{
    char hex[EFF_SHA256_HEX];
    return provenance_digest(hex, path) == EFF_OK && strcmp(hex, wanted) == 0;
}

/* The file of that digest in the cache, or among the weights beside the .bin; NULL. */
static char *find_weights(const EffArch *arch, const char *bin, const char *wanted)
{
    const EffHubModel *hub = eff_hub_find(arch->name);
    char *path = NULL;
    if (hub != NULL && eff_hub_path(&path, hub) == EFF_OK && has_digest(path, wanted))
        return path;
    free(path);
    const char *slash = strrchr(bin, '/');
    char *dir = slash != NULL ? eff_strndup(bin, (size_t)(slash - bin) + 1) : eff_strdup(".");
    EffStrings names = {0};
    char *found = NULL;
    if (dir != NULL && eff_dir_list(&names, dir) == EFF_OK) {
        for (size_t i = 0; i < names.n && found == NULL; i++) {
            const char *dot = strrchr(names.items[i], '.');
            if (dot == NULL || (strcmp(dot, ".pth") != 0 && strcmp(dot, ".pt") != 0 && strcmp(dot, ".onnx") != 0))
                continue;
            char *file = eff_path_join(dir, names.items[i]);
            if (file != NULL && has_digest(file, wanted))
                found = strdup(file);
            eff_free(file);
        }
    }
    eff_strings_free(&names);
    eff_free(dir);
    return found;
}

/* The file to read. */
static ExitCode choose_file(const Args *a, char **out, const EffArch *arch, const json_t *origin, const char *bin,
                            const char *given)
{
    const char *wanted = text_of(origin, "weights_sha256");
    const EffHubModel *hub = given != NULL && !eff_is_file(given) ? model_published(given) : NULL;
    if (hub != NULL) {
        const EffStatus st = eff_hub_path(out, hub);
        if (st != EFF_OK)
            return cli_fail(a, st);
    } else if (given != NULL) {
        *out = strdup(given);
    } else {
        *out = find_weights(arch, bin, wanted);
        if (*out == NULL)
            return cli_usage(
                a,
                "%s was made from weights with SHA-256 %.12s..., which are neither in the cache nor beside "
                "it; name them: --float FILE",
                bin, wanted[0] != '\0' ? wanted : "(unknown)");
    }
    if (*out == NULL)
        return cli_fail(a, eff_fail_nomem(64, "a path"));
    if (given != NULL && eff_is_file(*out) && wanted[0] != '\0' && !has_digest(*out, wanted))
        fprintf(stderr, "Note: %s is not what %s was made from (SHA-256 %.12s...); differences of the two add up.\n",
                *out, bin, wanted);
    return EXIT_OK;
}

ExitCode provenance_load(const Args *a, const EffModelInfo *info, const char *bin, const char *given, EffGraph **out,
                         char **file)
{
    ModelSpec spec = {0};
    json_t *origin = info->provenance != NULL ? json_loads(info->provenance, 0, NULL) : NULL;
    ExitCode code = find_arch(a, &spec.arch, info, origin);
    if (code == EXIT_OK)
        code = choose_file(a, &spec.file, &spec.arch, origin, bin, given);
    if (code == EXIT_OK) {
        spec.is_onnx = model_ends_as_onnx(spec.file);
        spec.for_int8 = true; /* as 'effnet quantize' read it */
        code = model_load_graph(a, &spec, out);
    }
    if (code == EXIT_OK) {
        *file = spec.file;
        spec.file = NULL;
    }
    model_spec_free(&spec);
    json_decref(origin);
    return code;
}
