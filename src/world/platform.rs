//! Whether this is positively bare metal: no hypervisor under the kernel.
//!
//! The default is "do not know", which counts as a virtual machine. Only x86 can say: CPUID leaf
//! 1, ECX bit 31 is reserved for hypervisors to set (Intel SDM, AMD APM), and the firmware's
//! vendor string must not be that of a known VMM, for those that hide the bit.

use core::ffi::CStr;

use rustix::fs::{CWD, Mode, OFlags};

/// Vendor strings in `/sys/class/dmi/id/sys_vendor` that belong to a virtual machine.
const VMM_VENDORS: [&str; 16] = [
    "QEMU",
    "KVM",
    "VMware",
    "VirtualBox",
    "innotek",
    "Xen",
    "Bochs",
    "Parallels",
    "BHYVE",
    "Amazon",
    "Google",
    "Microsoft",
    "Alibaba",
    "DigitalOcean",
    "OpenStack",
    "Apple Virtualization",
];

/// What the firmware calls the maker of the machine.
const VENDOR: &CStr = c"/sys/class/dmi/id/sys_vendor";

/// Whether hardware and firmware both say that there is no hypervisor.
pub(super) fn is_bare_metal() -> bool {
    is_denied(cpu_denies_hypervisor(), VENDOR)
}

fn is_denied(cpu_denies: bool, vendor: &CStr) -> bool {
    cpu_denies && names_hardware_vendor(vendor)
}

/// Other architectures have no such bit.
fn cpu_denies_hypervisor() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !crate::features::has(crate::features::Feature::Hypervisor);
    #[cfg(not(target_arch = "x86_64"))]
    false
}

fn names_hardware_vendor(path: &CStr) -> bool {
    let Ok(fd) = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    else {
        return false;
    };
    let mut vendor = [0; 128];
    let Ok(length) = rustix::io::read(&fd, &mut vendor) else { return false };
    is_hardware_vendor(vendor.get(..length).unwrap_or_default())
}

fn is_hardware_vendor(vendor: &[u8]) -> bool {
    let Ok(vendor) = core::str::from_utf8(vendor) else { return false };
    let vendor = vendor.trim();
    !vendor.is_empty() && !VMM_VENDORS.iter().any(|vmm| contains_ignoring_case(vendor, vmm))
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len()).any(|w| w.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_makers_are_hardware_and_vmms_or_silence_are_not() {
        assert!(is_hardware_vendor(b"Dell Inc.\n"));
        assert!(is_hardware_vendor(b"Supermicro\n"));
        assert!(!is_hardware_vendor(b"QEMU\n"));
        assert!(!is_hardware_vendor(b"Amazon EC2\n"));
        assert!(!is_hardware_vendor(b"VMWARE, Inc.\n"));
        assert!(!is_hardware_vendor(b"\n"));
        assert!(!is_hardware_vendor(&[0xff, 0xfe]));
    }

    #[test]
    fn cpu_and_firmware_must_both_deny_a_hypervisor() {
        let file = |vendor: &str| {
            let fd = rustix::fs::memfd_create(c"vendor", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            assert_eq!(rustix::io::pwrite(&fd, vendor.as_bytes(), 0), Ok(vendor.len()));
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            (fd, std::ffi::CString::new(path).unwrap())
        };
        let (_hardware, hardware) = file("Dell Inc.\n");
        let (_vmm, vmm) = file("QEMU\n");
        assert!(is_denied(true, &hardware));
        assert!(!is_denied(false, &hardware) && !is_denied(true, &vmm) && !is_denied(false, &vmm));
        assert!(!is_denied(true, c"/nowhere"));
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn a_cpu_that_shows_a_hypervisor_does_not_deny_it() {
        // Of this CPU as it is shown to this process: a simulator of one shows another.
        let shown = core::arch::x86_64::__cpuid(1).ecx >> 31 == 1;
        assert_eq!(cpu_denies_hypervisor(), !shown);
    }
}
