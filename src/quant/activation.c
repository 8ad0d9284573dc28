/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring the integer forms of the activations against the float one, on the calibration pictures. */
#include "quant/activation.h"
#include "base/mem.h"
#include "base/status.h"
#include "kernels/act_tables.h"
#include "kernels/f32.h"
#include "quant/requantize.h"
#include "quant/slots.h"

#include <string.h>

typedef struct Sums {
    double signal, stair, interp, u8;
} Sums;

/* The integer forms of one activation. */
typedef struct Forms {
    int frac_bits, post_shift;
    EffAct stair, interp;
    uint8_t stair_table[EFF_STAIR_SIZE];
    int16_t knots[EFF_KNOTS], slopes[EFF_KNOTS];
    EffRequantCopy *copies; /* [c] */
} Forms;

typedef struct Slot {
    EffRunSlot run;
    Sums *sums; /* [n] of the current picture */
    const struct Job *job;
} Slot;

typedef struct Job {
    EffActChoice *choices;
    Forms *forms;
    Sums *totals;
    size_t n;
    Slot *slots;
} Job;

static EffStatus make_forms(Forms *f, const EffActChoice *choice)
{
    const EffActFn fn = choice->fn == EFF_ACTIVATION_SILU ? EFF_FN_SILU : EFF_FN_HARD_SWISH;
    const double range = (double)eff_range_before(choice->in, choice->fn), out = (double)eff_range_abs(choice->out);
    f->frac_bits = eff_choose_frac_bits(range, EFF_MAX_ACT_FRAC_BITS);
    f->post_shift = eff_choose_post_shift(out, f->frac_bits);
    const int y_max = (int)eff_round_clamp(1.25 * range * eff_pow2(f->frac_bits), 1, 32767);
    eff_act_build_stair(&f->stair, f->stair_table, fn, f->frac_bits, y_max);
    eff_act_build_interp(&f->interp, f->knots, f->slopes, fn, f->frac_bits, y_max);
    f->copies = eff_calloc((size_t)choice->out->c, sizeof *f->copies);
    if (f->copies == NULL)
        return eff_fail_nomem((size_t)choice->out->c * sizeof *f->copies, "activations");
    for (int c = 0; c < choice->out->c; c++) {
        const double min = choice->per_channel ? (double)choice->out->min[c] : (double)eff_range_min(choice->out);
        const double max = choice->per_channel ? (double)choice->out->max[c] : (double)eff_range_max(choice->out);
        f->copies[c] = eff_requantize_copy(min, max, out, f->frac_bits, f->post_shift);
    }
    return EFF_OK;
}

static void measure(Sums *sums, const EffActChoice *choice, const Forms *f, const float *x, size_t n_pixels, int n_ch)
{
    const double unit = eff_pow2(-f->frac_bits), inverse = eff_pow2(f->frac_bits);
    for (size_t p = 0; p < n_pixels; p++, x += n_ch) {
        for (int c = 0; c < n_ch; c++) {
            float a = x[c];
            if (choice->fn == EFF_ACTIVATION_SILU)
                eff_silu_f32(&a, 1);
            else
                eff_hswish_f32(&a, 1);
            const double v = (double)a;
            const int16_t y = (int16_t)eff_round_clamp((double)x[c] * inverse, -32768, 32767);
            const double stair = eff_act_apply(&f->stair, y) * unit - v,
                         interp = eff_act_apply(&f->interp, y) * unit - v;
            const EffRequantCopy *copy = &f->copies[c];
            const double q = (double)eff_round_clamp(v / copy->scale + copy->zero, 0, 255);
            const double u8 = (q - copy->zero) * copy->scale - v;
            sums->signal += v * v;
            sums->stair += stair * stair;
            sums->interp += interp * interp;
            sums->u8 += u8 * u8;
        }
    }
}

static void tap(void *ctx, int node, EffShape shape, const float *data)
{
    Slot *slot = ctx;
    for (size_t i = 0; i < slot->job->n; i++) {
        if (slot->job->choices[i].conv == node)
            measure(&slot->sums[i], &slot->job->choices[i], &slot->job->forms[i], data,
                    (size_t)shape.h * (size_t)shape.w, shape.c);
    }
}

static EffStatus run_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    Job *job = ctx;
    Slot *slot = &job->slots[worker];
    (void)picture;
    memset(slot->sums, 0, job->n * sizeof *slot->sums);
    eff_run_slot_run(&slot->run, pixels, tap, slot);
    return EFF_OK;
}

static void commit(void *ctx, int worker)
{
    Job *job = ctx;
    for (size_t i = 0; i < job->n; i++) {
        const Sums *s = &job->slots[worker].sums[i];
        job->totals[i].signal += s->signal;
        job->totals[i].stair += s->stair;
        job->totals[i].interp += s->interp;
        job->totals[i].u8 += s->u8;
    }
}

static void choose(EffActChoice *choice, const Sums *s)
{
    const double margin = 3.9810717055349722; /* 6 dB as a ratio of powers */
    choice->kind = s->stair * margin <= s->u8 ? EFF_ACT_STAIR : EFF_ACT_INTERP;
    choice->stair_db = eff_sqnr_db(s->signal, s->stair);
    choice->interp_db = eff_sqnr_db(s->signal, s->interp);
    choice->u8_db = eff_sqnr_db(s->signal, s->u8);
}

EffStatus eff_choose_activations(EffActChoice *choices, size_t n, const EffGraph *g, const EffReference *reference,
                                 const EffPictures *pictures, const EffQuantizeOptions *options)
{
    if (n == 0)
        return EFF_OK;
    const size_t n_slots = eff_run_slot_count(options);
    Job job = {.choices = choices, .n = n};
    job.forms = eff_calloc(n, sizeof *job.forms);
    job.totals = eff_calloc(n, sizeof *job.totals);
    job.slots = eff_calloc(n_slots, sizeof *job.slots);
    EffStatus st = EFF_OK;
    if (job.forms == NULL || job.totals == NULL || job.slots == NULL)
        st = eff_fail_nomem(n * sizeof *job.forms, "activations");
    for (size_t i = 0; i < n && st == EFF_OK; i++)
        st = make_forms(&job.forms[i], &choices[i]);
    for (size_t i = 0; i < n_slots && st == EFF_OK; i++) {
        Slot *slot = &job.slots[i];
        slot->job = &job;
        slot->sums = eff_calloc(n, sizeof *slot->sums);
        st = slot->sums != NULL ? eff_run_slot_create(&slot->run, g, reference)
                                : eff_fail_nomem(n * sizeof *slot->sums, "activations");
    }
    if (st == EFF_OK)
        st = eff_each_picture(pictures, options, "measuring activations", g->pre.size, run_picture, commit, &job);
    for (size_t i = 0; i < n && st == EFF_OK; i++)
        choose(&choices[i], &job.totals[i]);
    for (size_t i = 0; job.slots != NULL && i < n_slots; i++) {
        eff_run_slot_free(&job.slots[i].run);
        eff_free(job.slots[i].sums);
    }
    for (size_t i = 0; job.forms != NULL && i < n; i++)
        eff_free(job.forms[i].copies);
    eff_free(job.slots);
    eff_free(job.totals);
    eff_free(job.forms);
    return st;
}
