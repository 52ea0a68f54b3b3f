//! This process's memory mappings, as `/proc/self/smaps` shows them (proc_pid_smaps(5)).

/// One mapping.
pub(crate) struct Mapping {
    pub(crate) start: usize,
    pub(crate) length: usize,
    flags: Vec<String>,
}

impl Mapping {
    /// Whether `VmFlags` has this two-letter mnemonic.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

/// `VM_DROPPABLE` (fs/proc/task_mmu.c, Linux 6.11).
pub(crate) const DROPPABLE: &str = "dp";
/// `VM_WIPEONFORK`.
pub(crate) const WIPED_ON_FORK: &str = "wf";
/// `VM_DONTDUMP`.
pub(crate) const NOT_DUMPED: &str = "dd";

/// All mappings.
pub(crate) fn mappings() -> Vec<Mapping> {
    parse(&std::fs::read_to_string("/proc/self/smaps").expect("smaps"))
}

/// All mappings of another process.
pub(crate) fn mappings_of(process: libc::pid_t) -> Vec<Mapping> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/smaps")).expect("smaps"))
}

fn parse(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let last = mappings.last_mut().expect("flags follow a range");
            last.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if let Some((start, length)) = range(line) {
            mappings.push(Mapping { start, length, flags: Vec::new() });
        }
    }
    mappings
}

/// The range at the beginning of a mapping's first line.
fn range(line: &str) -> Option<(usize, usize)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end - start))
}
