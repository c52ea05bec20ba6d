//! The side that joins: the request, and the shares of the answer to it.

use clave_crypto::{Letter, OpenedLetter, open_letter};
use zeroize::Zeroizing;

use super::*;
use crate::Refusal;
use crate::engine::join::JoinError;
use crate::engine::newcomer::Asking;
use crate::engine::pieces::{ANSWER_BYTES_MAX, PIECE_BYTES};
use crate::proto::invitation as proto;

/// The longest letter with a share of an answer, in bytes: the share, what is said of it, and what sealing adds.
pub(crate) const ANSWER_LETTER_BYTES_MAX: usize = PIECE_BYTES + 1_024;

/// A request that waits for its answer.
#[derive(Default)]
pub(super) struct Ask {
    /// Names it: the handshake hash of its letter.
    pub(super) request: [u8; 32],
    /// What has come of the answer. A relay gives it anew in each session.
    parts: Parts,
    /// Whether the application knows that a relay keeps the request.
    pub(super) is_told: bool,
}

/// Shares of a message, in whatever order they come.
#[derive(Default)]
struct Parts {
    total_bytes: u64,
    come_bytes: u64,
    shares: BTreeMap<u32, Zeroizing<Vec<u8>>>,
}

/// An invitation that is taken up through relays and was not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingJoin {
    /// Which.
    pub invitation: InvitationId,
    /// Where it leads.
    pub circle: CircleId,
    /// What the space was called when the link was made.
    pub space_name: String,
    /// The device that answers.
    pub inviter: DeviceId,
    /// Until when the invitation can be answered, in Unix milliseconds.
    pub expires_ms: u64,
    /// How far it is.
    pub state: PendingJoinState,
}

/// How far an invitation is that is taken up through relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PendingJoinState {
    /// No relay of the link is known to keep the request since the engine was opened.
    Asking,
    /// A relay keeps it: the inviter's device answers once it is online, whether this one is or not.
    Asked,
    /// The answer is coming in.
    Arriving,
}

impl Engine {
    /// The invitations that this device takes up through relays and that were not answered yet.
    #[must_use]
    pub fn pending_joins(&self) -> Vec<PendingJoin> {
        let pending = |(id, known): (&InvitationId, &Letterbox)| {
            let Side::Asks(ask) = &known.side else { return None };
            let link = &self.joins.asking.get(id)?.link;
            let state = match () {
                () if !ask.parts.shares.is_empty() => PendingJoinState::Arriving,
                () if ask.is_told => PendingJoinState::Asked,
                () => PendingJoinState::Asking,
            };
            Some(PendingJoin {
                invitation: *id,
                circle: link.circle,
                space_name: link.space_name.clone(),
                inviter: link.inviter,
                expires_ms: link.expires_ms,
                state,
            })
        };
        self.letters.boxes.iter().filter_map(pending).collect()
    }

    /// Whether an invitation is taken up through relays already.
    pub(in crate::engine) fn asks_by_letter(&self, id: &InvitationId) -> bool {
        self.letters.boxes.get(id).is_some_and(|known| matches!(known.side, Side::Asks(_)))
    }

    /// Leaves the request where the inviter's device finds it, if the link says where that is.
    pub(in crate::engine) fn ask_by_letter(&mut self, link: &InviteLink) -> Result<(), EngineError> {
        let id = link.invitation;
        let Some(noise) = link.noise.filter(|_| !link.relays.is_empty() && !self.asks_by_letter(&id)) else {
            return Ok(());
        };
        let context = request_context(id, link.circle, link.inviter);
        let desk = &mut self.desk;
        let letter = Letter::begin(&desk.device, &noise, &link.secret, &context, &mut desk.entropy);
        // A link with a key to which nothing can be sealed: there is the other way still.
        let Ok(letter) = letter else { return Ok(()) };
        let request = *letter.handshake_hash();
        let message = Zeroizing::new(self.join_request(link, &request)?.encode_to_vec());
        let sealed = letter.seal(&message).expect("the letter was just begun");
        let record = local::Ask { link: link.encode(), request: request.to_vec() };
        self.desk.put(ask_key(&id), record.encode_to_vec());
        self.open_ask(link, request);
        self.post_letter(id, request, sealed);
        Ok(())
    }

    fn open_ask(&mut self, link: &InviteLink, request: [u8; 32]) {
        let side = Side::Asks(Box::new(Ask { request, ..Ask::default() }));
        self.letters.open(link.invitation, link.circle, &link.secret, side, link.expires_ms);
    }

    /// Goes on with a request after a restart.
    pub(super) fn load_ask(&mut self, id: InvitationId, record: &local::Ask) -> Result<(), EngineError> {
        let link = InviteLink::read(&record.link).filter(|link| link.invitation == id).ok_or(EngineError::Damaged)?;
        let request = record.request.as_slice().try_into().map_err(|_| EngineError::Damaged)?;
        self.open_ask(&link, request);
        self.outbox.push(Output::Addresses { device: link.inviter, addresses: link.addresses.clone() });
        self.joins.asking.insert(id, Asking::new(link));
        Ok(())
    }

    /// A request was answered or is given up.
    pub(in crate::engine) fn end_ask(&mut self, id: &InvitationId) {
        if self.asks_by_letter(id) {
            self.desk.remove(ask_key(id));
            self.close_letterbox(id);
        }
    }

    /// Gives up requests that nobody answers any more.
    pub(in crate::engine) fn expire_asks(&mut self) {
        let now_ms = self.desk.now_ms;
        let over = |known: &Letterbox| matches!(known.side, Side::Asks(_)) && known.until_ms < now_ms;
        let over: Vec<InvitationId> =
            self.letters.boxes.iter().filter(|(_, known)| over(known)).map(|(id, _)| *id).collect();
        for id in over {
            self.fail_join(id, JoinError::Expired);
        }
    }

    /// A relay keeps the request: tells the application, once.
    pub(super) fn note_asked(&mut self, id: InvitationId) {
        if let Some(Letterbox { side: Side::Asks(ask), .. }) = self.letters.boxes.get_mut(&id)
            && !std::mem::replace(&mut ask.is_told, true)
        {
            self.desk.events.push(Event::JoinAsked { invitation: id });
        }
    }

    /// The relays at which requests wait.
    pub(in crate::engine) fn relays_of_asks(&self) -> Vec<RelayAddress> {
        let asking = self.joins.asking.iter().filter(|(id, _)| self.asks_by_letter(id));
        asking.flat_map(|(_, asking)| asking.link.relays.iter().cloned()).collect()
    }

    /// Takes a share of the answer; with the last one, the answer.
    pub(super) fn take_answer_letter(&mut self, id: InvitationId, sealed: &[u8]) -> Result<(), Refusal> {
        if sealed.len() > ANSWER_LETTER_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        let (Some(known), Some(asking)) = (self.letters.boxes.get_mut(&id), self.joins.asking.get(&id)) else {
            return Ok(());
        };
        let (Side::Asks(ask), link) = (&mut known.side, &asking.link) else { return Ok(()) };
        let context = answer_context(id, link.circle, link.inviter, &ask.request);
        // Whatever does not open is to somebody else who has the link, or answers another request.
        let Ok(OpenedLetter { sender, message, .. }) = open_letter(&self.desk.device, &link.secret, &context, sealed)
        else {
            return Ok(());
        };
        if Some(sender) != link.noise {
            return Err(Refusal::BadSignature);
        }
        let piece = proto::Piece::decode(message.as_slice()).map_err(|_| Refusal::Malformed)?;
        let Some(whole) = ask.parts.take(piece)? else {
            let (done_bytes, total_bytes) = (ask.parts.come_bytes, ask.parts.total_bytes);
            self.desk.events.push(Event::JoinProgress { invitation: id, done_bytes, total_bytes });
            return Ok(());
        };
        let (request, link) = (ask.request, link.clone());
        if let Err(error) = self.take_whole_answer(id, &link, &whole, &request) {
            self.fail_join(id, error);
        }
        Ok(())
    }
}

impl Parts {
    /// Takes a share; gives the message once all are there.
    fn take(&mut self, piece: proto::Piece) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let bytes = Zeroizing::new(piece.bytes);
        if piece.total_bytes > ANSWER_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        let start = u64::from(piece.index) * PIECE_BYTES as u64;
        let length = piece.total_bytes.saturating_sub(start).min(PIECE_BYTES as u64);
        if bytes.len() as u64 != length || length == 0 {
            return Err(Refusal::Malformed);
        }
        if self.total_bytes != piece.total_bytes {
            // The inviter's device lost its first answer, and made another.
            *self = Self { total_bytes: piece.total_bytes, ..Self::default() };
        }
        if self.shares.insert(piece.index, bytes).is_none() {
            self.come_bytes += length;
        }
        if self.come_bytes < self.total_bytes {
            return Ok(None);
        }
        let mut whole = Zeroizing::new(Vec::with_capacity(self.total_bytes as usize));
        for share in std::mem::take(self).shares.into_values() {
            whole.extend_from_slice(&share);
        }
        Ok(Some(whole))
    }
}

fn ask_key(id: &InvitationId) -> Key {
    Key::new(Keyspace::Asks, [], id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: u32, total_bytes: usize, bytes: usize) -> proto::Piece {
        proto::Piece { index, total_bytes: total_bytes as u64, bytes: vec![index as u8; bytes] }
    }

    #[test]
    fn shares_make_the_message_in_any_order_and_however_often_they_come() {
        let total = 2 * PIECE_BYTES + 5;
        let shares = [piece(0, total, PIECE_BYTES), piece(1, total, PIECE_BYTES), piece(2, total, 5)];
        for order in [vec![0, 1, 2], vec![2, 0, 1], vec![1, 1, 0, 0, 2]] {
            let mut parts = Parts::default();
            let (last, before) = order.split_last().expect("some");
            for at in before {
                assert_eq!(parts.take(shares[*at].clone()), Ok(None));
            }
            let whole = parts.take(shares[*last].clone()).expect("it is honest").expect("it is the last");
            let expected: Vec<u8> = shares.iter().flat_map(|share| share.bytes.clone()).collect();
            assert_eq!(*whole, expected);
        }
    }

    #[test]
    fn a_share_that_is_no_share_is_refused() {
        let over = ANSWER_BYTES_MAX as usize + 1;
        for (piece, refusal) in [
            (piece(0, 10, 9), Refusal::Malformed),
            (piece(0, 10, 11), Refusal::Malformed),
            (piece(1, 10, 0), Refusal::Malformed),
            (piece(1, 10, 10), Refusal::Malformed),
            (piece(0, 0, 0), Refusal::Malformed),
            (piece(u32::MAX, PIECE_BYTES, PIECE_BYTES), Refusal::Malformed),
            (piece(0, over, PIECE_BYTES), Refusal::Oversized),
        ] {
            assert_eq!(Parts::default().take(piece), Err(refusal));
        }
    }

    #[test]
    fn shares_of_two_answers_are_not_mixed() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(piece(0, PIECE_BYTES + 1, PIECE_BYTES)), Ok(None));
        assert_eq!(parts.take(piece(1, PIECE_BYTES + 2, 2)), Ok(None));
        assert!(matches!(parts.take(piece(0, PIECE_BYTES + 2, PIECE_BYTES)), Ok(Some(_))));
    }
}
