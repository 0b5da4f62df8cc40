//! CPU time of a process.

use std::fs;

/// CPU seconds (user and system) that the threads of `pid` have used so far, from the scheduler's own nanosecond
/// counter (`/proc/<pid>/task/*/schedstat`); threads that ended are missing, so measure processes with fixed threads.
#[allow(dead_code, reason = "not every benchmark measures another process")]
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
#[allow(dead_code, reason = "not every benchmark measures another process")]
pub fn resident_kib(pid: u32) -> f64 {
    status_kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most that this process had resident since it began or since [`forget_peak`], in KiB.
#[allow(dead_code, reason = "not every benchmark measures itself")]
pub fn peak_kib() -> f64 {
    status_kib("/proc/self/status", "VmHWM:")
}

/// The same of another process.
#[allow(dead_code, reason = "not every benchmark measures another process")]
pub fn peak_of_kib(pid: u32) -> f64 {
    status_kib(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Begins to measure the peak anew.
#[allow(dead_code, reason = "not every benchmark measures itself")]
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// CPU seconds of this process, and of all its children that ended.
#[allow(dead_code, reason = "not every benchmark measures itself")]
pub fn own_cpu_seconds() -> f64 {
    stat_seconds(13)
}

#[allow(dead_code, reason = "not every benchmark measures itself")]
pub fn children_cpu_seconds() -> f64 {
    stat_seconds(15)
}

/// Two fields of `/proc/self/stat` (proc(5)), counted from 0, in seconds: user and system time, in hundredths.
fn stat_seconds(first: usize) -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<f64> = after.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
    // the first two fields stand before the name's bracket
    fields.iter().skip(first - 2).take(2).sum::<f64>() / 100.0
}

fn status_kib(path: &str, name: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}
