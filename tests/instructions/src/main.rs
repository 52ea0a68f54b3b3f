//! Makes so many requests of one kind, and nothing else, at level `Synchronous`: what
//! `tests/instructions/run` counts the instructions of.

#[cfg(target_os = "linux")]
fn main() {
    use snaprng::host::VmClockPage;
    use snaprng::{Config, Level, VmClock};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [request, count] = arguments.as_slice() else { panic!("usage: REQUEST COUNT") };
    let count = count.parse().expect("a number of requests");

    let page = VmClockPage::memfd().expect("a page in a memfd");
    let vmclock = VmClock::Fd(page.try_clone_fd().expect("a descriptor"));
    Config { vmclock, ..Config::default() }.install().expect("the first installation");
    let report = snaprng::protection();
    assert_eq!(report.level(), Level::Synchronous);
    // tests/instructions/run forces it.
    assert_eq!(report.kernel(), "avx2");
    requests(request, count);
}

#[cfg(target_os = "linux")]
fn requests(request: &str, count: u64) {
    use snaprng::rand_core::Rng;
    use std::hint::black_box;

    /// Keeps the compiler from leaving out what nobody uses.
    fn repeat<T>(count: u64, mut request: impl FnMut() -> T) {
        for _ in 0..count {
            black_box(request());
        }
    }

    let mut rng = snaprng::rng();
    match request {
        "u32" => repeat(count, || rng.next_u32()),
        "u64" => repeat(count, || rng.next_u64()),
        "32 B" => repeat(count, snaprng::bytes::<32>),
        _ => panic!("no such request: {request}"),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    panic!("there is no page to be had outside of Linux");
}
