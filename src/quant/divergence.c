/* SPDX-License-Identifier: Apache-2.0 */
/* exp and ln by products, sums and powers of two alone. */
#include "quant/divergence.h"
#include "quant/requantize.h"

/* e^x for x <= 0: e^(k ln 2) e^r with |r| <= ln 2 / 2, and the series of e^r. 0 below -600. */
static double exp_of(double x)
{
    const double ln2_high = 0x1.62e42fefp-1, ln2_low = 0x1.473de6af278edp-34;
    if (!(x > -600))
        return 0;
    const int k = (int)(x * 1.4426950408889634 - 0.5);
    const double r = (x - k * ln2_high) - k * ln2_low;
    double sum = 1;
    for (int i = 16; i >= 1; i--)
        sum = 1 + r / i * sum;
    return sum * eff_pow2(k);
}

/* By Newton's method from the logarithm of the power of two below. */
double eff_ln(double s)
{
    double y = 0;
    for (double power = 2; power <= s; power *= 2)
        y += 0.6931471805599453;
    for (int i = 0; i < 8; i++)
        y += s * exp_of(-y) - 1;
    return y;
}

size_t eff_best_class(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static double sum_of_exp(const float *logits, double max, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp_of((double)logits[i] - max);
    return sum;
}

double eff_softmax_kl(const float *a, const float *b, size_t n)
{
    const double max_a = (double)a[eff_best_class(a, n)], max_b = (double)b[eff_best_class(b, n)];
    const double total = sum_of_exp(a, max_a, n), ln_a = eff_ln(total), ln_b = eff_ln(sum_of_exp(b, max_b, n));
    double kl = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = (double)a[i] - max_a, y = (double)b[i] - max_b;
        kl += exp_of(x) / total * ((x - ln_a) - (y - ln_b));
    }
    return kl > 0 ? kl : 0;
}
