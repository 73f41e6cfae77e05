//! What a process has, as the system says it (Linux; elsewhere nothing is known, and nothing is claimed).

use std::fs;

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Resident memory, bytes.
    pub memory: u64,
    /// Open files and sockets.
    pub files: u64,
}

/// Looks at a process.
pub fn sample(pid: u32) -> Option<Sample> {
    let memory = resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Sample { memory, files })
}

/// The line `VmRSS:     61508 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The middle one of the second quarter, and of the last: the first quarter is a host that warms up.
pub fn early_and_late(values: &[u64]) -> Option<(u64, u64)> {
    let quarter = values.len() / 4;
    let middle = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    };
    let early = middle(values.get(quarter..quarter * 2)?)?;
    let late = middle(values.get(values.len() - quarter..)?)?;
    Some((early, late))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_line() {
        assert_eq!(resident("Name:\tsluice\nVmRSS:\t   61508 kB\nThreads:\t4\n"), Some(61_508 * 1024));
        assert_eq!(resident("Name:\tsluice\n"), None);
    }

    #[test]
    fn a_trend_is_the_last_quarter_against_the_second() {
        assert_eq!(early_and_late(&[1, 2, 3]), None);
        assert_eq!(early_and_late(&[9, 9, 10, 11, 5, 5, 20, 21]), Some((11, 21)));
    }
}
