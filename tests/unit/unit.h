/* SPDX-License-Identifier: Apache-2.0 */
/* What the unit tests share: cmocka with what it needs, and the out-of-memory sweep. */
#ifndef EFFNET_TESTS_UNIT_H
#define EFFNET_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "effnet/base.h"

/*
 * Let the k-th allocation of once() fail, for k = 0, 1, ... until it succeeds: every failure must be EFF_ERR_NOMEM.
 * Leaks are the sanitizer's to find. once() frees what it made.
 */
static inline void sweep_allocations(EffStatus (*once)(void *ctx), void *ctx)
{
    for (long k = 0;; k++) {
        eff_mem_fail_after(k);
        const EffStatus st = once(ctx);
        const long n = eff_mem_fail_after(-1);
        if (st == EFF_OK) {
            assert_true(n <= k); /* it succeeded because nothing failed */
            assert_true(k > 0);
            return;
        }
        if (st != EFF_ERR_NOMEM)
            fail_msg("allocation %ld failed: %s: %s", k, eff_status_name(st), eff_last_message());
    }
}

#endif
