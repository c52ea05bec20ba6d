//! The one source of chance in a world.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Everything that happens by chance follows from one number.
pub struct Random(ChaCha8Rng);

impl Random {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// 32 bytes to seed something else with.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// A number in a range that is not empty.
    pub fn between(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.0.next_u64() % (range.end - range.start)
    }

    /// `true` so many times in a thousand.
    pub fn permille(&mut self, chance: u64) -> bool {
        self.between(0..1_000) < chance
    }

    /// One of them; none if there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.between(0..of.len() as u64) as usize]) }
    }
}
