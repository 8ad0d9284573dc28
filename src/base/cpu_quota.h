/* SPDX-License-Identifier: Apache-2.0 */
/* How much CPU time a control group allows, as containers set it. */
#ifndef EFF_BASE_CPU_QUOTA_H
#define EFF_BASE_CPU_QUOTA_H

/**
 * CPUs' worth of time that this process may use, by cgroup v2 (cpu.max) and v1 (cpu.cfs_quota_us, cpu.cfs_period_us):
 * the least of its group and all groups above.
 *
 * @param root  what stands before /proc/self/cgroup and /sys/fs/cgroup: "" except in tests.
 * @return such as 1.5; 0 where nothing limits it, or nothing can be read.
 */
double eff_cpu_quota(const char *root);

#endif
