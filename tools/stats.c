/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of evaluations. */
#include "stats.h"

#include <math.h>

Interval stats_wilson(size_t k, size_t n)
{
    const double z = 1.959963984540054, size = (double)n, p = (double)k / size;
    const double centre = p + z * z / (2 * size), spread = z * sqrt(p * (1 - p) / size + z * z / (4 * size * size));
    const double scale = 1 + z * z / size;
    return (Interval){fmax(0, (centre - spread) / scale), fmin(1, (centre + spread) / scale)};
}

double stats_mcnemar(size_t b, size_t c)
{
    const double n = (double)(b + c), less = (double)(b < c ? b : c);
    double sum = 0;
    for (double k = 0; k <= less; k++) /* binomial(n, k) / 2^n */
        sum += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * 0.6931471805599453);
    return fmin(1, 2 * sum);
}

double stats_normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.7071067811865476);
}

double stats_detectable(double se)
{
    return (1.959963984540054 + 0.8416212335729143) * se;
}

double stats_quantile(const double *sorted, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t below = (size_t)at;
    const size_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

int stats_compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void stats_softmax(double *dst, const float *logits, int n)
{
    double max = (double)logits[0], sum = 0;
    for (int i = 1; i < n; i++)
        max = fmax(max, (double)logits[i]);
    for (int i = 0; i < n; i++)
        sum += dst[i] = exp((double)logits[i] - max);
    for (int i = 0; i < n; i++)
        dst[i] /= sum;
}

void stats_top(int *dst, int k, const float *values, int n)
{
    for (int rank = 0; rank < k; rank++) {
        int best = -1;
        for (int i = 0; i < n; i++) {
            int taken = 0;
            for (int r = 0; r < rank; r++)
                taken |= dst[r] == i;
            if (!taken && (best < 0 || values[i] > values[best]))
                best = i;
        }
        dst[rank] = best;
    }
}
