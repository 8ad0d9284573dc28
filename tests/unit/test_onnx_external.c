/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of an ONNX model in other files: read from the model's folder alone; every refusal names them and a remedy.
 */
#include "unit.h"

#include "onnx_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

enum { CH = 4, SIZE = 5, BEFORE = 64, N_WEIGHTS = CH * 3 };

static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[2][160];
    static int next;
    char *path = paths[next ^= 1];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static float weight(int i)
{
    return (float)(i * 7 % 11 - 5) * 0.5f;
}

/* BEFORE bytes, and the weights. */
static void write_data(const char *name)
{
    uint8_t bytes[BEFORE + N_WEIGHTS * 4] = {0};
    for (int i = 0; i < N_WEIGHTS; i++)
        memcpy(bytes + BEFORE + 4 * i, &(float){weight(i)}, 4);
    write_file(name, bytes, sizeof bytes);
}

static void entry(Proto *tensor, const char *key, const char *value)
{
    Proto e = {0};
    proto_text(&e, 1, key);
    proto_text(&e, 2, value);
    proto_message(tensor, 13, &e);
}

/* picture -> 1x1 convolution of the external "body.weight" -> mean; `offset` and `length` NULL: left out. */
static void write_model(const char *location, const char *offset, const char *length)
{
    Proto graph = {0}, t = {0};
    static const int64_t dims[4] = {CH, 3, 1, 1};
    for (int i = 0; i < 4; i++)
        proto_int(&t, 1, dims[i]);
    proto_int(&t, 2, 1);
    proto_text(&t, 8, "body.weight");
    entry(&t, "location", location);
    if (offset != NULL)
        entry(&t, "offset", offset);
    if (length != NULL)
        entry(&t, "length", length);
    proto_int(&t, 14, 1);
    onnx_value(&graph, 11, "picture", 4, (const int64_t[]){1, 3, SIZE, SIZE});
    proto_message(&graph, 5, &t);
    onnx_plain(&graph, "Conv", "conv", "picture", "body.weight", "x");
    onnx_plain(&graph, "GlobalAveragePool", "pool", "x", NULL, "logits");
    onnx_value(&graph, 12, "logits", 4, (const int64_t[]){1, CH, 1, 1});
    Proto file = onnx_model(&graph, 13);
    write_file("m.onnx", file.data, file.n);
    free(file.data);
}

static void refused(EffStatus wanted, bool allowed, const char *what, const char *remedy)
{
    EffGraph *g = NULL;
    const EffOnnxOptions options = {.external_data = allowed};
    const EffStatus st = eff_onnx_open(&g, in_folder("m.onnx"), &options);
    const char *said = eff_last_message();
    if (st == EFF_OK)
        fail_msg("accepted; wanted: %s", what);
    if (st != wanted || strstr(said, "weights 'body.weight': ") == NULL || strstr(said, what) == NULL ||
        strstr(said, remedy) == NULL)
        fail_msg("%s: '%s'; wanted %s with '%s' and '%s'", eff_status_name(st), said, eff_status_name(wanted), what,
                 remedy);
}

static void accepted(void)
{
    EffGraph *g = NULL;
    const EffOnnxOptions options = {.external_data = 1};
    const EffStatus st = eff_onnx_open(&g, in_folder("m.onnx"), &options);
    if (st != EFF_OK)
        fail_msg("%s: %s", eff_status_name(st), eff_last_message());
    assert_int_equal(g->nodes[0].conv.wgt.n, N_WEIGHTS);
    for (int i = 0; i < N_WEIGHTS; i++)
        assert_true(g->nodes[0].conv.wgt.data[i] == weight(i));
    eff_graph_free(g);
}

static void test_read(void **state)
{
    (void)state;
    write_model("data.bin", "64", "48");
    accepted();
    write_model("data.bin", "64", NULL);
    accepted();
    write_model("sub/data.bin", "64", "48");
    accepted();
    write_model("..data.bin", "64", "48"); /* a name, not the folder above */
    accepted();
}

static void test_not_allowed(void **state)
{
    (void)state;
    EffGraph *g = NULL;
    write_model("data.bin", "64", "48");
    refused(EFF_ERR_UNSUPPORTED, false, "in another file", "--external-data");
    assert_int_equal(eff_onnx_open(&g, in_folder("m.onnx"), NULL), EFF_ERR_UNSUPPORTED);
}

static void test_outside(void **state)
{
    (void)state;
    char above[128];
    snprintf(above, sizeof above, "../%s/data.bin", strrchr(folder, '/') + 1); /* comes back, but nobody need know */
    const char *const locations[] = {"../data.bin",  "sub/../../data.bin", "sub/..", "..",
                                     above,          "/etc/passwd",        "",       "/",
                                     "..\\data.bin", in_folder("data.bin")};
    for (size_t i = 0; i < EFF_COUNT(locations); i++) {
        write_model(locations[i], "64", "48");
        if (locations[i][0] == '\0')
            refused(EFF_ERR_FORMAT, true, "name of an external data file", "fetch or export it again");
        else
            refused(EFF_ERR_FORMAT, true, "outside the model's folder", "put the data file beside the model");
    }
}

static void test_links(void **state)
{
    (void)state;
    static const char *const locations[] = {"link.bin", "gone.bin", "astray/data.bin", "sub/astray/sub/data.bin"};
    for (size_t i = 0; i < EFF_COUNT(locations); i++) {
        write_model(locations[i], "64", "48");
        refused(EFF_ERR_IO, true, "no such file, or a link", "put the data file beside the model");
    }
}

static void test_beyond(void **state)
{
    (void)state;
    static const char *const offsets[] = {"65", "112", "113", "100000", "999999999999999999"};
    for (size_t i = 0; i < EFF_COUNT(offsets); i++) {
        write_model("data.bin", offsets[i], "48");
        refused(EFF_ERR_FORMAT, true, "ends before byte", "fetch the data file again");
    }
    static const char *const lengths[] = {"47", "49", "0", "1000000", "999999999999999999"};
    for (size_t i = 0; i < EFF_COUNT(lengths); i++) {
        write_model("data.bin", "64", lengths[i]);
        refused(EFF_ERR_FORMAT, true, "not the size that the tensor's shape says", "fetch or export it again");
    }
    static const char *const no_numbers[] = {"-1", "", "0x40", "64 ", "18446744073709551616", "1e2"};
    for (size_t i = 0; i < EFF_COUNT(no_numbers); i++) {
        write_model("data.bin", no_numbers[i], "48");
        refused(EFF_ERR_FORMAT, true, "external data is cannot be read", "fetch or export it again");
        write_model("data.bin", "64", no_numbers[i]);
        refused(EFF_ERR_FORMAT, true, "external data is cannot be read", "fetch or export it again");
    }
}

static void test_missing(void **state)
{
    (void)state;
    write_model("missing.bin", "64", "48");
    refused(EFF_ERR_IO, true, "missing.bin: no such file", "put the data file beside the model");
    write_model("sub", NULL, NULL); /* a folder */
    refused(EFF_ERR_IO, true, "no such file", "put the data file beside the model");
    write_model("pipe", NULL, NULL); /* would wait for ever */
    refused(EFF_ERR_IO, true, "no such file", "put the data file beside the model");
}

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/effnet-external-XXXXXX");
    if (mkdtemp(folder) == NULL || mkdir(in_folder("sub"), 0700) != 0 || mkfifo(in_folder("pipe"), 0600) != 0)
        return -1;
    write_data("data.bin");
    write_data("..data.bin");
    write_data("sub/data.bin");
    return symlink("data.bin", in_folder("link.bin")) + symlink("nowhere", in_folder("gone.bin")) +
           symlink("sub", in_folder("astray")) + symlink("..", in_folder("sub/astray"));
}

static int end(void **state)
{
    (void)state;
    static const char *const files[] = {"m.onnx",   "data.bin", "..data.bin", "sub/data.bin", "pipe",
                                        "link.bin", "gone.bin", "astray",     "sub/astray"};
    for (size_t i = 0; i < EFF_COUNT(files); i++)
        unlink(in_folder(files[i]));
    return rmdir(in_folder("sub")) + rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),  cmocka_unit_test(test_not_allowed), cmocka_unit_test(test_outside),
        cmocka_unit_test(test_links), cmocka_unit_test(test_beyond),      cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
