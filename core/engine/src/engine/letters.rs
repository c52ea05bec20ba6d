//! Invitations through relays: the inviter and who joins need never be online together (ADR 20).
//!
//! Each invitation has a mailbox, whose key follows from the secret of its link. Who joins leaves a letter there with the
//! request that they would make in a session (`asking.rs`); the inviter's device answers by letters in the same mailbox
//! (`answering.rs`). What either keeps there is in its store until nobody needs it any more, and is put again where a
//! relay lacks it (`posting.rs`).
//!
//! Owns those mailboxes and what this device keeps in them. Whether a request is let in and an answer believed is judged where
//! it is for those who are connected: `inviter.rs`, `newcomer.rs`.

use std::sync::Arc;

use clave_crypto::{MailboxId, MailboxKey};
use prost::Message as _;

use super::*;
use crate::circle::mailboxes::Mailbox;
use crate::link::{InviteLink, LINK_RELAYS_MAX};
use crate::membership::RelayAddress;
use crate::proto::local;

mod answering;
mod asking;
mod posting;

#[cfg(test)]
pub(crate) use answering::REQUESTS_ANSWERED_MAX;
#[cfg(test)]
pub(crate) use asking::ANSWER_LETTER_BYTES_MAX;
pub use asking::{PendingJoin, PendingJoinState};
pub(super) use posting::Posted;

/// How long after its expiry the mailbox of an invitation is looked into, in milliseconds: a request that was made in time may
/// be answered later.
pub(crate) const LETTERS_MS: u64 = 14 * 86_400_000;
/// The most mailboxes of invitations that are followed, those that end last.
pub(crate) const LETTERBOXES_FOLLOWED_MAX: usize = 64;

/// All mailboxes of invitations that are not over.
#[derive(Default)]
pub(super) struct Letters {
    boxes: BTreeMap<InvitationId, Letterbox>,
    /// Changes with which there are.
    version: u64,
    /// Whether requests wait at other relays than before.
    relays_changed: bool,
}

/// The mailbox of an invitation, as one side of it sees it.
struct Letterbox {
    mailbox: Mailbox,
    side: Side,
    /// Until when it is followed, in Unix milliseconds.
    until_ms: u64,
    /// What this device keeps there, and which request each belongs to.
    letters: BTreeMap<EntryId, [u8; 32]>,
    /// Which of these some relay is known to have, since the engine was opened.
    kept: BTreeSet<EntryId>,
}

enum Side {
    Asks(Box<asking::Ask>),
    Answers,
}

impl Letters {
    /// Changes with the mailboxes to follow.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether requests wait at other relays since this was last asked.
    pub(super) fn take_relays_changed(&mut self) -> bool {
        std::mem::take(&mut self.relays_changed)
    }

    /// When something is over though nothing arrives.
    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.boxes.values().filter(|known| matches!(known.side, Side::Asks(_))).map(|known| known.until_ms).min()
    }

    fn open(&mut self, id: InvitationId, circle: CircleId, secret: &[u8; 32], side: Side, expires_ms: u64) {
        let key = MailboxKey::of_invitation(secret);
        let mailbox = Mailbox { id: key.id(), key: Arc::new(key), circle, epoch: None, invitation: Some(id) };
        let until_ms = expires_ms.saturating_add(LETTERS_MS);
        let known = Letterbox { mailbox, side, until_ms, letters: BTreeMap::new(), kept: BTreeSet::new() };
        self.boxes.insert(id, known);
        self.version += 1;
        self.relays_changed = true;
    }
}

impl Engine {
    /// Takes up the mailboxes of invitations as the engine opens, and forgets what is over.
    pub(super) fn load_letters(&mut self) -> Result<(), EngineError> {
        for (suffix, record) in self.desk.store.all(Keyspace::Invitations, &[])? {
            let record = local::Invitation::decode(record.as_slice())?;
            let id = InvitationId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            self.open_letterbox(id, &record);
        }
        for (suffix, record) in self.desk.store.all(Keyspace::Asks, &[])? {
            let id = InvitationId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            self.load_ask(id, &local::Ask::decode(record.as_slice())?)?;
        }
        for suffix in self.desk.store.suffixes(Keyspace::Letters, &[])? {
            let (id, request, letter) = read_suffix(&suffix).ok_or(EngineError::Damaged)?;
            match self.letters.boxes.get_mut(&id) {
                Some(known) => drop(known.letters.insert(letter, request)),
                None => self.desk.remove(Key::new(Keyspace::Letters, [], suffix)),
            }
        }
        Ok(())
    }

    /// Looks into the mailbox of an invitation that this device made from now on, unless it is over.
    pub(super) fn open_letterbox(&mut self, id: InvitationId, record: &local::Invitation) {
        let is_over = record.expires_ms.saturating_add(LETTERS_MS) < self.desk.now_ms;
        let circle = CircleId::try_from(record.circle.as_slice());
        let secret = <[u8; 32]>::try_from(record.secret.as_slice());
        if let (None, false, Ok(circle), Ok(secret)) = (&record.link, is_over, circle, secret) {
            self.letters.open(id, circle, &secret, Side::Answers, record.expires_ms);
        }
    }

    /// The relays at which an invitation to a circle can be taken up.
    pub(super) fn relays_for_links(&self, circle: CircleId) -> Vec<RelayAddress> {
        let space = self.space_around(&circle).and_then(|space| self.circles.get(&space));
        let relays = space.map(|space| space.log.membership().relays()).unwrap_or_default();
        relays.into_values().take(LINK_RELAYS_MAX).collect()
    }

    /// The mailboxes of invitations to follow at a relay.
    pub(crate) fn letterboxes_at(&self, relay: &DeviceId) -> Vec<Mailbox> {
        let mut found: Vec<_> = self.letterboxes_served(relay).map(|(_, known)| known).collect();
        // What this device waits for before what others may.
        found.sort_by_key(|known| (matches!(known.side, Side::Answers), std::cmp::Reverse(known.until_ms)));
        found.into_iter().take(LETTERBOXES_FOLLOWED_MAX).map(|known| known.mailbox.clone()).collect()
    }

    fn letterboxes_served(&self, relay: &DeviceId) -> impl Iterator<Item = (&InvitationId, &Letterbox)> {
        let is_served = |id: &InvitationId, known: &Letterbox| match known.side {
            Side::Asks(_) => {
                let asking = self.joins.asking.get(id);
                asking.is_some_and(|asking| asking.link.relays.iter().any(|address| address.relay() == *relay))
            }
            Side::Answers => self.serves(relay, &known.mailbox.circle),
        };
        let now_ms = self.desk.now_ms;
        self.letters.boxes.iter().filter(move |(id, known)| known.until_ms >= now_ms && is_served(id, known))
    }

    /// How many answers to requests to come into a circle no relay is known to have.
    pub(super) fn letters_waiting(&self, circle: CircleId) -> usize {
        let answers = |known: &&Letterbox| known.mailbox.circle == circle && matches!(known.side, Side::Answers);
        let waiting = |known: &Letterbox| known.letters.keys().filter(|letter| !known.kept.contains(*letter)).count();
        self.letters.boxes.values().filter(answers).map(waiting).sum()
    }

    /// Takes what a relay delivered from the mailbox of an invitation. Whether some of it is to be looked at again later.
    pub(crate) fn take_letters(&mut self, id: InvitationId, sealed: &[Vec<u8>]) -> bool {
        let mut again = false;
        for letter in sealed {
            let Some(known) = self.letters.boxes.get(&id) else { break };
            if known.letters.contains_key(&crate::entry::entry_id(letter)) {
                continue;
            }
            let taken = match known.side {
                Side::Asks(_) => self.take_answer_letter(id, letter).map(|()| false),
                Side::Answers => self.take_request_letter(id, letter),
            };
            again |= taken.unwrap_or_else(|refusal| {
                self.desk.refuse(refusal);
                false
            });
        }
        again
    }

    /// Keeps a letter in the mailbox of an invitation.
    fn post_letter(&mut self, id: InvitationId, request: [u8; 32], sealed: Vec<u8>) {
        let letter = crate::entry::entry_id(&sealed);
        if let Some(known) = self.letters.boxes.get_mut(&id) {
            known.letters.insert(letter, request);
            self.desk.put(letter_key(&id, &request, &letter), sealed);
        }
    }

    /// Leaves the mailbox of an invitation, and what this device kept there to the relays.
    fn close_letterbox(&mut self, id: &InvitationId) {
        if let Some(known) = self.letters.boxes.remove(id) {
            self.letters.version += 1;
            self.letters.relays_changed = true;
            for (letter, request) in known.letters {
                self.desk.remove(letter_key(id, &request, &letter));
            }
        }
    }
}

/// What both know of a letter with a request, before they read it.
pub(crate) fn request_context(id: InvitationId, circle: CircleId, inviter: DeviceId) -> Vec<u8> {
    [b"request".as_slice(), &join::prologue(id, circle, inviter)].concat()
}

/// The same of one with an answer: which request it answers.
pub(crate) fn answer_context(id: InvitationId, circle: CircleId, inviter: DeviceId, request: &[u8; 32]) -> Vec<u8> {
    [b"answer".as_slice(), &join::prologue(id, circle, inviter), request].concat()
}

fn letter_key(id: &InvitationId, request: &[u8; 32], letter: &EntryId) -> Key {
    Key::new(Keyspace::Letters, [], [id.as_bytes().as_slice(), request, letter.as_bytes()].concat())
}

fn read_suffix(suffix: &[u8]) -> Option<(InvitationId, [u8; 32], EntryId)> {
    let (id, rest) = suffix.split_at_checked(16)?;
    let (request, letter) = rest.split_at_checked(32)?;
    let letter = EntryId::from_bytes(letter.try_into().ok()?);
    Some((InvitationId::try_from(id).ok()?, request.try_into().ok()?, letter))
}
