//! Statistical tests of snaprng's streams, by gibibytes: `snaprng-statistics SOURCE [GIB]`, where SOURCE is `stream` (the
//! generators of two threads), `forks` (the streams of forked processes, interleaved word by word), `files FILE…` (as many
//! streams, interleaved likewise) or `controls` (streams that are bad, and must be found to be).
//!
//! A stream fails if one test's p-value is below [`FALSE_ALARMS`] by the number of tests: so a random stream fails once in
//! 10^9 runs at most, however the tests depend on each other, and no run is repeated. What they cannot show is that a
//! stream is unpredictable: a counter under a known key passes all of them.

mod distributions;
#[cfg(unix)]
mod forks;
mod rare;
mod source;
mod tally;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use source::{Fault, Faulty, Interleaved, Snaprng, Source};
use tally::{CHUNK, Outcome, Tally};

/// How likely a random stream may be to fail.
const FALSE_ALARMS: f64 = 1e-9;
const THREADS: usize = 2;
const CHILDREN: usize = 8;
const CHUNK_BYTES: u64 = 8 * CHUNK as u64;
/// What is enough to find each fault of the controls; the bias needs the most.
const CONTROL_GIB: f64 = 1.0;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("snaprng-statistics: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> io::Result<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["stream", gib] => {
            let streams = (0..THREADS).map(|_| Box::new(Snaprng::new()) as Box<dyn Source>);
            judge("the generators of two threads", streams.collect(), chunks(gib)?)
        }
        ["forks", gib] => forked(chunks(gib)?),
        ["files", ref paths @ ..] if !paths.is_empty() => {
            let source = Box::new(Interleaved::of_files(paths)?);
            judge(&format!("{} recorded streams, interleaved", paths.len()), vec![source], u64::MAX)
        }
        ["controls"] => controls(),
        _ => Err(io::Error::other(
            "usage: snaprng-statistics stream GIB | forks GIB | files FILE… | controls",
        )),
    }
}

/// In all threads together.
fn chunks(gib: &str) -> io::Result<u64> {
    let gib: f64 = gib.parse().map_err(io::Error::other)?;
    Ok((gib * (1u64 << 30) as f64) as u64 / CHUNK_BYTES)
}

#[cfg(unix)]
fn forked(chunks: u64) -> io::Result<bool> {
    let (mut streams, ids) = forks::Children::fork(CHILDREN)?.into_parts();
    let others = streams.split_off(CHILDREN / 2);
    let sources = [streams, others].map(|half| Box::new(Interleaved::new(half)) as Box<dyn Source>);
    let passed = judge(
        &format!("{CHILDREN} forked processes, interleaved word by word"),
        sources.into(),
        chunks,
    );
    forks::Children::wait(ids);
    passed
}

#[cfg(not(unix))]
fn forked(_: u64) -> io::Result<bool> {
    Err(io::Error::other("there are no forks here"))
}

/// Whether each fault is found.
fn controls() -> io::Result<bool> {
    let mut found_all = true;
    for fault in Fault::ALL {
        let sources =
            (0..THREADS).map(|_| Box::new(Faulty::new(fault)) as Box<dyn Source>).collect();
        let (outcomes, bytes) = measure(sources, chunks(&CONTROL_GIB.to_string())?)?;
        let found = worst(&outcomes);
        let is_found = found.1 < limit(&outcomes);
        found_all &= is_found;
        println!(
            "{}  control: {} ({bytes} bytes): {} has p = {:.1e}",
            if is_found { "found " } else { "MISSED" },
            fault.name(),
            found.0,
            found.1
        );
    }
    Ok(found_all)
}

/// Test a stream, and print every p-value.
fn judge(what: &str, sources: Vec<Box<dyn Source>>, chunks: u64) -> io::Result<bool> {
    let began = Instant::now();
    let (outcomes, bytes) = measure(sources, chunks)?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{what}: {bytes} bytes in {seconds:.1} s ({:.2} GB/s)", bytes as f64 / seconds / 1e9);
    let limit = limit(&outcomes);
    for (name, p) in &outcomes {
        println!("  {}  p = {p:<8.2e}  {name}", if *p < limit { "FAIL" } else { "ok  " });
    }
    let passed = worst(&outcomes).1 >= limit;
    let verdict = if passed { "none is below" } else { "FAILED: a p-value is below" };
    println!("  {} tests, {verdict} {limit:.1e}", outcomes.len());
    Ok(passed && bytes > 0)
}

/// The outcomes of all sources together, each read in a thread of its own; and how many bytes there were.
fn measure(sources: Vec<Box<dyn Source>>, chunks: u64) -> io::Result<(Vec<Outcome>, u64)> {
    let each = chunks.div_ceil(sources.len() as u64);
    let threads: Vec<_> =
        sources.into_iter().map(|source| thread::spawn(move || read(source, each))).collect();
    let (mut tally, mut bytes) = (Tally::new(), 0);
    for thread in threads {
        let (part, more) = thread.join().expect("a thread that counts died")?;
        tally.merge(part);
        bytes += more;
    }
    Ok((tally.outcomes(), bytes))
}

fn read(mut source: Box<dyn Source>, chunks: u64) -> io::Result<(Tally, u64)> {
    let (mut tally, mut bytes, mut chunk) = (Tally::new(), 0, vec![0; CHUNK]);
    for _ in 0..chunks {
        let words = source.fill(&mut chunk)?;
        tally.add(&chunk[..words]);
        bytes += 8 * words as u64;
        if words == 0 {
            break;
        }
    }
    Ok((tally, bytes))
}

fn limit(outcomes: &[Outcome]) -> f64 {
    FALSE_ALARMS / outcomes.len() as f64
}

fn worst(outcomes: &[Outcome]) -> Outcome {
    outcomes.iter().min_by(|one, other| one.1.total_cmp(&other.1)).cloned().unwrap_or_default()
}
