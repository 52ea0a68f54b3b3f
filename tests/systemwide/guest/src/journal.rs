//! What an application did, in a file that the test reads: `/run/systemwide/NAME`, lines of a word
//! and its value.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Result;
use std::path::PathBuf;

/// One application's file.
pub(crate) struct Journal {
    path: PathBuf,
    words: BTreeMap<&'static str, String>,
}

impl Journal {
    pub(crate) fn new(name: &str) -> Result<Self> {
        fs::create_dir_all("/run/systemwide")?;
        Ok(Self { path: PathBuf::from("/run/systemwide").join(name), words: BTreeMap::new() })
    }

    /// Sets a word; [`Journal::write`] shows it.
    pub(crate) fn set(&mut self, word: &'static str, value: impl Display) {
        self.words.insert(word, value.to_string());
    }

    /// Whoever reads sees the old file or the new one, and none in between.
    pub(crate) fn write(&self) -> Result<()> {
        let text: String =
            self.words.iter().map(|(word, value)| format!("{word} {value}\n")).collect();
        let next = self.path.with_extension("next");
        fs::write(&next, text)?;
        fs::rename(&next, &self.path)
    }
}
