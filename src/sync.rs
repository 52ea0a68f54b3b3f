//! The atomics of rooms that threads share without a lock, so that their code can be *modelled*.
//!
//! Here they are core's, and everything below costs nothing. In a test that is built with
//! `--cfg loom` they are those of the `loom` crate, which runs a piece of code under the orders in
//! which threads may take turns and the values that the memory model lets each load see. What such
//! a model runs is the shipped code of its room, in `models` beside the room's tests.
//!
//! Limits: a room's words on mapped pages, and what the inlined path reads of them in assembly, are
//! modelled as ordinary words. Signal handlers are not modelled: loom knows threads alone.

#[cfg(not(all(test, loom)))]
pub(crate) use shipped::*;

#[cfg(all(test, loom))]
pub(crate) use modelled::*;

#[cfg(not(all(test, loom)))]
mod shipped {
    pub(crate) use core::sync::atomic::*;

    /// Statics of these atomics: ordinary ones.
    macro_rules! statics {
        ($($(#[$attribute:meta])* static $NAME:ident: $Type:ty = $value:expr;)+) => {
            $($(#[$attribute])* static $NAME: $Type = $value;)+
        };
    }

    /// A function that makes a value of these atomics, for statics: `const`.
    macro_rules! constructor {
        ($(#[$attribute:meta])* $visibility:vis fn $($rest:tt)+) => {
            $(#[$attribute])* $visibility const fn $($rest)+
        };
    }

    /// An array of values that cannot be copied.
    macro_rules! array {
        ($value:expr; $length:expr) => {
            [const { $value }; $length]
        };
    }

    pub(crate) use {array, constructor, statics};

    /// Says that one thread at a time has what this stands for. A model proves it.
    #[cfg(target_os = "linux")]
    pub(crate) struct Exclusive;

    #[cfg(target_os = "linux")]
    impl Exclusive {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn is_mine(&self) {}
    }

    /// Lets others run.
    #[cfg(target_os = "linux")]
    pub(crate) fn yield_now() {
        rustix::thread::sched_yield();
    }
}

#[cfg(all(test, loom))]
mod modelled {
    use std::sync::Arc;

    pub(crate) use core::sync::atomic::compiler_fence;
    pub(crate) use loom::sync::atomic::*;
    pub(crate) use loom::thread::yield_now;

    /// Made anew in each run of a model, at their first use.
    macro_rules! statics {
        ($($(#[$attribute:meta])* static $NAME:ident: $Type:ty = $value:expr;)+) => {
            loom::lazy_static! { $($(#[$attribute])* static ref $NAME: $Type = $value;)+ }
        };
    }

    macro_rules! constructor {
        ($($item:tt)+) => { $($item)+ };
    }

    macro_rules! array {
        ($value:expr; $length:expr) => {
            core::array::from_fn::<_, { $length }, _>(|_| $value)
        };
    }

    pub(crate) use {array, constructor, statics};

    pub(crate) struct Exclusive(loom::cell::UnsafeCell<()>);

    impl Exclusive {
        pub(crate) fn new() -> Self {
            Self(loom::cell::UnsafeCell::new(()))
        }

        /// Fails the model if another thread may be at it, or if what that one did need not be
        /// visible yet.
        pub(crate) fn is_mine(&self) {
            self.0.with_mut(|_| ());
        }
    }

    /// Runs `model` under every order of its threads in which none of them is interrupted more
    /// than `preemptions` times in all, and prints how many orders those were.
    pub(crate) fn explore(
        name: &str,
        preemptions: usize,
        model: impl Fn() + Sync + Send + 'static,
    ) {
        let count = Arc::new(core::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 20_000;
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model();
        });
        let count = count.load(Ordering::Relaxed);
        assert!(count > 1, "{name}: there was nothing to explore");
        println!("loom: {name}: {count} interleavings, at most {preemptions} preemptions");
    }
}
