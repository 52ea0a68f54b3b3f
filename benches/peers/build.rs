//! Tells the program which version of the library it is linked with.

use std::fs;

fn main() {
    println!("cargo::rerun-if-changed=../../Cargo.toml");
    println!("cargo::rerun-if-changed=build.rs");
    let manifest = fs::read_to_string("../../Cargo.toml").unwrap_or_default();
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .map_or("unknown", |version| version.trim_matches('"'));
    println!("cargo::rustc-env=SNAPRNG_VERSION={version}");
}
