//! Randomness as an argument.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

/// A seeded source of randomness, handed to everything that needs some.
///
/// Nothing in this crate asks the operating system for randomness: whoever drives it seeds one `Entropy` from
/// the system (or, in the simulator, from a number, so that a run can be replayed byte for byte).
/// The generator is ChaCha20 with fast key erasure (D. J. Bernstein, 2017), as in Linux: it replaces its key in each
/// call, so that whoever seizes it learns nothing of what it gave before.
pub struct Entropy(Zeroizing<[u8; 32]>);

impl Entropy {
    /// Starts from 32 bytes, which must come from a cryptographic source outside of tests.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
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
        let mut stream = ChaCha20Rng::from_seed(*self.0);
        stream.fill_bytes(&mut *self.0);
        stream.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_follows_from_the_seed_alone() {
        let (mut one, mut same) = (Entropy::from_seed([1; 32]), Entropy::from_seed([1; 32]));
        assert_eq!(one.bytes::<100>(), same.bytes::<100>());
        assert_eq!(one.fork().bytes::<32>(), same.fork().bytes::<32>());
        assert_ne!(one.bytes::<32>(), Entropy::from_seed([2; 32]).bytes());
    }

    #[test]
    fn nothing_is_given_twice() {
        let mut entropy = Entropy::from_seed([1; 32]);
        let mut fork = entropy.fork();
        let drawn = [entropy.bytes::<32>(), entropy.bytes(), fork.bytes(), fork.bytes()];
        let distinct = std::collections::BTreeSet::from(drawn);
        assert_eq!(distinct.len(), drawn.len());
    }

    #[test]
    fn the_key_is_the_start_of_the_stream_and_never_given_out() {
        // The first 32 bytes of the ChaCha20 key stream (64-bit counter, zero nonce) under an all-zero key.
        let mut entropy = Entropy::from_seed([0; 32]);
        let given: [u8; 32] = entropy.bytes();
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(hex(&*entropy.0), "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7");
        assert_eq!(hex(&given), "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586");
    }
}
