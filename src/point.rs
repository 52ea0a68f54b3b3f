//! Points between two steps, at which tests copy the world.
//!
//! A copy can be made between any two instructions. What tells copies apart reaches a generator
//! through its seams alone, so that one made between two calls of them goes on like one made right
//! after the first: the seams would do. That is tested and not believed, and a handler may interrupt
//! anywhere; so the steps in between are named here, too. The generator's tests copy at each.
//!
//! In what is shipped there are no points: [`point`] does nothing, and is inlined.

/// A step is done, and the next one not begun.
#[inline(always)]
pub(crate) fn point(name: &'static str) {
    #[cfg(test)]
    observed::reach(name);
    #[cfg(not(test))]
    let _ = name;
}

#[cfg(test)]
pub(crate) mod observed {
    use std::cell::RefCell;
    use std::rc::Rc;

    type Observer = Rc<dyn Fn(&'static str)>;

    thread_local! {
        static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    }

    pub(crate) fn reach(name: &'static str) {
        // Taken out of its cell: an observer may do what reaches points itself.
        let observer = OBSERVER.with_borrow(Clone::clone);
        if let Some(observe) = observer {
            observe(name);
        }
    }

    /// Whatever `run` reaches on this thread is told to `observe`.
    pub(crate) fn with<R>(observe: impl Fn(&'static str) + 'static, run: impl FnOnce() -> R) -> R {
        struct Forget;
        impl Drop for Forget {
            fn drop(&mut self) {
                OBSERVER.set(None);
            }
        }
        OBSERVER.set(Some(Rc::new(observe)));
        let _forget = Forget;
        run()
    }

    /// Stops where a part of `out` is made, and then half of it: every length is a prefix of the same
    /// stream.
    pub(crate) fn in_the_middle_of(out: &mut [u8], make: impl Fn(&mut [u8])) {
        if OBSERVER.with_borrow(Option::is_none) {
            return;
        }
        let (block, half) = (out.len().min(64), out.len() / 2);
        make(&mut out[..block]);
        reach("made a block");
        make(&mut out[..half]);
        reach("made half");
    }
}
