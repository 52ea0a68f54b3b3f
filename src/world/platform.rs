//! Whether this is positively bare metal: no hypervisor under the kernel.
//!
//! The default is "do not know", which counts as a virtual machine. Only x86 can say: CPUID leaf
//! 1, ECX bit 31 is reserved for hypervisors to set (Intel SDM, AMD APM), and the firmware's
//! vendor string must not be that of a known VMM, for those that hide the bit.

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

/// Whether hardware and firmware both say that there is no hypervisor.
pub(super) fn is_bare_metal() -> bool {
    cpu_denies_hypervisor() && firmware_vendor_is_hardware()
}

#[cfg(target_arch = "x86_64")]
fn cpu_denies_hypervisor() -> bool {
    !crate::features::has(crate::features::Feature::Hypervisor)
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_denies_hypervisor() -> bool {
    false
}

fn firmware_vendor_is_hardware() -> bool {
    let path = c"/sys/class/dmi/id/sys_vendor";
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
}
