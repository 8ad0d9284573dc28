/* SPDX-License-Identifier: Apache-2.0 */
/* src/import: what is no state dict, by accident or by malice, is refused with a message that says what it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "effnet/compile.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* What comes before the object of a legacy file: magic number, protocol version, byte order. */
#define MAGIC   "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define VERSION "\x80\x02M\xe9\x03."
#define HEAD    MAGIC VERSION "\x80\x02}(U\x0dlittle_endian\x88u."

/* Pieces of pickle. A tensor of type T with storage "0" of N elements; counts are opcodes, such as "K\x04". */
#define STORAGE(t, n)                                                                                                  \
    "(U\x07storage"                                                                                                    \
    "ctorch\n" t "Storage\n"                                                                                           \
    "U\x01"                                                                                                            \
    "0"                                                                                                                \
    "U\x03"                                                                                                            \
    "cpu" n "tQ"
#define TENSOR(t, n, at, dims, steps) "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE(t, n) at dims steps "\x89}tR"
#define DICT(value)                   "\x80\x02}U\x01w" value "s."
#define FLOATS(n, at, dims, steps)    DICT(TENSOR("Float", n, at, dims, steps))

typedef struct Bytes {
    uint8_t *data;
    size_t size;
} Bytes;

typedef struct Case {
    const char *pickle;
    size_t n_pickle;
    EffStatus status;
    const char *message; /* part of it */
} Case;
#define CASE(pickle, status, message)                                                                                  \
    {                                                                                                                  \
        pickle, sizeof(pickle) - 1, status, message                                                                    \
    }

/* Storage "0": four floats, 1 to 4. */
static const uint8_t four_floats[] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40};

static bool has_storage(const char *pickle, size_t n)
{
    static const char id[] = "\x07storage";
    for (size_t i = 0; i + sizeof id - 1 <= n; i++)
        if (memcmp(pickle + i, id, sizeof id - 1) == 0)
            return true;
    return false;
}

/* A legacy file around an object, with a storage "0" of n_elements if the object has one. The caller frees it. */
static Bytes make_legacy(const char *pickle, size_t n_pickle, const void *elements, size_t n_bytes, int64_t n_elements)
{
    static const char one[] = "\x80\x02]U\x01"
                              "0"
                              "a.",
                      none[] = "\x80\x02].";
    const bool any = has_storage(pickle, n_pickle);
    const struct {
        const void *data;
        size_t n;
    } parts[] = {{HEAD, sizeof HEAD - 1},
                 {pickle, n_pickle},
                 {any ? one : none, any ? sizeof one - 1 : sizeof none - 1},
                 {&n_elements, any ? sizeof n_elements : 0},
                 {elements, any ? n_bytes : 0}};
    Bytes file = {malloc(sizeof HEAD + n_pickle + sizeof one + sizeof n_elements + n_bytes), 0};
    assert_non_null(file.data);
    for (size_t i = 0; i < EFF_COUNT(parts); i++) {
        memcpy(file.data + file.size, parts[i].data, parts[i].n);
        file.size += parts[i].n;
    }
    return file;
}

typedef struct Entry {
    const char *name;
    const void *data;
    size_t n;
    bool deflate;
} Entry;

static Bytes make_zip(const Entry *entries, size_t n)
{
    zip_error_t error;
    zip_source_t *archive = zip_source_buffer_create(NULL, 0, 0, &error);
    assert_non_null(archive);
    zip_source_keep(archive);
    zip_t *zip = zip_open_from_source(archive, ZIP_TRUNCATE, &error);
    assert_non_null(zip);
    for (size_t i = 0; i < n; i++) {
        zip_source_t *source = zip_source_buffer(zip, entries[i].data, entries[i].n, 0);
        const zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
        assert_true(index >= 0);
        assert_int_equal(
            zip_set_file_compression(zip, (zip_uint64_t)index, entries[i].deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0),
            0);
    }
    assert_int_equal(zip_close(zip), 0);
    zip_stat_t stat;
    assert_int_equal(zip_source_stat(archive, &stat), 0);
    const Bytes file = {malloc(stat.size), stat.size};
    assert_non_null(file.data);
    assert_int_equal(zip_source_open(archive), 0);
    assert_int_equal(zip_source_read(archive, file.data, stat.size), stat.size);
    zip_source_close(archive);
    zip_source_free(archive);
    return file;
}

static void assert_refused(const Bytes *file, EffStatus status, const char *message)
{
    EffWeights *w = NULL;
    const EffStatus st = eff_weights_read(&w, file->data, file->size, "x.pth");
    if (st != status || strstr(eff_last_message(), message) == NULL || strncmp(eff_last_message(), "x.pth: ", 7) != 0)
        fail_msg("%s '%s', expected %s '%s'", eff_status_name(st), eff_last_message(), eff_status_name(status),
                 message);
    assert_null(w);
}

/* Both forms of a file around the same pickle are refused in the same way. */
static void assert_both_refused(const char *pickle, size_t n_pickle, EffStatus status, const char *message)
{
    const Bytes legacy = make_legacy(pickle, n_pickle, four_floats, sizeof four_floats, 4);
    assert_refused(&legacy, status, message);
    free(legacy.data);
    const Entry entries[] = {{"archive/data.pkl", pickle, n_pickle, false},
                             {"archive/data/0", four_floats, sizeof four_floats, false}};
    const Bytes zip = make_zip(entries, EFF_COUNT(entries));
    assert_refused(&zip, status, message);
    free(zip.data);
}

static void assert_all_refused(const Case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_both_refused(cases[i].pickle, cases[i].n_pickle, cases[i].status, cases[i].message);
}

static void code_is_refused_by_name(void **state)
{
    (void)state;
    static const Case cases[] = {
        CASE("\x80\x02"
             "cos\nsystem\nU\x02id\x85R.",
             EFF_ERR_UNSUPPORTED,
             "refused, since a state dict needs no code; save it again with torch.save(model.state_dict(), path)"),
        CASE("\x80\x02"
             "c__builtin__\neval\nU\x02id\x85R.",
             EFF_ERR_UNSUPPORTED, "asks for __builtin__.eval (offset"),
        CASE("\x80\x02"
             "cbuiltins\neval\nU\x02id\x85R.",
             EFF_ERR_UNSUPPORTED, "asks for builtins.eval"),
        CASE("\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", EFF_ERR_UNSUPPORTED, "asks for posix.system"),
        CASE("\x80\x02"
             "ctorch\nload\nU\x01x\x85R.",
             EFF_ERR_UNSUPPORTED, "asks for torch.load"),
        CASE("\x80\x02"
             "ctorch._utils\n_rebuild_qtensor\n",
             EFF_ERR_UNSUPPORTED, "a kind of tensor that this version"),
        CASE("\x80\x02"
             "ctorch\nComplexFloatStorage\n",
             EFF_ERR_UNSUPPORTED, "convert the weights first"),
        CASE("\x80\x02"
             "ctorchvision.models.efficientnet\nEfficientNet\n)\x81.",
             EFF_ERR_UNSUPPORTED, "save it again with torch.save(model.state_dict(), path)"),
        CASE("\x80\x02"
             "ccollections\nOrderedDict.pop\n",
             EFF_ERR_UNSUPPORTED, "asks for collections.OrderedDict.pop"),
        CASE("\x80\x02"
             "ca\x1b[31m\n\x07\xff\n",
             EFF_ERR_UNSUPPORTED, "asks for a?[31m.?? (offset"),
        CASE("\x80\x02(U\x06moduleNNNNtQ.", EFF_ERR_UNSUPPORTED, "a whole module"),
        CASE("\x80\x02(ios\nsystem\n.", EFF_ERR_UNSUPPORTED, "the opcode INST"),
        CASE("\x80\x02)\x81.", EFF_ERR_UNSUPPORTED, "the opcode NEWOBJ"),
        CASE("\x80\x02\x82\x01.", EFF_ERR_UNSUPPORTED, "the opcode EXT1"),
        CASE("\x80\x02Pid\n.", EFF_ERR_UNSUPPORTED, "the opcode PERSID"),
        CASE("\x80\x02\xfe.", EFF_ERR_FORMAT, "0xfe is no opcode"),
        CASE("\x80\x01.", EFF_ERR_UNSUPPORTED, "protocol 1"),
        CASE("\x80\x06.", EFF_ERR_UNSUPPORTED, "protocol 6"),
        CASE("\x80\x02]}b.", EFF_ERR_UNSUPPORTED, "sets attributes of a list"),
        CASE("\x80\x02"
             "ctorch\nFloatStorage\n)R.",
             EFF_ERR_FORMAT, "a storage type that is called"),
        CASE("\x80\x02K\x01)R.", EFF_ERR_FORMAT, "cannot be called"),
    };
    assert_all_refused(cases, EFF_COUNT(cases));
    static const char system[] = "\x80\x02"
                                 "cos\nsystem\nU\x02id\x85R.";
    const Entry entry = {"m/data.pkl", system, sizeof system - 1, false};
    const Bytes zip = make_zip(&entry, 1);
    assert_refused(&zip, EFF_ERR_UNSUPPORTED, "x.pth: pickle asks for os.system (offset 2): refused");
    free(zip.data);
    const Bytes bare = {(uint8_t *)(uintptr_t)system, sizeof system - 1}; /* no header of torch at all */
    assert_refused(&bare, EFF_ERR_UNSUPPORTED, "x.pth: pickle asks for os.system (offset 2): refused");
}

static void damaged_pickles_are_refused(void **state)
{
    (void)state;
    static const Case cases[] = {
        CASE("\x80\x02.", EFF_ERR_FORMAT, "its end comes too early"),
        CASE("\x80\x02(.", EFF_ERR_FORMAT, "its end comes too early"),
        CASE("\x80\x02NN.", EFF_ERR_FORMAT, "its end comes too early"),
        CASE("\x80\x02h\x05.", EFF_ERR_FORMAT, "never written"),
        CASE("\x80\x02Nr\xff\xff\xff\x7f.", EFF_ERR_FORMAT, "memo number beyond"),
        CASE("\x80\x02q\x00.", EFF_ERR_FORMAT, "nothing to memoize"),
        CASE("\x80\x02t.", EFF_ERR_FORMAT, "no mark"),
        CASE("\x80\x02(N\x86.", EFF_ERR_FORMAT, "too few values"),
        CASE("\x80\x02}(Nu.", EFF_ERR_FORMAT, "belong to no dict"),
        CASE("\x80\x02](NNu.", EFF_ERR_FORMAT, "belong to no dict"),
        CASE("\x80\x02Na.", EFF_ERR_FORMAT, "belong to no list"),
        CASE("\x80\x02(e.", EFF_ERR_FORMAT, "belong to no list"),
        CASE("\x80\x02X\xff\xff\xff\xff.", EFF_ERR_FORMAT, "cut short"),
        CASE("\x80\x02U\xf0.", EFF_ERR_FORMAT, "cut short"),
        CASE("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.", EFF_ERR_FORMAT, "a frame beyond the end"),
        CASE("\x80\x04NN\x93.", EFF_ERR_FORMAT, "a global without a name"),
        CASE("\x80\x02K\x01Q.", EFF_ERR_FORMAT, "a persistent id that is no storage"),
        CASE("\x80\x02(U\x07storageNNNNtQ.", EFF_ERR_FORMAT, "a storage without type"),
        CASE("\x80\x02"
             "ctorch._utils\n_rebuild_tensor_v2\n)R.",
             EFF_ERR_FORMAT, "a tensor without storage"),
        CASE("\x80\x02"
             "ctorch._utils\n_rebuild_parameter\n]\x85R.",
             EFF_ERR_FORMAT, "a parameter without a tensor"),
        CASE("\x80\x02"
             "ccollections\nOrderedDict\n](]NNeae\x85R.",
             EFF_ERR_FORMAT, ""),
        CASE("\x80\x02"
             "ccollections\nOrderedDict\n]Na\x85R.",
             EFF_ERR_FORMAT, "no pairs"),
    };
    assert_all_refused(cases, EFF_COUNT(cases));
}

static void other_objects_are_refused(void **state)
{
    (void)state;
    static const Case cases[] = {
        CASE("\x80\x02].", EFF_ERR_FORMAT, "holds a list, not a dict of weights"),
        CASE("\x80\x02K\x07.", EFF_ERR_FORMAT, "holds a number"),
        CASE("\x80\x02}.", EFF_ERR_FORMAT, "empty dict"),
        CASE("\x80\x02}U\x05"
             "epochK\x03s.",
             EFF_ERR_FORMAT, "without tensors (1 entries, the first is 'epoch')"),
        CASE("\x80\x02}K\x01" TENSOR("Float", "K\x04", "K\x00", "K\x04\x85", "K\x01\x85") "s.", EFF_ERR_FORMAT,
             "under a key that is a number"),
        CASE("\x80\x02}U\x02\x1b[" TENSOR("Float", "K\x04", "K\x00", "K\x04\x85", "K\x01\x85") "s.",
             EFF_ERR_UNSUPPORTED, "'?[' is not printable ASCII"),
        CASE("\x80\x02}(U\x01w" TENSOR("Float", "K\x04", "K\x00", "K\x04\x85", "K\x01\x85") "q\x09U\x08module.wh\x09u.",
             EFF_ERR_FORMAT, "tensor 'w' comes twice"),
        /* Containers that hold themselves. */
        CASE("\x80\x02]q\x00h\x00"
             "a.",
             EFF_ERR_FORMAT, "holds a list"),
        CASE("\x80\x02}q\x00U\x05modelh\x00s.", EFF_ERR_FORMAT, "without tensors"),
    };
    assert_all_refused(cases, EFF_COUNT(cases));
}

static void views_stay_in_their_storage(void **state)
{
    (void)state;
    static const Case cases[] = {
        CASE(FLOATS("K\x04", "K\x00", "K\x05\x85", "K\x01\x85"), EFF_ERR_FORMAT, "tensor 'w' leaves its storage"),
        CASE(FLOATS("K\x04", "K\x01", "K\x04\x85", "K\x01\x85"), EFF_ERR_FORMAT, "leaves its storage"),
        CASE(FLOATS("K\x04", "K\x00", "K\x02\x85", "K\x04\x85"), EFF_ERR_FORMAT, "leaves its storage"),
        CASE(FLOATS("K\x04", "K\x04", ")", ")"), EFF_ERR_FORMAT, "leaves its storage"),
        CASE(FLOATS("K\x04", "J\xff\xff\xff\xff", "K\x04\x85", "K\x01\x85"), EFF_ERR_FORMAT, "no valid offset"),
        CASE(FLOATS("K\x04", "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"), EFF_ERR_FORMAT, "negative size or stride"),
        CASE(FLOATS("K\x04", "K\x03", "K\x02\x85", "J\xff\xff\xff\xff\x85"), EFF_ERR_FORMAT, "negative size or stride"),
        CASE(FLOATS("K\x04", "K\x00", "K\x04\x85", "K\x01K\x01\x86"), EFF_ERR_FORMAT, "no valid shape"),
        CASE(FLOATS("K\x04", "K\x00", "K\x04", "K\x01"), EFF_ERR_FORMAT, "no valid shape"),
        CASE(FLOATS("K\x04", "K\x00", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85",
                    "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
             EFF_ERR_FORMAT, "larger than any memory"),
        CASE(FLOATS("K\x04", "K\x00", "\x8a\x04\x00\x00\x00\x7f\x85", "K\x00\x85"), EFF_ERR_LIMIT,
             "more than 4 elements for each byte of the file"),
        CASE(FLOATS("K\x04", "K\x00", "(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t",
                    "(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t"),
             EFF_ERR_LIMIT, "9 dimensions"),
        CASE(FLOATS("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x00", "K\x04\x85", "K\x01\x85"), EFF_ERR_FORMAT,
             "storage '0' has 9223372036854775807 elements"),
        CASE(FLOATS("\x8a\x05\x00\x00\x00\x00\x10", "K\x00", "K\x04\x85", "K\x01\x85"), EFF_ERR_FORMAT, ""),
        CASE(FLOATS("K\x05", "K\x00", "K\x04\x85", "K\x01\x85"), EFF_ERR_FORMAT, ""), /* both readers compare sizes */
        CASE(DICT(TENSOR("Double", "K\x04", "K\x00", "K\x04\x85", "K\x01\x85")), EFF_ERR_FORMAT, ""),
    };
    assert_all_refused(cases, EFF_COUNT(cases));
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    static const char floats[] = FLOATS("K\x01", "K\x00", ")", ")");
    static const uint8_t nan_bits[] = {0, 0, 0xc0, 0x7f}, inf_bits[] = {0, 0, 0x80, 0xff};
    Bytes file = make_legacy(floats, sizeof floats - 1, nan_bits, 4, 1);
    assert_refused(&file, EFF_ERR_FORMAT, "tensor 'w' holds a value that is not finite");
    free(file.data);
    file = make_legacy(floats, sizeof floats - 1, inf_bits, 4, 1);
    assert_refused(&file, EFF_ERR_FORMAT, "tensor 'w' holds a value that is not finite");
    free(file.data);
    static const char doubles[] = DICT(TENSOR("Double", "K\x01", "K\x00", ")", ")"));
    const double beyond_float = 1e300;
    file = make_legacy(doubles, sizeof doubles - 1, &beyond_float, 8, 1);
    assert_refused(&file, EFF_ERR_FORMAT, "not finite in float32");
    free(file.data);
    static const char halves[] = DICT(TENSOR("Half", "K\x01", "K\x00", ")", ")"));
    static const uint8_t half_inf[] = {0, 0x7c};
    file = make_legacy(halves, sizeof halves - 1, half_inf, 2, 1);
    assert_refused(&file, EFF_ERR_FORMAT, "not finite in float32");
    free(file.data);
}

/* head, then n times body, then tail; none of them holds a zero byte */
static Bytes repeat(const char *head, const char *body, size_t n, const char *tail)
{
    const size_t n_head = strlen(head), n_body = strlen(body), n_tail = strlen(tail);
    const Bytes pickle = {malloc(n_head + n * n_body + n_tail), n_head + n * n_body + n_tail};
    assert_non_null(pickle.data);
    memcpy(pickle.data, head, n_head);
    for (size_t i = 0; i < n; i++)
        memcpy(pickle.data + n_head + i * n_body, body, n_body);
    memcpy(pickle.data + n_head + n * n_body, tail, n_tail);
    return pickle;
}

#define FOUR_TIMES(x) x x x x
#define TWENTY(x)     FOUR_TIMES(x) FOUR_TIMES(x) FOUR_TIMES(x) FOUR_TIMES(x) FOUR_TIMES(x)

static void work_is_bounded_by_the_size_of_the_file(void **state)
{
    (void)state;
    const struct {
        Bytes pickle;
        EffStatus status;
        const char *message;
    } cases[] = {
        {repeat("\x80\x02", "]", 60000, "."), EFF_ERR_FORMAT, "its end comes too early"},
        {repeat("\x80\x02", "(", 70000, "."), EFF_ERR_LIMIT, "wait on its stack"},
        {repeat("\x80\x02)", "\x85", 1 << 20, "."), EFF_ERR_FORMAT, "holds a tuple"}, /* nested a million deep */
        {repeat("\x80\x02]q\x01",
                "]h\x01"
                "a",
                60000, "."),
         EFF_ERR_FORMAT, "its end"}, /* all hold the first */
        {repeat("\x80\x02](",
                "NN\x86"
                ")",
                30000, "e."),
         EFF_ERR_FORMAT, "holds a list"},
        /* OrderedDict(items) of the same 20 pairs, 10,000 times: 400,000 cells from 50 kB. */
        {repeat("\x80\x02]q\x01(" TWENTY("NN\x86") "eh\x01\x85q\x02"
                                                   "ccollections\nOrderedDict\nq\x03",
                "h\x03h\x02R", 10000, "."),
         EFF_ERR_LIMIT, "more items than bytes"},
        {repeat("\x80\x02}T\x01\x04\x01\x01", "n", 0x01010401, "."), EFF_ERR_LIMIT, "longer than 16"},
        {repeat("\x80\x02]", "Na", 9 << 20, "."), EFF_ERR_LIMIT, "longer than 16"},
    };
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        assert_both_refused((const char *)cases[i].pickle.data, cases[i].pickle.size, cases[i].status,
                            cases[i].message);
        free(cases[i].pickle.data);
    }
    /* A name of 1,025 bytes: its length has no zero byte, so that it fits the strings above only this way. */
    Bytes named = repeat("\x80\x02}T....", "n", 1025, TENSOR("Float", "K\x04", "KX", "K\x04\x85", "K\x01\x85") "s.");
    memcpy(named.data + 4, "\x01\x04\0\0", 4);
    *(uint8_t *)memchr(named.data + 1040, 'X', named.size - 1040) = 0;
    assert_both_refused((const char *)named.data, named.size, EFF_ERR_LIMIT, "has 1025 bytes, more than 1023");
    free(named.data);
}

static const char four[] = FLOATS("K\x04", "K\x00", "K\x04\x85", "K\x01\x85");

static void legacy_headers_are_checked(void **state)
{
    (void)state;
    static const Case cases[] = {
        CASE("\x80\x02K\x01.", EFF_ERR_FORMAT, "a Python pickle of a number, but not a file of torch.save()"),
        CASE(MAGIC "\x80\x02M\xe8\x03.", EFF_ERR_UNSUPPORTED, "not version 1001"),
        CASE(MAGIC VERSION "\x80\x02}.", EFF_ERR_FORMAT, "does not tell the byte order"),
        CASE(MAGIC VERSION "\x80\x02}(U\x0dlittle_endian\x89u.", EFF_ERR_UNSUPPORTED, "big-endian"),
        CASE(HEAD "\x80\x02}.\x80\x02N.", EFF_ERR_FORMAT, "its fifth pickle is None"),
        CASE(HEAD "\x80\x02}.\x80\x02]U\x01"
                  "0"
                  "a.",
             EFF_ERR_FORMAT, "names one that no tensor has"),
    };
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        const Bytes file = {(uint8_t *)(uintptr_t)cases[i].pickle, cases[i].n_pickle};
        assert_refused(&file, cases[i].status, cases[i].message);
    }
    Bytes file = make_legacy(four, sizeof four - 1, four_floats, 8, 4);
    assert_refused(&file, EFF_ERR_FORMAT, "ends inside storage '0': 8 of 16 bytes");
    free(file.data);
    file = make_legacy(four, sizeof four - 1, four_floats, sizeof four_floats, -1);
    assert_refused(&file, EFF_ERR_FORMAT, "storage '0' has -1 elements");
    free(file.data);
    file = make_legacy(four, sizeof four - 1, four_floats, sizeof four_floats, 4);
    EffWeights *w = NULL;
    assert_int_equal(eff_weights_read(&w, file.data, file.size, "x.pth"), EFF_OK);
    assert_true(eff_weights_find(w, "w")->data[3] == 4.0f);
    eff_weights_free(w);
    free(file.data);
}

static void zip_entries_are_checked(void **state)
{
    (void)state;
    Entry entries[] = {{"m/data.pkl", four, sizeof four - 1, false},
                       {"m/byteorder", "little", 6, false},
                       {"m/data/0", four_floats, sizeof four_floats, false}};
    Bytes zip = make_zip(entries, 3);
    EffWeights *w = NULL;
    assert_int_equal(eff_weights_read(&w, zip.data, zip.size, "x.pth"), EFF_OK);
    assert_true(eff_weights_find(w, "w")->data[3] == 4.0f);
    eff_weights_free(w);

    /* A changed weight, and a changed pickle, do not match their checksum. */
    for (size_t i = 0; i + sizeof four_floats <= zip.size; i++)
        if (memcmp(zip.data + i, four_floats, sizeof four_floats) == 0)
            zip.data[i] ^= 1;
    assert_refused(&zip, EFF_ERR_FORMAT, "'m/data/0' cannot be read (CRC error");
    free(zip.data);

    entries[0].deflate = entries[2].deflate = true; /* repacked by hand */
    zip = make_zip(entries, 3);
    assert_int_equal(eff_weights_read(&w, zip.data, zip.size, "x.pth"), EFF_OK);
    eff_weights_free(w);
    free(zip.data);

    entries[1] = (Entry){"m/byteorder", "big", 3, false};
    zip = make_zip(entries, 3);
    assert_refused(&zip, EFF_ERR_UNSUPPORTED, "big-endian");
    free(zip.data);
    entries[1] = (Entry){"m/byteorder", "a word that is longer than any of these", 39, false};
    zip = make_zip(entries, 3);
    assert_refused(&zip, EFF_ERR_FORMAT, "names no byte order");
    free(zip.data);

    zip = make_zip(entries + 2, 1);
    assert_refused(&zip, EFF_ERR_FORMAT, "a zip archive without data.pkl");
    free(zip.data);
    zip = make_zip(entries, 1);
    assert_refused(&zip, EFF_ERR_FORMAT, "'m/data/0' is missing");
    free(zip.data);
    entries[1] = (Entry){"m/data/0", four_floats, 12, false};
    zip = make_zip(entries, 2);
    assert_refused(&zip, EFF_ERR_FORMAT, "'m/data/0' has not the size that its tensors tell");
    free(zip.data);
    static const char cut[] = "PK\x03\x04 and nothing else";
    const Bytes torn = {(uint8_t *)(uintptr_t)cut, sizeof cut};
    assert_refused(&torn, EFF_ERR_FORMAT, "begins like a zip archive");
}

/* Write a little-endian field of the central directory entry of `name`: 20 is its compressed size, 24 its size. */
static void patch_directory(const Bytes *zip, const char *name, size_t field, uint32_t value)
{
    for (size_t i = 0; i + 46 + strlen(name) <= zip->size; i++)
        if (memcmp(zip->data + i, "PK\x01\x02", 4) == 0 && memcmp(zip->data + i + 46, name, strlen(name)) == 0) {
            memcpy(zip->data + i + field, &value, sizeof value);
            return;
        }
    fail_msg("no entry %s", name);
}

static void zip_bombs_are_refused(void **state)
{
    (void)state;
    static const char huge[] = FLOATS("J\x00\x00\x00\x38", "K\x00", "K\x04\x85", "K\x01\x85"); /* 3.5 GiB */
    const Entry entries[] = {{"m/data.pkl", huge, sizeof huge - 1, true},
                             {"m/data/0", four_floats, sizeof four_floats, true}};
    const Bytes zip = make_zip(entries, 2);
    patch_directory(&zip, "m/data/0", 24, 0x38000000u * 4u);
    assert_refused(&zip, EFF_ERR_FORMAT, "larger than its bytes can make");
    patch_directory(&zip, "m/data/0", 20, 0x38000000u);
    assert_refused(&zip, EFF_ERR_FORMAT, "larger than its bytes can make");
    patch_directory(&zip, "m/data.pkl", 24, 0xfffffff0u);
    assert_refused(&zip, EFF_ERR_FORMAT, "larger than its bytes can make");
    free(zip.data);
}

static void archives_of_too_many_entries_are_refused(void **state)
{
    (void)state;
    const Bytes torn = repeat("PK\x03\x04", "PK\x01\x02", (1 << 14) + 1, "PK");
    assert_refused(&torn, EFF_ERR_LIMIT, "more than 16384 entries");
    free(torn.data);
}

static void other_files_are_recognised(void **state)
{
    (void)state;
    static const Case cases[] = {
        CASE("\x12\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"\"}}", EFF_ERR_UNSUPPORTED, "x.pth: this is a safetensors file; "),
        CASE("\x08\x08\x12\x07pytorch", EFF_ERR_UNSUPPORTED, "ONNX"),
        CASE("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", EFF_ERR_UNSUPPORTED, "git lfs pull"),
        CASE("\r\n <!DOCTYPE html><html>", EFF_ERR_UNSUPPORTED, "a web page"),
        CASE("<?xml version=\"1.0\"?><Error>", EFF_ERR_UNSUPPORTED, "a web page"),
        CASE("\x89HDF\r\n\x1a\n", EFF_ERR_UNSUPPORTED, "HDF5"),
        CASE("\x1c\0\0\0TFL3", EFF_ERR_UNSUPPORTED, "TensorFlow Lite"),
        CASE("\x1f\x8b\x08", EFF_ERR_UNSUPPORTED, "gunzip"),
        CASE("Not found\n", EFF_ERR_UNSUPPORTED, "a text file"),
        CASE("\xff\xd8\xff", EFF_ERR_FORMAT, "first byte is 0xff"),
        CASE("", EFF_ERR_FORMAT, "x.pth: empty"),
    };
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        const Bytes file = {(uint8_t *)(uintptr_t)cases[i].pickle, cases[i].n_pickle};
        assert_refused(&file, cases[i].status, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_is_refused_by_name),
        cmocka_unit_test(damaged_pickles_are_refused),
        cmocka_unit_test(other_objects_are_refused),
        cmocka_unit_test(views_stay_in_their_storage),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(work_is_bounded_by_the_size_of_the_file),
        cmocka_unit_test(legacy_headers_are_checked),
        cmocka_unit_test(zip_entries_are_checked),
        cmocka_unit_test(zip_bombs_are_refused),
        cmocka_unit_test(archives_of_too_many_entries_are_refused),
        cmocka_unit_test(other_files_are_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
