//! `snaprng demo`: what it claims is what its output shows.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;

use common::{assert_fails, code, json, run, snaprng, stderr, stdout};

/// Rows of the table: the number of the clone, what `rand` drew, and what snaprng drew.
fn rows(text: &str) -> Vec<(&str, &str, &str)> {
    let is_hex = |word: &str| word.len() == 32 && word.bytes().all(|c| c.is_ascii_hexdigit());
    text.lines()
        .filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [clone, plain, ours] if is_hex(plain) && is_hex(ours) => Some((clone, plain, ours)),
            _ => None,
        })
        .collect()
}

#[test]
fn in_the_table_rand_repeats_in_every_clone_and_snaprng_never_does() {
    let output = run(&["demo"]);
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{text}{}", stderr(&output));
    let rows = rows(text);
    assert_eq!(rows.len(), 3 * 4);
    for step in rows.chunks(4) {
        let numbers: Vec<_> = step.iter().map(|row| row.0).collect();
        assert_eq!(numbers, ["1", "2", "3", "4"]);
        assert!(step.iter().all(|row| row.1 == step[0].1));
    }
    let plain: HashSet<_> = rows.iter().map(|row| row.1).collect();
    assert_eq!(plain.len(), 3, "rand does move on from step to step");
    let ours: HashSet<_> = rows.iter().map(|row| row.2).collect();
    assert_eq!(ours.len(), rows.len());
    assert!(ours.is_disjoint(&plain));
}

#[test]
fn the_text_names_the_witness_of_each_step_and_the_limits() {
    let output = run(&["demo"]);
    let text = stdout(&output);
    let fired: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("witness that fired: ")).collect();
    assert_eq!(fired.len(), 3);
    for (fired, expected) in fired.iter().zip(["process", "none", "vmclock"]) {
        assert!(fired.starts_with(expected), "{fired}");
    }
    for part in ["Fork alone", "`process`", "stand-in", "`tests/run`", "real virtual machines"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns");
}

#[test]
fn as_json_every_block_of_every_clone_can_be_checked() {
    let output = run(&["demo", "--json", "--children", "9"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let document = json(&output);
    assert_eq!(document["passed"], true);
    assert_eq!(document["stand_in"], true);
    assert_eq!(document["repeated_blocks"], 0);
    let mut blocks = HashSet::new();
    let steps = document["steps"].as_array().expect("steps");
    for (step, (name, witness, counter)) in steps.iter().zip([
        ("fork", "process", 0),
        ("nothing", "none", 0),
        ("counter", "vmclock", 1),
    ]) {
        assert_eq!(step["step"], name);
        assert_eq!(step["witness"], witness);
        assert_eq!(step["counter"], counter);
        assert_eq!(step["rekeyed"], name != "nothing", "only a witness makes it rekey");
        let clones = step["clones"].as_array().expect("clones");
        assert_eq!(clones.len(), 9);
        for clone in clones {
            assert_eq!(clone["plain"], clones[0]["plain"]);
            let ours = clone["snaprng"].as_str().expect("digits");
            assert_eq!(ours.len(), 128);
            for block in ours.as_bytes().chunks(32) {
                assert!(blocks.insert(block.to_vec()), "snaprng repeated a block");
            }
        }
    }
    assert_eq!(blocks.len(), 3 * 9 * 4);
    // And what the original had drawn before.
    assert_eq!(document["compared_blocks"], 3 * 9 * 4 + 4);
}

#[test]
fn the_number_of_clones_is_bounded() {
    assert_eq!(rows(stdout(&run(&["demo", "--children", "2"]))).len(), 6);
    assert_eq!(code(&run(&["demo", "--children", "64"])), 0);
    for children in ["0", "1", "65", "all"] {
        assert_fails(&run(&["demo", "--children", children]), 2, &["--children", children]);
    }
}

#[test]
fn the_policy_require_is_met_by_the_stand_in_and_nonsense_is_refused() {
    let with = |value: &str| {
        let mut command = snaprng(&["demo", "--children", "2"]);
        command.env("SNAPRNG_POLICY", value).output().expect("the command starts")
    };
    assert_eq!(code(&with("require")), 0);
    assert_fails(&with("nonsense"), 2, &["SNAPRNG_POLICY"]);
}
