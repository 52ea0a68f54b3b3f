//! `snaprng bytes`: formats, sizes, and everything that can go wrong with the output.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{assert_fails, code, lets_require_pass, run, snaprng, stderr, stdout};

#[test]
fn hexadecimal_is_the_default_and_ends_with_a_newline() {
    for arguments in [&["bytes", "32"] as &[_], &["bytes", "32", "--hex"]] {
        let output = run(arguments);
        assert_eq!(code(&output), 0);
        let line = stdout(&output).strip_suffix('\n').expect("a line");
        assert_eq!(line.len(), 64);
        assert!(line.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
        assert!(stderr(&output).is_empty());
    }
}

#[test]
fn base64_is_padded_and_ends_with_a_newline() {
    for (count, length, padding) in [("48", 64, 0), ("49", 68, 2), ("50", 68, 1)] {
        let output = run(&["bytes", count, "--base64"]);
        let line = stdout(&output).strip_suffix('\n').expect("a line");
        assert_eq!(line.len(), length);
        assert_eq!(line.bytes().rev().take_while(|c| *c == b'=').count(), padding);
    }
}

#[test]
fn raw_bytes_are_as_many_as_asked_for_and_nothing_else() {
    for (count, length) in [("0", 0), ("1", 1), ("511", 511), ("3k", 3072), ("1MiB", 1 << 20)] {
        assert_eq!(run(&["bytes", count, "--raw"]).stdout.len(), length, "{count}");
    }
}

/// A million bits that are random have 500 000 ± 500 ones: 5000 off has a probability of 2^-72.
#[test]
fn raw_bytes_look_random_and_no_two_runs_agree() {
    let (a, b) =
        (run(&["bytes", "125000", "--raw"]).stdout, run(&["bytes", "125000", "--raw"]).stdout);
    let ones: u32 = a.iter().map(|byte| byte.count_ones()).sum();
    assert!((495_000..505_000).contains(&ones), "{ones}");
    let blocks: std::collections::HashSet<_> = a.as_chunks::<16>().0.iter().collect();
    assert!(b.as_chunks::<16>().0.iter().all(|block| !blocks.contains(block)));
}

#[test]
fn formats_exclude_each_other_and_unknown_ones_are_refused() {
    assert_fails(&run(&["bytes", "8", "--hex", "--base64"]), 2, &["cannot be used with"]);
    assert_fails(&run(&["bytes", "8", "--octal"]), 2, &["--octal", "--help"]);
    assert_fails(&run(&["bytes", "8", "--force"]), 2, &["--raw"]);
    assert_fails(&run(&["bytes"]), 2, &["<N>"]);
}

#[test]
fn absurd_sizes_are_refused_before_a_byte_is_made() {
    for size in ["1025T", "18446744073709551616", "99999999999999999999G"] {
        assert_fails(&run(&["bytes", size]), 2, &[size, "at most 1024T"]);
    }
    assert_fails(&run(&["bytes", "many"]), 2, &["whole number"]);
    assert_fails(&run(&["bytes", "1.5M"]), 2, &["powers of 1024"]);
    assert_fails(&run(&["bytes", "10MB"]), 2, &["powers of 1024"]);
    assert_ne!(code(&run(&["bytes", "-1"])), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_output_with_a_message_and_a_code() {
    for format in ["--raw", "--hex", "--base64"] {
        let mut child = snaprng(&["bytes", "1T", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut reader = child.stdout.take().expect("its output");
        reader.read_exact(&mut [0; 100_000]).expect("bytes");
        drop(reader);
        let output = child.wait_with_output().expect("it ends");
        assert_fails(&output, 1, &["nobody reads", "1.0 TiB"]);
        assert_eq!(stderr(&output).lines().count(), 1);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    for format in ["--raw", "--hex", "--base64"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = snaprng(&["bytes", "1M", format]).stdout(full).output().expect("it runs");
        assert_fails(&output, 1, &["cannot write", "No space left"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_output() {
    let mut child = snaprng(&["bytes", "1T", "--hex"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let mut reader = child.stdout.take().expect("its output");
    reader.read_exact(&mut vec![0; 4 << 20]).expect("bytes");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a file");
    drop(reader);
    child.wait().expect("it ends");
    let size = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("a size");
    let kibibytes: u64 = size.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kibibytes < 64 << 10, "{kibibytes} KiB of address space for one chunk");
}

#[test]
fn the_policy_require_makes_no_bytes_on_a_machine_that_is_not_protected() {
    let mut command = snaprng(&["bytes", "32"]);
    let output = command.env("SNAPRNG_POLICY", "require").output().expect("the command starts");
    if lets_require_pass() {
        assert_eq!(stdout(&output).len(), 65);
    } else {
        assert_fails(&output, 1, &["/dev/vmclock0", "snaprng status", "another policy"]);
    }
}

#[test]
fn nonsense_in_the_environment_makes_no_bytes() {
    let mut command = snaprng(&["bytes", "32"]);
    let output = command.env("SNAPRNG_POLICY", "nonsense").output().expect("the command starts");
    assert_fails(&output, 2, &["SNAPRNG_POLICY"]);
}
