//! An input as a list of decisions. Where it has ended, every decision is 0.

/// What of an input has not been read.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether there is more.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.number::<1>() as u8
    }

    /// A number of `N` bytes, little-endian.
    pub fn number<const N: usize>(&mut self) -> u64 {
        let (now, later) = self.0.split_at(self.0.len().min(N));
        self.0 = later;
        now.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// One of several.
    pub fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// At most `length` bytes.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(self.0.len().min(length));
        self.0 = later;
        now
    }
}
