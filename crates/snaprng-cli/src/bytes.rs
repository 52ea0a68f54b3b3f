//! `snaprng bytes`: random bytes on standard output, in chunks that are wiped.
//!
//! Output may be a key: it goes to the descriptor directly, not through a buffer of the standard
//! library that nobody wipes, and is encoded without tables that its bits would index.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use zeroize::Zeroizing;

use crate::arguments::BytesOptions;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::size;

/// Bytes per request. A multiple of 3, so that base64 is padded at the end of the last chunk only.
const CHUNK: usize = 192 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Hex,
    Base64,
    Raw,
}

impl Format {
    fn of(options: &BytesOptions) -> Self {
        match (options.base64, options.raw) {
            (true, _) => Self::Base64,
            (_, true) => Self::Raw,
            _ => Self::Hex,
        }
    }

    /// Writes a chunk. Fails with the error of the write.
    fn write(self, chunk: &[u8], encoded: &mut [u8], out: &mut impl Write) -> io::Result<()> {
        let text = match self {
            Self::Raw => return out.write_all(chunk),
            Self::Hex => base16ct::lower::encode(chunk, encoded).map_err(io::Error::other)?,
            Self::Base64 => {
                use base64ct::Encoding;
                base64ct::Base64::encode(chunk, encoded).map_err(io::Error::other)?.as_bytes()
            }
        };
        out.write_all(text)
    }

    /// How many bytes a chunk takes when it is encoded.
    fn encoded_len(self, chunk: usize) -> usize {
        match self {
            Self::Raw => 0,
            Self::Hex => 2 * chunk,
            Self::Base64 => chunk.div_ceil(3) * 4,
        }
    }
}

pub(crate) fn run(options: BytesOptions) -> Result<ExitCode, Failure> {
    let format = Format::of(&options);
    if format == Format::Raw && io::stdout().is_terminal() && !options.force {
        return Err(Failure::usage(
            "raw bytes would garble the terminal: redirect them to a file or a pipe, write --hex \
             instead of --raw, or add --force",
        ));
    }
    snaprng::Config::default().install()?;
    let mut out = unbuffered_stdout().map_err(|error| write_failure(error, 0, options.count))?;
    stream(options.count, format, &mut out)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `count` bytes, and ends a line of text.
fn stream(count: u64, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    let chunk_len = usize::try_from(count).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = Zeroizing::new(vec![0; chunk_len]);
    let mut encoded = Zeroizing::new(vec![0; format.encoded_len(chunk_len)]);
    let mut progress = Progress::new(count);
    let mut done = 0;
    while done < count {
        let left = usize::try_from(count - done).unwrap_or(usize::MAX);
        let part = &mut chunk[..left.min(chunk_len)];
        snaprng::fill(part)?;
        format.write(part, &mut encoded, out).map_err(|error| write_failure(error, done, count))?;
        done += part.len() as u64;
        progress.show(done);
    }
    if format != Format::Raw && count > 0 {
        out.write_all(b"\n").map_err(|error| write_failure(error, done, count))?;
    }
    out.flush().map_err(|error| write_failure(error, done, count))
}

fn write_failure(error: io::Error, done: u64, count: u64) -> Failure {
    let progress = format!("after {} of {}", size::human(done), size::human(count));
    Failure::failed(match error.kind() {
        io::ErrorKind::BrokenPipe => {
            format!("nobody reads the output any more: stopped {progress}")
        }
        _ => format!("cannot write the output, stopped {progress}: {error}"),
    })
}

/// Standard output without the standard library's buffer.
fn unbuffered_stdout() -> io::Result<File> {
    #[cfg(unix)]
    use std::os::fd::AsFd;
    #[cfg(windows)]
    use std::os::windows::io::AsHandle;
    #[cfg(unix)]
    let owned = io::stdout().as_fd().try_clone_to_owned()?;
    #[cfg(windows)]
    let owned = io::stdout().as_handle().try_clone_to_owned()?;
    Ok(File::from(owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(count: u64, format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        stream(count, format, &mut out).expect("bytes");
        out
    }

    #[test]
    fn chunks_join_without_a_seam() {
        let count = 2 * CHUNK as u64 + 1;
        assert_eq!(written(count, Format::Raw).len() as u64, count);
        let hex = written(count, Format::Hex);
        assert_eq!(hex.len() as u64, 2 * count + 1);
        assert!(hex[..hex.len() - 1].iter().all(u8::is_ascii_hexdigit));
        let base64 = written(count, Format::Base64);
        // Padding at the end only: one byte more than a multiple of 3 takes two signs of it.
        assert_eq!(base64.iter().position(|c| *c == b'='), Some(base64.len() - 3));
    }

    #[test]
    fn encodings_are_those_of_rfc_4648() {
        let encode = |format: Format, bytes: &[u8]| {
            let mut out = Vec::new();
            let mut encoded = vec![0; format.encoded_len(bytes.len())];
            format.write(bytes, &mut encoded, &mut out).expect("a vector");
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(encode(Format::Hex, b"\x00\xffz"), "00ff7a");
        assert_eq!(encode(Format::Base64, b"foob"), "Zm9vYg==");
        assert_eq!(encode(Format::Base64, b"foobar"), "Zm9vYmFy");
    }

    #[test]
    fn nothing_is_nothing() {
        for format in [Format::Hex, Format::Base64, Format::Raw] {
            assert!(written(0, format).is_empty());
        }
    }
}
