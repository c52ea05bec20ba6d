//! What follows a handshake: messages of any length, in order.

use zeroize::Zeroizing;

use super::{MESSAGE_BYTES_MAX, blame};
use crate::CryptoError;

/// The tag and the mark that each record carries beside its share of the message.
const RECORD_OVERHEAD_BYTES: usize = 16 + 1;
const RECORD_PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX - RECORD_OVERHEAD_BYTES;
const MORE_FOLLOW: u8 = 0;
const LAST: u8 = 1;

/// The two directions of an encrypted conversation.
///
/// Messages must be opened in the order in which they were sealed: a lost, repeated or reordered one is refused like
/// an altered one, and ends the session.
///
/// A sealed message is a run of Noise messages, all but the last 65,535 bytes long. The plaintext of each begins with a
/// byte that says whether it is the last, so that nobody can cut a message short or join two.
pub struct Session {
    transport: Option<snow::TransportState>,
    handshake_hash: [u8; 32],
}

impl Session {
    pub(super) fn new(transport: snow::TransportState, handshake_hash: [u8; 32]) -> Self {
        Self { transport: Some(transport), handshake_hash }
    }

    /// A name that only the two ends of this very session share. To sign it is to bind an identity to the session.
    #[must_use]
    pub fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    /// Seals the next message, which may be of any length.
    ///
    /// # Errors
    /// [`CryptoError::SessionOver`] if an earlier message could not be opened.
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let transport = self.transport.as_mut().ok_or(CryptoError::SessionOver)?;
        let records = message.len().div_ceil(RECORD_PAYLOAD_BYTES_MAX).max(1);
        let mut sealed = vec![0; message.len() + records * RECORD_OVERHEAD_BYTES];
        let mut record = Zeroizing::new(Vec::with_capacity(RECORD_PAYLOAD_BYTES_MAX.min(message.len()) + 1));
        for (index, out) in sealed.chunks_mut(MESSAGE_BYTES_MAX).enumerate() {
            let start = index * RECORD_PAYLOAD_BYTES_MAX;
            let end = message.len().min(start + RECORD_PAYLOAD_BYTES_MAX);
            record.clear();
            record.push(if index + 1 == records { LAST } else { MORE_FOLLOW });
            record.extend_from_slice(&message[start..end]);
            transport.write_message(&record, out).map_err(|_| CryptoError::SessionOver)?;
        }
        Ok(sealed)
    }

    /// Opens the other side's next message.
    ///
    /// # Errors
    /// [`CryptoError::BadCiphertext`] or [`CryptoError::Malformed`] if it is not exactly what the other side sealed
    /// next, and [`CryptoError::SessionOver`] from then on.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut transport = self.transport.take().ok_or(CryptoError::SessionOver)?;
        let message = open_records(&mut transport, sealed)?;
        self.transport = Some(transport);
        Ok(message)
    }
}

fn open_records(transport: &mut snow::TransportState, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let records = sealed.len().div_ceil(MESSAGE_BYTES_MAX);
    let mut message = Vec::with_capacity(sealed.len());
    let mut record = Zeroizing::new(vec![0; MESSAGE_BYTES_MAX.min(sealed.len())]);
    for (index, chunk) in sealed.chunks(MESSAGE_BYTES_MAX).enumerate() {
        let read = transport.read_message(chunk, &mut record).map_err(|error| blame(&error))?;
        let expected = if index + 1 == records { LAST } else { MORE_FOLLOW };
        match record[..read].split_first() {
            Some((mark, share)) if *mark == expected => message.extend_from_slice(share),
            _ => return Err(CryptoError::BadCiphertext),
        }
    }
    if records == 0 { Err(CryptoError::Malformed("Noise message")) } else { Ok(message) }
}
