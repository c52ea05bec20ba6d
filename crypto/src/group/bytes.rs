//! Fields one after the other: what checkpoints and the test oracle's messages are made of.

use crate::{CryptoError, DeviceId};

/// Appends `blob` with its length before it (4 bytes, big-endian).
pub(crate) fn put_blob(out: &mut Vec<u8>, blob: &[u8]) {
    put_count(out, blob.len());
    out.extend_from_slice(blob);
}

/// Appends a number of things.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("nothing that fits in memory here has four billion parts");
    out.extend_from_slice(&count.to_be_bytes());
}

/// Appends device ids with their number before them.
pub(crate) fn put_devices(out: &mut Vec<u8>, devices: &[DeviceId]) {
    put_count(out, devices.len());
    for device in devices {
        out.extend_from_slice(device.as_bytes());
    }
}

/// Reads fields in turn.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts to read `bytes`, which should be `what`.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The error that says what this should have been.
    pub(crate) fn malformed(&self) -> CryptoError {
        CryptoError::Malformed(self.what)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CryptoError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    /// `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CryptoError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    /// How many things follow, of at least `each_bytes` bytes: never more than there is room for.
    pub(crate) fn count(&mut self, each_bytes: usize) -> Result<usize, CryptoError> {
        let count = u32::from_be_bytes(self.array()?) as usize;
        if count.checked_mul(each_bytes).is_some_and(|bytes| bytes <= self.rest.len()) {
            Ok(count)
        } else {
            Err(self.malformed())
        }
    }

    /// Bytes with their length before them.
    pub(crate) fn blob(&mut self) -> Result<&'a [u8], CryptoError> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// A device id.
    pub(crate) fn device(&mut self) -> Result<DeviceId, CryptoError> {
        Ok(DeviceId::from_bytes(self.array()?))
    }

    /// Device ids with their number before them.
    pub(crate) fn devices(&mut self) -> Result<Vec<DeviceId>, CryptoError> {
        (0..self.count(32)?).map(|_| self.device()).collect()
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Result<(), CryptoError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}
