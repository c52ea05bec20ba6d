//! Stretching a passphrase into a key (Argon2id, RFC 9106).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use crate::CryptoError;

/// What it costs to try one passphrase.
///
/// Stored in clear beside the wrapped key. They are bounded, so that a file from elsewhere cannot make a device
/// allocate or compute without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseParams {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl PassphraseParams {
    /// The most memory that parameters may ask for: 1 GiB.
    pub const MEMORY_KIB_MAX: u32 = 1 << 20;
    /// The most memory, summed over all passes, that parameters may ask to be filled: 4 GiB, some seconds of work.
    pub const WORK_KIB_MAX: u64 = 4 << 20;
    /// The most lanes that parameters may ask for.
    pub const LANES_MAX: u32 = 16;

    /// For laptops and phones: 64 MiB, 3 passes, 4 lanes, which is the second recommendation of RFC 9106, section 4.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// For tests only: next to no work, hence next to no protection.
    pub const FAST_FOR_TESTS: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// Parameters of one's own.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if Argon2 does not define them (at least one pass and one lane, at least 8 KiB a
    /// lane) or they exceed the bounds of this type.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CryptoError> {
        let lanes_fit = (1..=Self::LANES_MAX).contains(&lanes) && memory_kib >= 8 * lanes;
        let work_kib = u64::from(memory_kib) * u64::from(passes);
        if lanes_fit && passes > 0 && memory_kib <= Self::MEMORY_KIB_MAX && work_kib <= Self::WORK_KIB_MAX {
            Ok(Self { memory_kib, passes, lanes })
        } else {
            Err(CryptoError::Malformed("passphrase parameters"))
        }
    }

    /// The memory that trying a passphrase takes, in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// How often that memory is passed over.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// How many lanes it is divided into.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    pub(super) fn stretch(&self, passphrase: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).expect("bounds were checked");
        let mut memory = Zeroizing::new(Vec::new());
        memory.try_reserve_exact(params.block_count()).map_err(|_| CryptoError::OutOfMemory)?;
        memory.resize(params.block_count(), Block::new());

        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut *key, memory.as_mut_slice())
            .map_err(|_| CryptoError::Malformed("passphrase"))?;
        Ok(key)
    }
}

impl Default for PassphraseParams {
    fn default() -> Self {
        Self::RECOMMENDED
    }
}
