//! How long transitions take, and how much memory. Printed, and held to nothing:
//!
//! `cargo test --release -p snapsafed --test process numbers -- --ignored --nocapture`

use std::fs;
use std::thread::spawn;
use std::time::Instant;

use snapsafe_client::wire::{Expectation, Mode};

use super::daemon::{App, Daemon};

const ROUNDS: usize = 50;

/// Joins, and answers everything at once.
fn answer_at_once(daemon: &Daemon, count: usize) {
    for number in 0..count {
        let name = format!("app-{number}");
        let mut app = App::join_with(daemon, &name, Mode::Delay, None).unwrap();
        spawn(move || {
            while let Some(event) = app.asked_or_over() {
                if app.answer(&event, None).is_err() {
                    return;
                }
            }
        });
    }
}

/// Nanoseconds that the daemon was on a processor.
fn busy(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/schedstat", daemon.pid())).unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(daemon: &Daemon, act: impl Fn()) -> (f64, f64) {
    let (begin, before) = (Instant::now(), busy(daemon));
    act();
    let elapsed = begin.elapsed().as_secs_f64() * 1e3;
    (elapsed, (busy(daemon) - before) as f64 / 1e6)
}

#[test]
#[ignore = "measures; run it by itself, optimized"]
fn numbers() {
    println!("participants  quiesce ms (daemon's)  unquiesce ms (daemon's)   VmHWM KiB  VmLck KiB");
    for count in [0, 1, 100] {
        let daemon = Daemon::start();
        answer_at_once(&daemon, count);
        let mut columns = [(); 4].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            let there = measure(&daemon, || assert!(daemon.quiesce().is_ok()));
            let back = measure(&daemon, || assert!(daemon.unquiesce(Expectation::Any).is_ok()));
            for (column, value) in columns.iter_mut().zip([there.0, there.1, back.0, back.1]) {
                column.push(value);
            }
        }
        let [there, there_busy, back, back_busy] = columns.map(median);
        println!(
            "{count:>12}  {there:>10.2} ({there_busy:>7.2})  {back:>13.2} ({back_busy:>7.2})  \
             {:>10}  {:>9}",
            daemon.memory_kib("VmHWM"),
            daemon.memory_kib("VmLck"),
        );
    }
}
