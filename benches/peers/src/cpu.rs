//! The machine under the figures: which CPU, with what, and on which one of them a thread runs.

use std::fs;
use std::mem::{size_of, zeroed};

use serde::{Deserialize, Serialize};

/// What a reader must know of the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) features: Vec<String>,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    pub(crate) libc: String,
    pub(crate) rustc: String,
    pub(crate) load: String,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            cpu: model(),
            features: features(),
            cpus: allowed().len(),
            kernel: read("/proc/sys/kernel/osrelease"),
            libc: libc_version(),
            rustc: std::env::var("SNAPRNG_BENCH_RUSTC").unwrap_or_else(|_| "unknown".into()),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            date: today(),
        }
    }
}

/// Family and model too: a hypervisor may hide which EPYC or Xeon it is.
fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let name = field("model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("rdrand", is_x86_feature_detected!("rdrand")),
        ("rdseed", is_x86_feature_detected!("rdseed")),
    ];
    found.iter().filter(|(_, has)| *has).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<String> {
    Vec::new()
}

fn libc_version() -> String {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: no conditions.
        let text = unsafe { libc::gnu_get_libc_version() };
        // SAFETY: the function returns a C string that is never freed.
        let text = unsafe { std::ffi::CStr::from_ptr(text) };
        format!("glibc {}", text.to_string_lossy())
    }
    #[cfg(not(target_env = "gnu"))]
    "not glibc".into()
}

/// The date, in UTC.
fn today() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = now.map_or(0, |since| since.as_secs() / 86_400) as i64;
    // The calendar of H. Hinnant, from March on.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The CPUs that this thread may run on.
pub(crate) fn allowed() -> Vec<usize> {
    // SAFETY: a set of zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the set is as large as is said.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    assert_eq!(outcome, 0, "sched_getaffinity: {}", std::io::Error::last_os_error());
    let is_set = |cpu: &usize| {
        // SAFETY: the number is below that of the set's bits.
        unsafe { libc::CPU_ISSET(*cpu, &set) }
    };
    (0..8 * size_of::<libc::cpu_set_t>()).filter(is_set).collect()
}

/// Makes this thread, and those that it starts, run on these CPUs only.
pub(crate) fn pin(cpus: &[usize]) -> Result<(), String> {
    // SAFETY: a set of zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for cpu in cpus {
        if *cpu >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(format!("there is no CPU {cpu}"));
        }
        // SAFETY: the number is below that of the set's bits.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the set is as large as is said.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(format!("cannot run on CPU {cpus:?}: {}", std::io::Error::last_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_its_parts() {
        let today = today();
        let parts: Vec<u32> =
            today.split('-').map(|part| part.parse().expect("a number")).collect();
        assert!(parts[0] >= 2026 && (1..=12).contains(&parts[1]) && (1..=31).contains(&parts[2]));
    }
}
