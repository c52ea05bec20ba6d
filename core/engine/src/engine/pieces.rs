//! Messages of a session that may be longer than a frame: they travel in pieces, each sealed by itself.

use clave_crypto::Session;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::proto::invitation as proto;

/// Bytes of a message per piece.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;
/// The greatest message that a newcomer takes: the log and the keys of a circle.
pub(crate) const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The greatest message that is taken from a newcomer.
pub(crate) const REQUEST_BYTES_MAX: u64 = 1024 * 1024;

/// How far a message has come, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Come {
    pub(crate) done_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// What a piece led to.
pub(super) enum Piece {
    /// More are to come.
    Partial(Come),
    /// The message is complete.
    Whole(Zeroizing<Vec<u8>>),
}

/// A session, and the message that is on its way in each direction.
pub(super) struct Talk {
    session: Session,
    incoming: Option<Incoming>,
    outgoing: Option<Outgoing>,
    incoming_bytes_max: u64,
}

struct Incoming {
    total_bytes: u64,
    next: u32,
    bytes: Zeroizing<Vec<u8>>,
}

struct Outgoing {
    message: Zeroizing<Vec<u8>>,
    sent: usize,
    next: u32,
}

/// The other side does not keep to the protocol; the session is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// What came was not sealed in this session, or not next.
    Seal,
    /// It is no piece, or does not follow the one before.
    Piece,
    /// The message is longer than is taken.
    TooLong,
}

impl Talk {
    pub(super) fn new(session: Session, incoming_bytes_max: u64) -> Self {
        Self { session, incoming: None, outgoing: None, incoming_bytes_max }
    }

    pub(super) fn handshake_hash(&self) -> [u8; 32] {
        *self.session.handshake_hash()
    }

    /// Has a message sent, piece by piece. One at a time: the other side answers before the next.
    pub(super) fn send(&mut self, message: Vec<u8>) {
        debug_assert!(self.outgoing.is_none(), "the former message has left");
        self.outgoing = Some(Outgoing { message: Zeroizing::new(message), sent: 0, next: 0 });
    }

    /// Whether a message is being sent.
    pub(super) fn is_sending(&self) -> bool {
        self.outgoing.is_some()
    }

    /// The next piece to send, sealed.
    pub(super) fn next_sealed(&mut self) -> Option<Vec<u8>> {
        let outgoing = self.outgoing.as_mut()?;
        let end = outgoing.message.len().min(outgoing.sent + PIECE_BYTES);
        let piece = proto::Piece {
            index: outgoing.next,
            total_bytes: outgoing.message.len() as u64,
            bytes: outgoing.message[outgoing.sent..end].to_vec(),
        };
        (outgoing.sent, outgoing.next) = (end, outgoing.next + 1);
        if end == outgoing.message.len() {
            self.outgoing = None;
        }
        // A session that is over says so to whoever opens it.
        self.session.seal(&Zeroizing::new(piece.encode_to_vec())).ok()
    }

    /// Takes what came sealed.
    pub(super) fn take(&mut self, sealed: &[u8]) -> Result<Piece, Broken> {
        let piece = Zeroizing::new(self.session.open(sealed).map_err(|_| Broken::Seal)?);
        let piece = proto::Piece::decode(piece.as_slice()).map_err(|_| Broken::Piece)?;
        let bytes = Zeroizing::new(piece.bytes);
        if piece.total_bytes > self.incoming_bytes_max {
            return Err(Broken::TooLong);
        }
        let incoming = self.incoming.get_or_insert_with(|| Incoming {
            total_bytes: piece.total_bytes,
            next: 0,
            bytes: Zeroizing::new(Vec::new()),
        });
        let come = (incoming.bytes.len() + bytes.len()) as u64;
        let in_order = piece.index == incoming.next
            && piece.total_bytes == incoming.total_bytes
            && come <= incoming.total_bytes
            // Each brings the end nearer, so that nobody is kept busy for nothing.
            && (!bytes.is_empty() || incoming.total_bytes == 0);
        if !in_order {
            return Err(Broken::Piece);
        }
        if incoming.bytes.len() + bytes.len() > incoming.bytes.capacity() {
            // By hand: what a growing vector leaves behind is not wiped.
            let room = incoming.bytes.capacity().saturating_mul(2).max(come as usize).min(piece.total_bytes as usize);
            let mut grown = Zeroizing::new(Vec::with_capacity(room));
            grown.extend_from_slice(&incoming.bytes);
            incoming.bytes = grown;
        }
        incoming.bytes.extend_from_slice(&bytes);
        incoming.next += 1;
        if come < incoming.total_bytes {
            return Ok(Piece::Partial(Come { done_bytes: come, total_bytes: incoming.total_bytes }));
        }
        let whole = self.incoming.take().expect("it was put there above");
        Ok(Piece::Whole(whole.bytes))
    }
}

#[cfg(test)]
mod tests {
    use clave_crypto::{Entropy, Handshake};

    use super::*;

    fn sessions() -> (Session, Session) {
        let mut entropy = Entropy::from_seed([3; 32]);
        let mut one = Handshake::initiator(&[1; 32], b"pieces", &mut entropy);
        let mut other = Handshake::responder(&[1; 32], b"pieces", &mut entropy);
        other.read(&one.write(&[]).expect("it begins")).expect("it is honest");
        one.read(&other.write(&[]).expect("its turn")).expect("it is honest");
        other.read(&one.write(&[]).expect("its turn")).expect("it is honest");
        (one.into_session().expect("it is finished"), other.into_session().expect("it is finished"))
    }

    fn talk() -> (Talk, Talk) {
        let (one, other) = sessions();
        (Talk::new(one, ANSWER_BYTES_MAX), Talk::new(other, ANSWER_BYTES_MAX))
    }

    #[test]
    fn a_message_of_any_length_arrives() {
        let (mut one, mut other) = talk();
        for bytes in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let message: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
            one.send(message.clone());
            let mut pieces = 0;
            while let Some(sealed) = one.next_sealed() {
                pieces += 1;
                match other.take(&sealed).expect("it is in order") {
                    Piece::Whole(whole) => assert_eq!(*whole, message),
                    Piece::Partial(come) => assert_eq!(come.done_bytes, pieces * PIECE_BYTES as u64),
                }
            }
            assert_eq!(pieces, bytes.div_ceil(PIECE_BYTES).max(1) as u64);
            assert!(!one.is_sending() && other.incoming.is_none());
        }
    }

    #[test]
    fn pieces_that_do_not_follow_each_other_are_refused() {
        let piece = |index, total_bytes, bytes| proto::Piece { index, total_bytes, bytes };
        for (pieces, why) in [
            (vec![piece(1, 2, vec![0; 1])], Broken::Piece),
            (vec![piece(0, 3, vec![0; 1]), piece(2, 3, vec![0; 1])], Broken::Piece),
            (vec![piece(0, 3, vec![0; 1]), piece(0, 3, vec![0; 1])], Broken::Piece),
            (vec![piece(0, 3, vec![0; 1]), piece(1, 4, vec![0; 1])], Broken::Piece),
            (vec![piece(0, 3, vec![0; 1]), piece(1, 3, vec![0; 3])], Broken::Piece),
            (vec![piece(0, 3, vec![])], Broken::Piece),
            (vec![piece(0, ANSWER_BYTES_MAX + 1, vec![0; 1])], Broken::TooLong),
        ] {
            let (mut one, other) = sessions();
            let mut other = Talk::new(other, ANSWER_BYTES_MAX);
            let mut last = None;
            for piece in pieces {
                last = Some(other.take(&one.seal(&piece.encode_to_vec()).expect("it is open")));
            }
            assert_eq!(last.expect("there is one").err(), Some(why));
        }
        let (mut one, other) = sessions();
        let garbage = one.seal(&[7]).expect("it is open");
        assert_eq!(Talk::new(other, 1).take(&garbage).err(), Some(Broken::Piece));
        assert_eq!(Talk::new(one, 1).take(b"garbage").err(), Some(Broken::Seal));
    }

    #[test]
    fn what_was_announced_takes_no_memory_before_it_came() {
        let (mut one, other) = sessions();
        let mut other = Talk::new(other, ANSWER_BYTES_MAX);
        let piece = proto::Piece { index: 0, total_bytes: ANSWER_BYTES_MAX, bytes: vec![1] };
        let sealed = one.seal(&piece.encode_to_vec()).expect("it is open");
        assert!(matches!(other.take(&sealed), Ok(Piece::Partial(_))));
        assert!(other.incoming.expect("it goes on").bytes.capacity() < PIECE_BYTES);
    }
}
