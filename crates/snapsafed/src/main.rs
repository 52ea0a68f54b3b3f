//! Takes the machine through a snapshot.

fn main() {}
