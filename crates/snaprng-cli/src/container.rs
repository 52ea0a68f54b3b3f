//! Whether this is a container, and how one gets at the device.
//!
//! A container shares the machine's kernel, so it is cloned with the machine; but it sees only the
//! devices that it was given. There is no certain sign of a container: what is found is named.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use snaprng::{Cause, Level, Protection, WitnessState};

/// What tells that this process is in a container; `None` if nothing does.
pub(crate) fn sign() -> Option<&'static str> {
    sign_in(Path::new("/"), |name| std::env::var_os(name))
}

fn sign_in(root: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    if is_set("KUBERNETES_SERVICE_HOST") {
        return Some("KUBERNETES_SERVICE_HOST in the environment");
    }
    if root.join(".dockerenv").exists() {
        return Some("/.dockerenv");
    }
    if root.join("run/.containerenv").exists() {
        return Some("/run/.containerenv");
    }
    // Set by podman, LXC and systemd-nspawn.
    if is_set("container") {
        return Some("container in the environment");
    }
    // Only with cgroups of version 1, or in the host's cgroup namespace.
    let cgroup = fs::read_to_string(root.join("proc/1/cgroup")).unwrap_or_default();
    ["docker", "kubepods", "containerd", "libpod", "lxc"]
        .iter()
        .any(|runtime| cgroup.contains(runtime))
        .then_some("/proc/1/cgroup")
}

/// How to pass the device, if that is what the report lacks.
pub(crate) fn steps(sign: Option<&str>, protection: &Protection) -> Vec<String> {
    let Some(sign) = sign.filter(|_| lacks_the_device(protection)) else { return Vec::new() };
    vec![
        format!(
            "this looks like a container ({sign}): the machine under it must have /dev/vmclock0, \
             and the container must be given it"
        ),
        "docker, podman: run with --device=/dev/vmclock0:/dev/vmclock0:r".into(),
        "Kubernetes: request the device from a device plugin that offers /dev/vmclock0; a hostPath \
         volume alone shows it, but opening it is denied"
            .into(),
        "a user other than root needs the udev rule 60-snaprng-vmclock.rules on the machine, too"
            .into(),
    ]
}

/// Whether a device that is not there, or that may not be opened, is what stands in the way.
fn lacks_the_device(protection: &Protection) -> bool {
    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    let has_better = matches!(protection.level(), Level::Synchronous | Level::ProcessOnly);
    !has_better
        && protection.witnesses().iter().filter(|witness| witness.name() == "vmclock").any(
            |witness| match (witness.state(), witness.cause()) {
                (WitnessState::Absent, _) => true,
                (WitnessState::Unusable, Some(Cause::Open(error))) => {
                    matches!(error, EPERM | EACCES)
                }
                _ => false,
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// An empty directory that stands for `/`.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir()
                .join(format!("snaprng-container-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("run")).expect("a directory");
            fs::create_dir_all(path.join("proc/1")).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn nothing_tells_of_a_container_on_a_plain_machine() {
        let root = Root::new("none");
        fs::write(root.0.join("proc/1/cgroup"), "0::/init.scope\n").expect("a file");
        assert_eq!(sign_in(&root.0, |_| None), None);
        assert_eq!(sign_in(&root.0, |_| Some(OsString::new())), None);
    }

    #[test]
    fn files_of_the_runtimes_are_signs() {
        let docker = Root::new("docker");
        fs::write(docker.0.join(".dockerenv"), "").expect("a file");
        assert_eq!(sign_in(&docker.0, |_| None), Some("/.dockerenv"));
        let podman = Root::new("podman");
        fs::write(podman.0.join("run/.containerenv"), "").expect("a file");
        assert_eq!(sign_in(&podman.0, |_| None), Some("/run/.containerenv"));
    }

    #[test]
    fn cgroups_and_variables_are_signs() {
        let root = Root::new("cgroup");
        fs::write(root.0.join("proc/1/cgroup"), "4:memory:/docker/0123\n").expect("a file");
        assert_eq!(sign_in(&root.0, |_| None), Some("/proc/1/cgroup"));
        let lxc = |name: &str| (name == "container").then(|| "lxc".into());
        assert_eq!(sign_in(&root.0, lxc), Some("container in the environment"));
    }
}
