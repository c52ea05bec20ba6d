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

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};
    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 9106, section 5.3. It uses a secret and associated data, which we do not: so by the library's own interface.
    #[test]
    fn the_library_gives_the_published_vector() {
        let data = AssociatedData::new(&[4; 12]).unwrap();
        let params = ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build().unwrap();
        let mut tag = [0; 32];
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
            .unwrap()
            .hash_password_into(&[1; 32], &[2; 16], &mut tag)
            .unwrap();
        assert_eq!(HEXLOWER.encode(&tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    /// `src/test.c` of the reference implementation (P-H-C/phc-winner-argon2), Argon2id, version 19.
    #[test]
    fn stretching_gives_the_vectors_of_the_reference_implementation() {
        for (memory_kib, passes, lanes, expected) in [
            (256, 2, 1, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
            (256, 2, 2, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
            (65_536, 2, 1, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"),
        ] {
            let params = PassphraseParams::new(memory_kib, passes, lanes).unwrap();
            let key = params.stretch("password", b"somesalt").unwrap();
            assert_eq!(HEXLOWER.encode(&*key), expected);
        }
    }

    #[test]
    fn parameters_are_bounded() {
        for allowed in [(8, 1, 1), (1 << 20, 4, 16), (64 * 1024, 64, 4), (128, 32_768, 16)] {
            let params = PassphraseParams::new(allowed.0, allowed.1, allowed.2).unwrap();
            assert_eq!((params.memory_kib(), params.passes(), params.lanes()), allowed);
        }
        for refused in [
            (7, 1, 1),
            (127, 1, 16),
            (8, 0, 1),
            (8, 1, 0),
            ((1 << 20) + 1, 1, 1),
            (1 << 20, 5, 1),
            (1 << 20, 1, 17),
            (u32::MAX, u32::MAX, u32::MAX),
        ] {
            let params = PassphraseParams::new(refused.0, refused.1, refused.2);
            assert_eq!(params, Err(CryptoError::Malformed("passphrase parameters")), "{refused:?}");
        }
        for ours in [PassphraseParams::RECOMMENDED, PassphraseParams::FAST_FOR_TESTS] {
            assert_eq!(PassphraseParams::new(ours.memory_kib, ours.passes, ours.lanes), Ok(ours));
        }
    }
}
