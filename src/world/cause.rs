//! The state of a witness, and the named cause where it is not in use.
//!
//! Both fit into one word, so that they can be published without a lock by a thread that installs
//! and read by any other; the words an operator reads are made from it later.

use core::fmt;

/// What became of one witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum WitnessState {
    /// Not there on this machine.
    Absent = 0,
    /// Mapped and looked at around every output.
    Active = 1,
    /// Mapped and looked at, but written by somebody who is not the hypervisor.
    StandIn = 2,
    /// There, but not usable: counts as no protection. The cause says why.
    Unusable = 3,
    /// Switched off by the configuration.
    Off = 4,
}

impl fmt::Display for WitnessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absent => "absent",
            Self::Active => "active",
            Self::StandIn => "stand-in",
            Self::Unusable => "unusable",
            Self::Off => "off",
        })
    }
}

/// Why a witness is not in use, or is weaker than it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Opening it failed with this error number.
    Open(i32),
    /// Reading its attributes failed with this error number.
    Inspect(i32),
    /// Mapping it failed with this error number.
    Map(i32),
    /// The first four bytes are not `VCLK`.
    BadMagic(u32),
    /// The page has a version that this library does not know.
    BadVersion(u32),
    /// The page or file declares fewer bytes than are needed.
    TooSmall(u32),
    /// A vmclock page without a VM generation counter (flag bit 8 clear): only the disruption
    /// marker is watched.
    NoCounter,
    /// The default path holds something that is not a character device of the right kind.
    NotADevice,
    /// Neither a regular file nor (where one is allowed) a character device.
    NotAFile,
    /// The path, or a directory on the way to it, is a symbolic link.
    SymbolicLink,
    /// The path is not absolute, holds `..` or a NUL byte, or is too long.
    BadPath,
    /// Owned by this user, who is neither root nor the user of this process.
    ForeignOwner(u32),
    /// Owned by a user that this user namespace does not map (it appears as the overflow user).
    UnmappedOwner,
    /// Others than its owner may write it; holds the permission bits.
    WritableByOthers(u32),
    /// A directory above it can be changed by somebody else; holds its permission bits.
    UnsafeDirectory(u32),
    /// The file is not on a tmpfs.
    NotOnTmpfs,
    /// The file begins with a hole: reading it may need memory that a full tmpfs does not have.
    Hole,
    /// The descriptor is neither a character device nor a memfd that is sealed against shrinking.
    NotSealed,
    /// The machine's memory pages are larger than this library was built for.
    PageSize(u32),
    /// Neither kind of process page works here: forks are told by the process id, asked for at
    /// every request.
    ProcessIdOnly,
    /// The kernel has no `MAP_DROPPABLE`: forks are seen, process restores are not.
    NoDroppablePage,
}

impl Cause {
    /// A code and a detail, for publication in one word.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "witnesses are Linux only"))]
    pub(crate) fn pack(self) -> (u8, u32) {
        match self {
            Self::Open(e) => (1, e.cast_unsigned()),
            Self::Inspect(e) => (2, e.cast_unsigned()),
            Self::Map(e) => (3, e.cast_unsigned()),
            Self::BadMagic(d) => (4, d),
            Self::BadVersion(d) => (5, d),
            Self::TooSmall(d) => (6, d),
            Self::NoCounter => (7, 0),
            Self::NotADevice => (8, 0),
            Self::NotAFile => (9, 0),
            Self::SymbolicLink => (10, 0),
            Self::BadPath => (11, 0),
            Self::ForeignOwner(d) => (12, d),
            Self::UnmappedOwner => (13, 0),
            Self::WritableByOthers(d) => (14, d),
            Self::UnsafeDirectory(d) => (15, d),
            Self::NotOnTmpfs => (16, 0),
            Self::NotSealed => (17, 0),
            Self::PageSize(d) => (18, d),
            Self::ProcessIdOnly => (19, 0),
            Self::NoDroppablePage => (20, 0),
            Self::Hole => (21, 0),
        }
    }

    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "witnesses are Linux only"))]
    pub(crate) fn unpack(code: u8, detail: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Open(detail.cast_signed()),
            2 => Self::Inspect(detail.cast_signed()),
            3 => Self::Map(detail.cast_signed()),
            4 => Self::BadMagic(detail),
            5 => Self::BadVersion(detail),
            6 => Self::TooSmall(detail),
            7 => Self::NoCounter,
            8 => Self::NotADevice,
            9 => Self::NotAFile,
            10 => Self::SymbolicLink,
            11 => Self::BadPath,
            12 => Self::ForeignOwner(detail),
            13 => Self::UnmappedOwner,
            14 => Self::WritableByOthers(detail),
            15 => Self::UnsafeDirectory(detail),
            16 => Self::NotOnTmpfs,
            17 => Self::NotSealed,
            18 => Self::PageSize(detail),
            19 => Self::ProcessIdOnly,
            20 => Self::NoDroppablePage,
            21 => Self::Hole,
            _ => return None,
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Open(e) => write!(f, "{} when opening it", Errno(e)),
            Self::Inspect(e) => write!(f, "{} when reading its attributes", Errno(e)),
            Self::Map(e) => write!(f, "{} when mapping it", Errno(e)),
            Self::BadMagic(d) => write!(f, "wrong magic number {d:#010x} (not a vmclock page)"),
            Self::BadVersion(d) => write!(f, "unknown page version {d}"),
            Self::TooSmall(d) => write!(f, "only {d} bytes long"),
            Self::NoCounter => f.write_str("has no VM generation counter (flag bit 8 is clear)"),
            Self::NotADevice => f.write_str("not a character device of the right kind"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::SymbolicLink => f.write_str("reached through a symbolic link"),
            Self::BadPath => f.write_str("not a plain absolute path"),
            Self::ForeignOwner(d) => write!(f, "owned by user {d}, neither root nor this user"),
            Self::UnmappedOwner => {
                f.write_str("owned by a user whom this user namespace does not map")
            }
            Self::WritableByOthers(d) => write!(f, "writable by others (mode {d:04o})"),
            Self::UnsafeDirectory(d) => {
                write!(f, "below a directory that others can change (mode {d:04o})")
            }
            Self::NotOnTmpfs => f.write_str("not on a tmpfs"),
            Self::Hole => f.write_str("its first 4096 bytes were never written"),
            Self::NotSealed => {
                f.write_str("descriptor of neither a device nor a memfd sealed with F_SEAL_SHRINK")
            }
            Self::PageSize(d) => write!(f, "memory pages of {d} bytes are too large"),
            Self::ProcessIdOnly => {
                f.write_str("neither MAP_DROPPABLE nor MADV_WIPEONFORK works here")
            }
            Self::NoDroppablePage => f.write_str("this kernel has no MAP_DROPPABLE (Linux 6.11)"),
        }
    }
}

/// An error number with its symbol, where it is one that operators meet.
struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Numbers are the same on every Linux architecture that Rust supports (asm-generic).
        let symbol = match self.0 {
            1 => "EPERM",
            2 => "ENOENT",
            12 => "ENOMEM",
            13 => "EACCES",
            19 => "ENODEV",
            22 => "EINVAL",
            23 => "ENFILE",
            24 => "EMFILE",
            30 => "EROFS",
            38 => "ENOSYS",
            number => return write!(f, "error {number}"),
        };
        f.write_str(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_publication_and_says_something_of_its_own() {
        let mut texts = std::collections::HashSet::new();
        for code in 1..=21 {
            let cause = Cause::unpack(code, 0x8000_0007).expect("a cause");
            let (again, detail) = cause.pack();
            assert_eq!(again, code);
            assert_eq!(Cause::unpack(again, detail), Some(cause));
            assert!(texts.insert(cause.to_string()), "{cause}");
        }
        // Nothing, and what nobody has published.
        assert!([0, 22, u8::MAX].iter().all(|code| Cause::unpack(*code, 0).is_none()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn errors_that_operators_meet_have_their_symbols() {
        let symbols = [
            (libc::EPERM, "EPERM"),
            (libc::ENOENT, "ENOENT"),
            (libc::ENOMEM, "ENOMEM"),
            (libc::EACCES, "EACCES"),
            (libc::ENODEV, "ENODEV"),
            (libc::EINVAL, "EINVAL"),
            (libc::ENFILE, "ENFILE"),
            (libc::EMFILE, "EMFILE"),
            (libc::EROFS, "EROFS"),
            (libc::ENOSYS, "ENOSYS"),
            (9999, "error 9999"),
        ];
        for (number, symbol) in symbols {
            assert_eq!(Cause::Open(number).to_string(), format!("{symbol} when opening it"));
        }
    }

    #[test]
    fn states_have_names() {
        use WitnessState::{Absent, Active, Off, StandIn, Unusable};
        let names = [Absent, Active, StandIn, Unusable, Off].map(|state| format!("{state:>9}"));
        assert_eq!(names, ["   absent", "   active", " stand-in", " unusable", "      off"]);
    }
}
