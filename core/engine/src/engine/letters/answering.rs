//! The side that invites: requests, and the answers that are kept for them.

use clave_crypto::{Letter, NoisePublicKey, open_letter};
use zeroize::Zeroizing;

use super::*;
use crate::Refusal;
use crate::engine::join::JoinError;
use crate::engine::pieces::{PIECE_BYTES, REQUEST_BYTES_MAX};
use crate::membership::PersonEntry;
use crate::mutation::{Rule, off};
use crate::proto::invitation as proto;
use crate::proto::invitation::answer::Body as AnswerBody;

/// The most requests of one invitation that are answered: one is let in, the others hear why not.
pub(crate) const REQUESTS_ANSWERED_MAX: usize = 16;

impl Engine {
    /// Answers a request as one in a session is answered. `true`: it cannot be answered now.
    pub(super) fn take_request_letter(&mut self, id: InvitationId, sealed: &[u8]) -> Result<bool, Refusal> {
        if sealed.len() as u64 > REQUEST_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        let Some(known) = self.letters.boxes.get(&id) else { return Ok(false) };
        let circle = known.mailbox.circle;
        let Ok(Some(record)) = self.load_invitation(id) else { return Ok(true) };
        let secret = Zeroizing::new(record.secret.as_slice().try_into().map_err(|_| Refusal::Malformed)?);
        let context = request_context(id, circle, self.desk.me());
        // Whatever does not open is an answer, or nothing: who has the link may put anything there.
        let Ok(letter) = open_letter(&self.desk.device, &secret, &context, sealed) else { return Ok(false) };
        let request = letter.handshake_hash;
        let answered: BTreeSet<&[u8; 32]> = known.letters.values().collect();
        if answered.contains(&request) && !off(Rule::LetterOnce) {
            return Ok(false);
        }
        if answered.len() >= REQUESTS_ANSWERED_MAX {
            return Err(Refusal::TooManyHeld);
        }
        let asked = proto::Request::decode(letter.message.as_slice()).map_err(|_| Refusal::Malformed)?;
        let device = asking_device(&asked, &letter.sender).ok_or(Refusal::BadSignature)?;
        let body = match self.admit(device, id, &asked, &request) {
            Ok(accepted) => AnswerBody::Accepted(accepted),
            Err(JoinError::Busy) => return Ok(true),
            Err(error) => AnswerBody::Refused(error as u32),
        };
        let answer = Zeroizing::new(proto::Answer { body: Some(body) }.encode_to_vec());
        let context = answer_context(id, circle, self.desk.me(), &request);
        for (index, share) in answer.chunks(PIECE_BYTES).enumerate() {
            let piece = proto::Piece { index: index as u32, total_bytes: answer.len() as u64, bytes: share.to_vec() };
            let piece = Zeroizing::new(piece.encode_to_vec());
            let desk = &mut self.desk;
            let letter = Letter::begin(&desk.device, &letter.sender, &secret, &context, &mut desk.entropy);
            let letter = letter.and_then(|letter| letter.seal(&piece)).map_err(|_| Refusal::Malformed)?;
            self.post_letter(id, request, letter);
        }
        Ok(false)
    }
}

/// The one device that asks, if the letter is by the Noise key that it says is its own.
fn asking_device(request: &proto::Request, sender: &NoisePublicKey) -> Option<DeviceId> {
    let newcomer = PersonEntry::decode(&request.newcomer)?;
    let [device] = newcomer.devices.as_slice() else { return None };
    (device.noise == *sender).then(|| device.device())
}
