//! `snaprng openssl-conf`: lines that OpenSSL understands, or an error that says what to do.
//!
//! That programs then run on the provider is proven in `tests/openssl`.

mod common;

use std::path::PathBuf;

use common::{assert_fails, code, run, snaprng, stderr, stdout};

/// A file that stands for the module.
fn module(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let module = folder.join("snaprng.so");
    std::fs::write(&module, b"").expect("a file");
    module
}

fn lines(arguments: &[&str]) -> String {
    let module = module("modules");
    let module = module.to_str().expect("a name in UTF-8");
    let output = run(&[&["openssl-conf", "--module", module], arguments].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output).to_string()
}

#[test]
fn the_lines_name_the_module_and_switch_the_generator_on() {
    let lines = lines(&[]);
    let module = module("modules");
    for line in [
        "[default]",
        "openssl_conf = openssl_init",
        "random = SNAPRNG",
        &format!("module = {}", module.display()),
    ] {
        assert!(lines.lines().any(|found| found == line), "{line:?} is not in:\n{lines}");
    }
    // Once for each provider: without the default one there would be no ciphers.
    assert_eq!(lines.matches("activate = 1").count(), 2);
    assert!(!lines.contains("policy"));
}

#[test]
fn what_is_chosen_stands_in_the_providers_section() {
    let chosen = ["--policy", "require", "--vmclock", "/dev/vmclock0", "--agent-page", "off"];
    let lines = lines(&chosen);
    let (_, section) = lines.split_once("[snaprng_sect]").expect("the section");
    for line in ["policy = require", "vmclock = /dev/vmclock0", "agent_page = off"] {
        assert!(section.contains(line), "{section}");
    }
}

#[test]
fn a_seed_source_says_that_it_does_not_protect() {
    let lines = lines(&["--seed-only"]);
    assert!(lines.contains("seed = SNAPRNG-SEED"));
    assert!(!lines.contains("random = SNAPRNG\n"));
    assert!(lines.contains("DO NOT NOTICE"));
}

#[test]
fn a_module_that_is_not_there_is_an_error_and_nothing_is_printed() {
    let output = run(&["openssl-conf", "--module", "/nowhere/snaprng.so"]);
    assert_fails(&output, 1, &["/nowhere/snaprng.so", "dist/install-openssl", "--module"]);
}

#[test]
fn a_machine_without_the_provider_is_told_where_it_was_looked_for() {
    let empty = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("empty");
    std::fs::create_dir_all(&empty).expect("a folder");
    let fake = empty.join("openssl");
    std::fs::write(&fake, "#!/bin/sh\necho 'MODULESDIR: \"/no/such/folder\"'\n").expect("a file");
    make_executable(&fake);
    let path = format!("{}:/usr/bin:/bin", empty.display());
    let output = snaprng(&["openssl-conf"]).env("PATH", path).output().expect("it runs");
    assert_fails(&output, 1, &["snaprng.so in /no/such/folder", "dist/install-openssl"]);
}

#[test]
fn what_is_not_a_policy_or_not_a_path_is_refused() {
    assert_fails(&run(&["openssl-conf", "--policy", "assume-never-cloned"]), 2, &["prefer"]);
    let module = module("refused");
    let module = module.to_str().expect("a name in UTF-8");
    let output = run(&["openssl-conf", "--module", module, "--vmclock", "vmclock0"]);
    assert_fails(&output, 2, &["--vmclock", "vmclock0", "off"]);
}

#[test]
fn the_help_shows_how_to_apply_and_check_the_lines() {
    let output = run(&["openssl-conf", "--help"]);
    for part in [">> /etc/ssl/openssl.cnf", "openssl list -random-generators", "no\nrandom bytes"] {
        assert!(stdout(&output).contains(part), "{part:?}");
    }
}

#[cfg(unix)]
fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[cfg(not(unix))]
fn make_executable(_: &std::path::Path) {}
