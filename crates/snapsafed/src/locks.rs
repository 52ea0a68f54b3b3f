//! References: a FIFO of which a client has the writing end. When the last copy of that end is
//! closed, by whomever and however, the client is gone.
//!
//! FIFOs have names (`locks/ID.ref`), so that a restarted daemon finds them again, with the
//! clients' ends still open. The trap: a reader that opens a FIFO hears of no writer that was gone
//! before. So the writing end is opened and closed once after that ([`Reference::reopen`]).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

/// Our end.
#[derive(Debug)]
pub struct Reference {
    path: PathBuf,
    reader: OwnedFd,
}

impl Reference {
    /// A new FIFO, and the end for the client.
    pub fn create(directory: &Path, id: &str) -> io::Result<(Self, OwnedFd)> {
        let path = path_of(directory, id);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let both = open_reader(&path).and_then(|reader| Ok((reader, open_writer(&path)?)));
        match both {
            Ok((reader, writer)) => Ok((Self { path, reader }, writer)),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// The FIFO that a daemon before this one made.
    pub fn reopen(directory: &Path, id: &str) -> io::Result<Self> {
        let path = path_of(directory, id);
        let reader = open_reader(&path)?;
        drop(open_writer(&path)?);
        Ok(Self { path, reader })
    }

    /// Whether nobody has the other end any more.
    pub fn is_over(&self) -> bool {
        let mut fd = [self.to_poll()];
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fd, Some(&no_wait)).is_ok() && fd[0].revents().contains(PollFlags::HUP)
    }

    /// For the daemon's wait. What a client writes into it is of no interest.
    pub fn to_poll(&self) -> PollFd<'_> {
        PollFd::new(&self.reader, PollFlags::empty())
    }

    /// Forgets it.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl AsFd for Reference {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn path_of(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.ref"))
}

fn open_reader(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Does not wait: there is a reader, and without one it fails.
fn open_writer(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Removes what no member of `ids` uses: left over by a daemon that was killed in between.
pub fn sweep(directory: &Path, ids: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str());
        if !id.is_some_and(|id| ids.contains(&id)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("snapsafed-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_reference_lasts_until_the_last_copy_is_closed() {
        let directory = Directory::new("last-copy");
        let (reference, writer) = Reference::create(&directory.0, "1").unwrap();
        assert!(!reference.is_over());
        let copy = writer.try_clone().unwrap();
        drop(writer);
        assert!(!reference.is_over());
        drop(copy);
        assert!(reference.is_over());
    }

    #[test]
    fn a_reference_survives_its_daemon_and_ends_with_its_client() {
        let directory = Directory::new("survives");
        let (reference, writer) = Reference::create(&directory.0, "1").unwrap();
        drop(reference);
        let again = Reference::reopen(&directory.0, "1").unwrap();
        assert!(!again.is_over());
        drop(writer);
        assert!(again.is_over());
    }

    #[test]
    fn a_client_that_died_while_there_was_no_daemon_is_seen() {
        let directory = Directory::new("died");
        let (reference, writer) = Reference::create(&directory.0, "1").unwrap();
        drop(reference);
        drop(writer);
        assert!(Reference::reopen(&directory.0, "1").unwrap().is_over());
    }

    #[test]
    fn what_a_client_writes_changes_nothing() {
        let directory = Directory::new("writes");
        let (reference, writer) = Reference::create(&directory.0, "1").unwrap();
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        assert!(!reference.is_over());
        drop(writer);
        assert!(reference.is_over());
    }

    #[test]
    fn only_what_nobody_uses_is_swept() {
        let directory = Directory::new("swept");
        let (_used, _writer) = Reference::create(&directory.0, "1").unwrap();
        let (_left, _writer_too) = Reference::create(&directory.0, "2").unwrap();
        sweep(&directory.0, &["1"]).unwrap();
        assert!(Reference::reopen(&directory.0, "1").is_ok());
        assert!(Reference::reopen(&directory.0, "2").is_err());
    }
}
