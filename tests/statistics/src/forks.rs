//! Children of one process that had its generator in use when it forked: each writes its own stream to a pipe.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};

const REQUEST: usize = 1 << 17;

/// Children, until they are waited for.
pub(crate) struct Children {
    pub(crate) streams: Vec<File>,
    ids: Vec<libc::pid_t>,
}

impl Children {
    /// Fork so many. To be called while the process has one thread.
    pub(crate) fn fork(count: usize) -> io::Result<Self> {
        snaprng::fill(&mut [0; 1000]).map_err(io::Error::other)?;
        let mut children = Self { streams: Vec::new(), ids: Vec::new() };
        for _ in 0..count {
            let (reader, writer) = pipe()?;
            // SAFETY: the process has one thread, so the child finds no lock held by another.
            match unsafe { libc::fork() } {
                -1 => return Err(io::Error::last_os_error()),
                0 => {
                    // A child that kept the others' pipes open would keep them from ending.
                    drop((children, reader));
                    write_stream(File::from(writer));
                }
                id => {
                    children.ids.push(id);
                    children.streams.push(File::from(reader));
                }
            }
        }
        Ok(children)
    }

    /// Whoever has the streams must have closed them: the children end when nobody reads.
    pub(crate) fn wait(ids: Vec<libc::pid_t>) {
        for id in ids {
            // SAFETY: without a place for the status, nothing is written.
            unsafe { libc::waitpid(id, std::ptr::null_mut(), 0) };
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<File>, Vec<libc::pid_t>) {
        (self.streams, self.ids)
    }
}

fn write_stream(mut pipe: File) -> ! {
    let mut bytes = vec![0; REQUEST];
    loop {
        if snaprng::fill(&mut bytes).is_err() || pipe.write_all(&bytes).is_err() {
            // SAFETY: ends the process at once, without what the parent registered for its own end.
            unsafe { libc::_exit(0) }
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written to an array of two.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nobody else has it.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: likewise.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((reader, writer))
}
