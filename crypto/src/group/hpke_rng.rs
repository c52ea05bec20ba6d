//! Our randomness, in the shape that `hpke` asks for.

use std::convert::Infallible;

use crate::Entropy;

/// The randomness of one encapsulation.
pub(crate) struct HpkeRng(pub(crate) Entropy);

impl hpke::rand_core::TryRng for HpkeRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.0.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.0.bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl hpke::rand_core::TryCryptoRng for HpkeRng {}
