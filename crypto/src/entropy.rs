//! Randomness as an argument.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// A seeded source of randomness, handed to everything that needs some.
///
/// Nothing in this crate asks the operating system for randomness: whoever drives it seeds one `Entropy` from
/// the system (or, in the simulator, from a number, so that a run can be replayed byte for byte).
/// The generator is ChaCha20, which is what the system generator itself is on Linux.
pub struct Entropy(ChaCha20Rng);

impl Entropy {
    /// Starts from 32 bytes, which must come from a cryptographic source outside of tests.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// Splits off an independent generator, for a component that keeps its own.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.bytes())
    }

    /// `N` fresh bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// Fills `out` with fresh bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}
