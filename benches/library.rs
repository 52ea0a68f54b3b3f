//! `cargo bench --bench library`: the library's own speed, by criterion, against its last run.
//!
//! For whoever changes the library: has a request become slower? It compares with nobody, and its
//! figures are of a stand-in page that has not settled, which absorbs five times in a minute and
//! is otherwise the same path. Comparisons, and figures to quote, are `--bench peers`.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use snaprng::rand_core::Rng;

/// A page in the place of a hypervisor's, for the rest of the process.
#[cfg(target_os = "linux")]
fn install() {
    use snaprng::host::VmClockPage;
    use snaprng::{Config, Level, VmClock};

    let page = VmClockPage::memfd().expect("a page in a memfd");
    let vmclock = VmClock::Fd(page.try_clone_fd().expect("a descriptor"));
    Config { vmclock, ..Config::default() }.install().expect("the first installation");
    assert_eq!(snaprng::protection().level(), Level::Synchronous);
}

/// Every request draws fresh entropy elsewhere.
#[cfg(not(target_os = "linux"))]
fn install() {}

fn values(c: &mut Criterion) {
    let mut rng = snaprng::rng();
    c.bench_function("u32", |b| b.iter(|| rng.next_u32()));
    c.bench_function("u64", |b| b.iter(|| rng.next_u64()));
    c.bench_function("[u8; 32]", |b| b.iter(snaprng::bytes::<32>));
}

fn fills(c: &mut Criterion) {
    let mut group = c.benchmark_group("fill");
    for size in [256, 4 << 10, 64 << 10] {
        let mut out = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |b| {
            b.iter(|| snaprng::fill(black_box(&mut out)).expect("bytes"));
        });
    }
}

fn rekeys(c: &mut Criterion) {
    c.bench_function("rekey", |b| b.iter(|| snaprng::reseed(&[]).expect("entropy")));
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    install();
    values(&mut c);
    fills(&mut c);
    rekeys(&mut c);
    c.final_summary();
}
