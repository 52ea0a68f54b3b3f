//! How long transitions take: `measure PARTICIPANTS` takes the machine through some with so many
//! participants that answer at once, besides those that are there, and prints two medians in
//! microseconds: of `Quiesce` and of `Unquiesce` as the same machine.

use std::error::Error;
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use snapsafe_client::wire::manager::{Quiesce, Unquiesce};
use snapsafe_client::wire::{Expectation, Method};
use snapsafe_client::{Client, Participant};

const ROUNDS: usize = 11;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(2).ok_or("how many participants?")?.parse()?;
    let participants: Result<Vec<_>, _> = (0..count)
        .map(|number| Participant::register(&format!("measured-{number}")).start())
        .collect();
    let mut participants = participants?;
    thread::spawn(move || answer(&mut participants));
    let mut client = Client::connect()?;
    let (mut quiescing, mut unquiescing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiescing.push(timed(&mut client, &Quiesce::default())?);
        let resumed = Unquiesce { expect: Some(Expectation::Resumed), ..Default::default() };
        unquiescing.push(timed(&mut client, &resumed)?);
    }
    println!("{} {}", median(quiescing), median(unquiescing));
    Ok(())
}

fn answer(participants: &mut [Participant]) {
    loop {
        let mut fds: Vec<_> =
            participants.iter().map(|p| PollFd::from_borrowed_fd(p.fd(), PollFlags::IN)).collect();
        if poll(&mut fds, None).is_err() {
            return;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (participant, _) in participants.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            participant.dispatch();
        }
    }
}

fn timed<M: Method>(client: &mut Client, parameters: &M) -> Result<u128, snapsafe_client::Error> {
    let began = Instant::now();
    client.call(parameters)?;
    Ok(began.elapsed().as_micros())
}

fn median(mut of: Vec<u128>) -> u128 {
    of.sort_unstable();
    of[of.len() / 2]
}
