//! CPU time of a process.

use std::fs;

/// CPU seconds (user and system) that the threads of `pid` have used so far, from the scheduler's own nanosecond
/// counter (`/proc/<pid>/task/*/schedstat`); threads that ended are missing, so measure processes with fixed threads.
pub fn cpu_seconds(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return f64::NAN };
    let nanoseconds: u64 = tasks
        .filter_map(Result::ok)
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()))
        .sum();
    nanoseconds as f64 / 1e9
}

/// Resident memory of `pid` in KiB.
pub fn resident_kib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}
