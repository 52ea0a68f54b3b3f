//! The keys of the provider's section, and what else the core is asked for.
//!
//! The core tells a provider no keys; it only answers for those that it is asked for. So the provider
//! asks for what a key may have been mistyped as, too: every name that is one wrong, missing,
//! additional or exchanged character away from a key, or that differs in capitals; and for some words
//! that somebody may guess. Another key is not seen by anybody.

use core::ffi::c_char;

pub(crate) const POLICY: &str = "policy";
pub(crate) const VMCLOCK: &str = "vmclock";
pub(crate) const AGENT_PAGE: &str = "agent_page";
const KEYS: [&str; 3] = [POLICY, VMCLOCK, AGENT_PAGE];

/// Settings that the library has and the provider does not. Whoever sets one must be told so.
const NOT_OFFERED: [&str; 4] = ["accept_marker", "accept_late", "sysgenid", "personalization"];

/// What somebody may write who remembers what a key does and not what it is called.
const GUESSES: [(&str, &str); 16] = [
    ("require", POLICY),
    ("prefer", POLICY),
    ("policies", POLICY),
    ("mode", POLICY),
    ("level", POLICY),
    ("protection", POLICY),
    ("device", VMCLOCK),
    ("vmclock_path", VMCLOCK),
    ("vmclock_device", VMCLOCK),
    ("vmclock_page", VMCLOCK),
    ("vmgenid", VMCLOCK),
    ("agent", AGENT_PAGE),
    ("agent_path", AGENT_PAGE),
    ("agent_page_path", AGENT_PAGE),
    ("generation", AGENT_PAGE),
    ("page", AGENT_PAGE),
];

/// What a name in the question to the core stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Key(&'static str),
    NotOffered(&'static str),
    Mistyped(&'static str),
    /// OpenSSL's own line.
    Activate,
}

/// Every name that the core is asked for, as C strings.
pub(crate) struct Names {
    of: Vec<Asked>,
    /// Into `text`, which is never changed any more.
    pointers: Vec<*const c_char>,
    text: Vec<u8>,
}

impl Names {
    pub(crate) fn new() -> Self {
        let (mut of, mut text, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |asked, name: &[u8]| {
            of.push(asked);
            starts.push(text.len());
            text.extend_from_slice(name);
            text.push(0);
        };
        // The keys themselves first: the core answers for the first of equal names.
        KEYS.into_iter().for_each(|key| add(Asked::Key(key), key.as_bytes()));
        add(Asked::Activate, b"activate");
        NOT_OFFERED.into_iter().for_each(|key| add(Asked::NotOffered(key), key.as_bytes()));
        GUESSES.into_iter().for_each(|(name, key)| add(Asked::Mistyped(key), name.as_bytes()));
        for key in KEYS {
            mistyped(key.as_bytes(), |name| add(Asked::Mistyped(key), name));
            in_other_case(key.as_bytes(), |name| add(Asked::Mistyped(key), name));
        }
        let pointers = starts.into_iter().map(|start| text[start..].as_ptr().cast()).collect();
        Self { of, pointers, text }
    }

    /// What each name stands for.
    pub(crate) fn meanings(&self) -> &[Asked] {
        &self.of
    }

    /// The names, for as long as `self` is there.
    pub(crate) fn pointers(&self) -> &[*const c_char] {
        &self.pointers
    }

    pub(crate) fn name(&self, index: usize) -> String {
        let start = self.pointers[index].addr() - self.text.as_ptr().addr();
        let name = self.text[start..].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

/// What a name in a configuration may consist of (config(5)), and what somebody may write instead.
const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

/// Shows `name` every name that differs from `key` by one character more, less, or another one, or
/// by two neighbours exchanged.
fn mistyped(key: &[u8], mut name: impl FnMut(&[u8])) {
    let mut show = |parts: [&[u8]; 3]| {
        let changed = parts.concat();
        if changed != key {
            name(&changed);
        }
    };
    for place in 0..=key.len() {
        let (before, rest) = key.split_at(place);
        for character in CHARACTERS.chunks(1) {
            show([before, character, rest]);
            if let Some((_, after)) = rest.split_first() {
                show([before, character, after]);
            }
        }
        if let [first, after @ ..] = rest {
            show([before, &[], after]);
            if let [second, after @ ..] = after {
                show([before, &[*second, *first], after]);
            }
        }
    }
}

/// Shows `name` every way to write `key` with some letters in capitals.
fn in_other_case(key: &[u8], mut name: impl FnMut(&[u8])) {
    for choice in 1..1_u32 << key.len() {
        let mut changed = key.to_vec();
        for (place, letter) in changed.iter_mut().enumerate() {
            if choice >> place & 1 == 1 {
                letter.make_ascii_uppercase();
            }
        }
        if changed != key {
            name(&changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(name: &str) -> Option<Asked> {
        let names = Names::new();
        let index = (0..names.of.len()).find(|index| names.name(*index) == name)?;
        Some(names.of[index])
    }

    #[test]
    fn a_mistyped_key_is_asked_for_as_what_it_was_meant_to_be() {
        for (given, meant) in [
            ("polcy", POLICY),
            ("Policy", POLICY),
            ("POLICY", POLICY),
            ("ploicy", POLICY),
            ("VmClock", VMCLOCK),
            ("vm_clock", VMCLOCK),
            ("vmclock0", VMCLOCK),
            ("vmclok", VMCLOCK),
            ("agent-page", AGENT_PAGE),
            ("agentpage", AGENT_PAGE),
            ("Agent_Page", AGENT_PAGE),
            ("agent_pages", AGENT_PAGE),
        ] {
            assert_eq!(meaning(given), Some(Asked::Mistyped(meant)), "{given}");
        }
        for (given, meant) in GUESSES {
            assert_eq!(meaning(given), Some(Asked::Mistyped(meant)), "{given}");
        }
    }

    #[test]
    fn what_is_right_is_not_taken_for_mistyped() {
        KEYS.into_iter().for_each(|key| assert_eq!(meaning(key), Some(Asked::Key(key))));
        assert_eq!(meaning("activate"), Some(Asked::Activate));
        for of_openssl in ["module", "identity", "soft_load"] {
            assert_eq!(meaning(of_openssl), None);
        }
    }

    #[test]
    fn no_key_passes_for_another_one_mistyped() {
        for key in KEYS {
            let no_key = |name: &[u8]| assert!(!KEYS.iter().any(|key| key.as_bytes() == name));
            mistyped(key.as_bytes(), no_key);
            in_other_case(key.as_bytes(), no_key);
        }
    }
}
