//! Hooks as children, in directories of their own.

use std::os::unix::fs::PermissionsExt;

use rustix::event::poll;

use super::*;
use crate::clock;

struct Directory {
    config: HooksConfig,
}

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("snapsafed-hooks-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { config: HooksConfig { directory: path, timeout: Duration::from_secs(60) } }
    }

    fn hook(&self, name: &str, script: &str, mode: u32) {
        let path = self.config.directory.join(name);
        let log = self.log();
        let source = self.config.directory.join(format!("{name}.source"));
        fs::write(
            &source,
            format!("#!/bin/sh\necho \"{name} $*\" >> {}\n{script}\n", log.display()),
        )
        .unwrap();
        // By another process: a file that a thread of ours has open for writing cannot be executed.
        let mut copy = Command::new("install");
        copy.arg("-m").arg(format!("{mode:o}")).arg(&source).arg(&path);
        assert!(copy.status().unwrap().success());
        fs::remove_file(&source).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.config.directory.join("log")
    }

    fn ran(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn run(&self, phase: Phase) -> Result<(), String> {
        let far = clock::now() + 60_000;
        let mut hooks = Hooks::new(&self.config, phase, 3, 7, far);
        loop {
            if let Some(result) = hooks.step(clock::now()) {
                return result;
            }
            let mut fds: Vec<_> = hooks.to_poll().collect();
            let soon = rustix::time::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            poll(&mut fds, Some(&soon)).unwrap();
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.config.directory);
    }
}

#[test]
fn hooks_run_backwards_before_and_forwards_after() {
    let directory = Directory::new("order");
    for name in ["20-b", "10-a", "30-c"] {
        directory.hook(name, "", 0o755);
    }
    assert_eq!(directory.run(Phase::Quiesce), Ok(()));
    assert_eq!(directory.ran(), ["30-c quiesce", "20-b quiesce", "10-a quiesce"]);
    fs::remove_file(directory.log()).unwrap();
    assert_eq!(directory.run(Phase::Restored), Ok(()));
    assert_eq!(directory.ran(), ["10-a restored", "20-b restored", "30-c restored"]);
}

#[test]
fn a_hook_is_told_transition_and_generation_and_nothing_of_our_environment() {
    let directory = Directory::new("environment");
    let log = directory.log();
    directory.hook("10-env", &format!("env >> {}", log.display()), 0o755);
    assert_eq!(directory.run(Phase::Resumed), Ok(()));
    let ran = directory.ran();
    for line in ["SNAPSAFE_TRANSITION=3", "SNAPSAFE_GENERATION=7"] {
        assert!(ran.iter().any(|l| l == line), "{line} in {ran:?}");
    }
    assert!(!ran.iter().any(|l| l.starts_with("CARGO")), "{ran:?}");
}

#[test]
fn the_first_failure_ends_quiescing_and_is_named() {
    let directory = Directory::new("first-failure");
    directory.hook("10-never", "", 0o755);
    directory.hook("20-fails", "exit 3", 0o755);
    directory.hook("30-runs", "", 0o755);
    let why = directory.run(Phase::Quiesce).unwrap_err();
    assert!(why.contains("20-fails") && why.contains("exit status 3"), "{why}");
    assert_eq!(directory.ran(), ["30-runs quiesce", "20-fails quiesce"]);
}

#[test]
fn all_hooks_run_after_a_snapshot_and_any_failure_counts() {
    let directory = Directory::new("all-run");
    directory.hook("10-fails", "exit 1", 0o755);
    directory.hook("20-runs", "", 0o755);
    let why = directory.run(Phase::Restored).unwrap_err();
    assert!(why.contains("10-fails"), "{why}");
    assert_eq!(directory.ran(), ["10-fails restored", "20-runs restored"]);
}

#[test]
fn a_hook_that_hangs_is_killed_with_all_that_it_started() {
    let mut directory = Directory::new("hangs");
    directory.config.timeout = Duration::from_millis(300);
    let pid = directory.config.directory.join("pid");
    let script =
        format!("sleep 1000 & echo $! > {}; trap '' TERM; wait; sleep 1000", pid.display());
    directory.hook("10-hangs", &script, 0o755);
    let why = directory.run(Phase::Restored).unwrap_err();
    assert!(why.contains("10-hangs") && why.contains("in time"), "{why}");
    let Ok(pid) = fs::read_to_string(&pid) else { return };
    let stat = format!("/proc/{}/stat", pid.trim());
    // Whoever adopts it reaps it; until then it is a zombie.
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        std::thread::yield_now();
    }
}

#[test]
fn hooks_that_others_could_have_written_are_refused_and_count_as_failed() {
    let directory = Directory::new("writable");
    directory.hook("10-open", "", 0o777);
    let why = directory.run(Phase::Quiesce).unwrap_err();
    assert!(why.contains("10-open") && why.contains("written by others"), "{why}");
    assert_eq!(directory.ran(), <[&str; 0]>::default());

    let directory = Directory::new("link");
    std::os::unix::fs::symlink("/bin/true", directory.config.directory.join("10-link")).unwrap();
    assert!(directory.run(Phase::Restored).unwrap_err().contains("regular file"));

    let directory = Directory::new("directory");
    directory.hook("10-fine", "", 0o755);
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(&directory.config.directory, open).unwrap();
    assert!(directory.run(Phase::Quiesce).unwrap_err().contains("refused"));
    assert_eq!(directory.ran(), <[&str; 0]>::default());
}

#[test]
fn what_is_no_hook_is_left_alone() {
    let directory = Directory::new("left-alone");
    for name in ["README", "10-old.dpkg-new", "1-short", "10-"] {
        directory.hook(name, "exit 1", 0o755);
    }
    directory.hook("10-off", "exit 1", 0o644);
    assert_eq!(directory.run(Phase::Quiesce), Ok(()));
    let mut absent = directory.config.clone();
    absent.directory.push("not-there");
    let mut hooks = Hooks::new(&absent, Phase::Quiesce, 1, 1, u64::MAX);
    assert_eq!(hooks.step(clock::now()), Some(Ok(())));
}

#[test]
fn a_hook_that_says_too_much_does_not_wait_for_a_reader() {
    let directory = Directory::new("says-much");
    directory.hook("10-much", "i=0; while [ $i -lt 5000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done", 0o755);
    assert_eq!(directory.run(Phase::Quiesce), Ok(()));
}
