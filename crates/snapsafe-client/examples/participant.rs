//! A program that takes part in snapshots of the whole machine, and prints what it is asked.
//!
//!     cargo run --package snapsafe-client --example participant -- NAME [SOCKET]
//!
//! Without a daemon it says so and goes on, which here means that it ends.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use snapsafe_client::{Asked, Error, Participant};

    fn print(name: &str, asked: &Asked) -> std::io::Result<()> {
        use std::io::Write;
        let missed = if asked.missed { " missed" } else { "" };
        let (transition, generation) = (asked.transition, asked.generation);
        let phase = asked.phase;
        writeln!(
            std::io::stdout(),
            "{name} {phase} transition={transition} generation={generation}{missed}"
        )
    }

    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("usage: participant NAME [SOCKET]")?;
    let mut builder = Participant::register(&name);
    if let Some(socket) = arguments.next() {
        builder = builder.socket(socket.as_ref());
    }
    let (before, after) = (name.clone(), name.clone());
    let started = builder
        // Nothing in flight from here on.
        .before(move |asked| print(&before, asked))
        // After `restored`: new session ids, new keys, new connections.
        .after(move |asked| print(&after, asked))
        .start();
    match started {
        Ok(mut participant) => {
            println!("{name} registered");
            participant.run()?;
        }
        Err(Error::NotRunning { .. }) => {
            println!("{name}: no snapsafed here, going on without it");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
