//! `snaprng openssl-conf`: the lines that make OpenSSL's programs use the provider.
//!
//! They are printed, never written: whose configuration it is, is for the operator to say. A module
//! that is not there is an error, because with it in the configuration every program on OpenSSL
//! would be without random bytes.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use snaprng::Policy;

use crate::arguments::OpensslConfOptions;
use crate::failure::Failure;

/// What `dist/install-openssl` calls it.
const MODULE: &str = "snaprng.so";

/// Where distributions keep OpenSSL's modules, for machines without the command `openssl`.
const FOLDERS: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu/ossl-modules",
    "/usr/lib/aarch64-linux-gnu/ossl-modules",
    "/usr/lib64/ossl-modules",
    "/usr/lib/ossl-modules",
    "/usr/local/lib64/ossl-modules",
    "/usr/local/lib/ossl-modules",
];

pub(crate) fn run(options: &OpensslConfOptions) -> Result<ExitCode, Failure> {
    let module = match &options.module {
        Some(path) => checked(path)?,
        None => installed()?,
    };
    let lines = configuration(&module, options)?;
    io::stdout().write_all(lines.as_bytes()).map_err(|error| {
        Failure::failed(format_args!("cannot write the configuration: {error}"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A module that was named: it must be there, and found from every folder.
fn checked(path: &Path) -> Result<PathBuf, Failure> {
    let module = std::path::absolute(path)
        .map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))?;
    if module.is_file() { Ok(module) } else { Err(missing(&module.display().to_string())) }
}

/// The module of this installation.
fn installed() -> Result<PathBuf, Failure> {
    let named = modules_folder();
    let folders = named.iter().map(PathBuf::as_path);
    let folders = match &named {
        Some(_) => folders.collect::<Vec<_>>(),
        None => FOLDERS.iter().map(Path::new).collect(),
    };
    let found = folders.iter().map(|folder| folder.join(MODULE)).find(|module| module.is_file());
    found.ok_or_else(|| {
        let places: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        missing(&format!("{MODULE} in {}", places.join(", ")))
    })
}

fn missing(what: &str) -> Failure {
    Failure::failed(format_args!(
        "there is no {what}: install the provider with dist/install-openssl of snaprng's sources, \
         or name the module with --module"
    ))
}

/// The folder that OpenSSL itself names; `None` where there is no command `openssl`.
fn modules_folder() -> Option<PathBuf> {
    let output = Command::new("openssl")
        .args(["version", "-m"])
        // Whatever is wrong with the configuration must not keep its repair from being printed.
        .env("OPENSSL_CONF", "/dev/null")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = text.strip_prefix("MODULESDIR: \"")?.trim_end().strip_suffix('"')?;
    Some(folder.into())
}

/// The lines. They reopen the sections that OpenSSL's own configuration has, so that they can be
/// appended to it.
fn configuration(module: &Path, options: &OpensslConfOptions) -> Result<String, Failure> {
    let mut section = format!("module = {}\n", escaped(module.as_os_str())?);
    section.push_str("activate = 1\n");
    if let Some(policy) = options.policy {
        let _ = writeln!(section, "policy = {}", Policy::from(policy));
    }
    for (key, place) in [("vmclock", &options.vmclock), ("agent_page", &options.agent_page)] {
        if let Some(place) = place {
            let _ = writeln!(section, "{key} = {}", witness(key, place)?);
        }
    }
    let (what, random) = if options.seed_only {
        (
            "# OpenSSL's own generators, seeded by snaprng. They reseed by their own count and clock,\n\
             # and DO NOT NOTICE when the machine is cloned: until then clones share their output.\n",
            "seed = SNAPRNG-SEED",
        )
    } else {
        ("# Random bytes of OpenSSL's programs come from snaprng.\n", "random = SNAPRNG")
    };
    Ok(format!(
        "{what}\
         [default]\n\
         openssl_conf = openssl_init\n\
         [openssl_init]\n\
         providers = provider_sect\n\
         random = snaprng_random\n\
         [snaprng_random]\n\
         {random}\n\
         [provider_sect]\n\
         default = default_sect\n\
         snaprng = snaprng_sect\n\
         [default_sect]\n\
         activate = 1\n\
         [snaprng_sect]\n\
         {section}"
    ))
}

/// A path as the provider takes it.
fn witness(key: &str, place: &Path) -> Result<String, Failure> {
    if place == Path::new("off") || place.is_absolute() {
        return escaped(place.as_os_str());
    }
    Err(Failure::usage(format_args!(
        "--{}: {} is neither a path from the root (/...) nor off",
        key.replace('_', "-"),
        place.display()
    )))
}

/// A value in OpenSSL's configuration (config(5)): signs that mean something there are escaped.
fn escaped(value: &OsStr) -> Result<String, Failure> {
    let refuse = |why| Failure::usage(format_args!("{}: {why}", value.display()));
    let text = value.to_str().ok_or_else(|| refuse("a path must be UTF-8 here"))?;
    if text.chars().any(char::is_control) {
        return Err(refuse("a path with control characters cannot be configured"));
    }
    if text.trim() != text {
        return Err(refuse("a path that begins or ends with a space cannot be configured"));
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '"' | '\'' | '`' | '#' | '$' | ';') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_that_mean_something_to_openssl_are_escaped() {
        let plain = "/usr/lib/x86_64-linux-gnu/ossl-modules/snaprng.so";
        assert_eq!(escaped(OsStr::new(plain)).unwrap(), plain);
        assert_eq!(escaped(OsStr::new("/a b/#$\\c")).unwrap(), "/a b/\\#\\$\\\\c");
    }

    #[test]
    fn paths_that_no_line_can_hold_are_refused() {
        for path in ["/a\nb", "/a ", "\u{1}"] {
            assert!(escaped(OsStr::new(path)).is_err(), "{path:?}");
        }
    }
}
