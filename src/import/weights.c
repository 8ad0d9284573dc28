/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of weights: tells the form of a file by its first bytes, and looks tensors up. */
#include "import/weights.h"
#include "base/compiler.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/torch_file.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

static const uint64_t max_file_bytes = (uint64_t)4 << 30;

static bool begins(const uint8_t *data, size_t size, size_t at, const char *text)
{
    const size_t n = strlen(text);
    return size >= at + n && memcmp(data + at, text, n) == 0;
}

/* HTML or XML: what a server sends in place of a file that it will not give. */
static bool is_markup(const uint8_t *data, size_t size)
{
    size_t at = begins(data, size, 0, "\xef\xbb\xbf") ? 3 : 0;
    while (at < size && isspace(data[at]))
        at++;
    return size - at >= 2 && data[at] == '<' && (data[at + 1] == '!' || data[at + 1] == '?' || isalpha(data[at + 1]));
}

/* An 8-byte length, then that many bytes of JSON. */
static bool is_safetensors(const uint8_t *data, size_t size)
{
    uint64_t n;
    if (size < sizeof n + 2)
        return false;
    memcpy(&n, data, sizeof n);
    return n >= 2 && n <= size - sizeof n && data[sizeof n] == '{';
}

/* A protobuf whose field 1 is a small number (ir_version), followed by field 2 (producer), 7 (graph) or 8 (opset). */
static bool is_onnx(const uint8_t *data, size_t size)
{
    return size >= 4 && data[0] == 0x08 && data[1] > 0 && data[1] < 0x20 &&
           (data[2] == 0x12 || data[2] == 0x3a || data[2] == 0x42);
}

static bool is_text(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size && i < 256; i++)
        if (data[i] >= 0x7f || (data[i] < 0x20 && !isspace(data[i])))
            return false;
    return true;
}

static EffStatus refuse(const uint8_t *data, size_t size)
{
    const char *what = NULL;
    if (begins(data, size, 0, "version https://git-lfs"))
        what = "this is a Git LFS pointer, not the file it stands for; run 'git lfs pull'";
    else if (is_markup(data, size))
        what = "this is a web page or an error message of a server, not weights; fetch the file again, by its direct "
               "link";
    else if (is_safetensors(data, size))
        what = "this is a safetensors file; convert it in Python: "
               "torch.save(safetensors.torch.load_file(path), 'x.pth')";
    else if (is_onnx(data, size))
        what = "this is an ONNX model, which holds a network and not a state dict; open it as a model";
    else if (begins(data, size, 0, "\x89HDF"))
        what = "this is an HDF5 file, of Keras perhaps; convert the weights to a PyTorch state dict first";
    else if (begins(data, size, 4, "TFL3"))
        what = "this is a TensorFlow Lite model, which is quantized or compiled already; use the PyTorch weights";
    else if (begins(data, size, 0, "\x1f\x8b"))
        what = "this is a gzip file; unpack it with gunzip first";
    else if (begins(data, size, 257, "ustar"))
        what = "this is a tar archive, of torch before 0.2 perhaps; unpack it, or save it again with a newer torch";
    else if (is_text(data, size))
        what = "this is a text file, not weights; name the .pth file";
    if (what != NULL)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s", what);
    return eff_fail(
        EFF_ERR_FORMAT,
        "neither a zip archive nor a pickle (its first byte is 0x%02x), so not a file of torch.save(); save "
        "the weights with torch.save(model.state_dict(), path)",
        data[0]);
}

EffStatus eff_weights_read(EffWeights **out, const void *data, size_t size, const char *name)
{
    assert(out != NULL && (data != NULL || size == 0) && name != NULL);
    const uint8_t *bytes = data;
    EffStatus st;
    if (size > max_file_bytes)
        st = eff_fail(EFF_ERR_LIMIT, "larger than 4 GiB; save the state dict alone");
    else if (size == 0)
        st = eff_fail(EFF_ERR_FORMAT, "empty; fetch the file again");
    else if (begins(bytes, size, 0, "PK"))
        st = eff_torch_zip_read(out, bytes, size);
    else if (bytes[0] == 0x80)
        st = eff_torch_legacy_read(out, bytes, size);
    else
        st = refuse(bytes, size);
    return st == EFF_OK ? EFF_OK : eff_fail_in(st, "%s", name);
}

EffStatus eff_weights_open(EffWeights **out, const char *path)
{
    assert(out != NULL && path != NULL);
    EffBytes file;
    EffStatus st = eff_file_read(&file, path, max_file_bytes);
    if (st != EFF_OK)
        return st;
    st = eff_weights_read(out, file.data, file.size, strcmp(path, "-") == 0 ? "standard input" : path);
    eff_free(file.data);
    return st;
}

size_t eff_weights_count(const EffWeights *w)
{
    return w->n;
}

const EffTensor *eff_weights_at(const EffWeights *w, size_t i)
{
    return i < w->n ? &w->tensors[i] : NULL;
}

const EffTensor *eff_weights_find(const EffWeights *w, const char *name)
{
    size_t low = 0, high = w->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const EffTensor *t = &w->tensors[w->by_name[middle]];
        const int order = strcmp(name, t->name);
        if (order == 0)
            return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void eff_weights_free(EffWeights *w)
{
    if (w == NULL)
        return;
    eff_free(w->tensors);
    eff_free(w->by_name);
    eff_free(w->names);
    eff_free(w->data);
    eff_free(w);
}
