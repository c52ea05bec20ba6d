//! Keeping letters at relays: asks which of them a relay has, and puts the others.

use clave_mailbox::{self as wire, Reason, request};

use super::*;
use crate::engine::mailboxes::{Asked, Failed, Session};

/// How many letters are asked about at a time.
const ASKED_AT_ONCE: usize = 512;

/// What is known of a letter at one relay, in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Posted {
    /// The relay was asked whether it has it.
    Asked,
    /// It does not.
    Missing,
    /// It is on its way.
    Putting,
    /// The relay has it durably.
    There,
    /// The relay does not take it.
    Refused,
}

impl Engine {
    /// Asks a relay which letters it has, and puts one that it lacks.
    pub(in crate::engine) fn post_letters(&mut self, id: DeviceId, session: &mut Session) {
        if session.is_paused(self.desk.now_ms) || session.awaits(|asked| matches!(asked, Asked::Letter(..))) {
            return;
        }
        let is_open = |known: &Letterbox| session.open.get(&known.mailbox.id).is_some_and(|opened| opened.confirmed);
        let open = self.letterboxes_served(&id).filter(|(_, known)| is_open(known));
        let open: Vec<(InvitationId, MailboxId, Vec<EntryId>)> =
            open.map(|(id, known)| (*id, known.mailbox.id, known.letters.keys().copied().collect())).collect();
        for (invitation, mailbox, letters) in open {
            let unknown = letters.iter().filter(|letter| !session.letters.contains_key(*letter));
            let unknown: Vec<EntryId> = unknown.take(ASKED_AT_ONCE).copied().collect();
            if !unknown.is_empty() {
                session.letters.extend(unknown.iter().map(|letter| (*letter, Posted::Asked)));
                let get = wire::Get {
                    mailboxes: mailbox.as_bytes().to_vec().into(),
                    kind: wire::Kind::Entry.into(),
                    ids: unknown.iter().flat_map(|letter| letter.as_bytes().iter().copied()).collect::<Vec<_>>().into(),
                    only_whether: true,
                };
                self.ask(id, session, request::Body::Get(get), Asked::AreLetters(invitation, unknown));
            }
            let lacked = |letter: &&EntryId| session.letters.get(*letter) == Some(&Posted::Missing);
            if let Some(letter) = letters.iter().find(lacked)
                && self.put_letter(id, session, invitation, mailbox, *letter)
            {
                return;
            }
        }
    }

    fn put_letter(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        invitation: InvitationId,
        mailbox: MailboxId,
        letter: EntryId,
    ) -> bool {
        let known = self.letters.boxes.get(&invitation).and_then(|known| known.letters.get(&letter));
        let sealed = known.map(|request| self.desk.store.read(&letter_key(&invitation, request, &letter)));
        let Some(Ok(Some(sealed))) = sealed else { return false };
        session.letters.insert(letter, Posted::Putting);
        let put = wire::Put {
            mailbox: mailbox.as_bytes().to_vec().into(),
            kind: wire::Kind::Entry.into(),
            blobs: vec![sealed.into()],
        };
        self.ask(id, session, request::Body::Put(put), Asked::Letter(invitation, letter));
        true
    }

    /// A relay said which letters it has.
    pub(in crate::engine) fn take_letters_there(
        &mut self,
        session: &mut Session,
        invitation: InvitationId,
        asked: &[EntryId],
        blobs: &wire::Blobs,
    ) -> Result<(), Failed> {
        if blobs.blobs.is_empty() || blobs.blobs.len() > asked.len() {
            return Err(Failed::NONSENSE);
        }
        for (letter, blob) in asked.iter().zip(&blobs.blobs) {
            session.letters.insert(*letter, if blob.found { Posted::There } else { Posted::Missing });
            if blob.found {
                self.note_kept(invitation, *letter);
            }
        }
        for letter in &asked[blobs.blobs.len()..] {
            session.letters.remove(letter);
        }
        Ok(())
    }

    /// A relay has a letter durably.
    pub(in crate::engine) fn take_letter_stored(
        &mut self,
        session: &mut Session,
        invitation: InvitationId,
        letter: EntryId,
    ) {
        session.letters.insert(letter, Posted::There);
        self.note_kept(invitation, letter);
    }

    /// Some relay has a letter: tells the application, if that is what it waits for.
    fn note_kept(&mut self, invitation: InvitationId, letter: EntryId) {
        let Some(known) = self.letters.boxes.get_mut(&invitation) else { return };
        let (circle, is_news) = (known.mailbox.circle, known.kept.insert(letter));
        if matches!(known.side, Side::Asks(_)) {
            self.note_asked(invitation);
        } else if is_news && self.waiting_for_relays(circle) == 0 {
            self.desk.events.push(Event::Stored { circle });
        }
    }

    /// A relay refused to take letters, or to say which it has.
    pub(in crate::engine) fn take_letters_refused(
        &self,
        session: &mut Session,
        invitation: InvitationId,
        asked: &[EntryId],
        reason: Reason,
    ) {
        for letter in asked {
            let state = match (reason, session.letters.get(letter)) {
                (Reason::TooLarge | Reason::Blocked | Reason::Unsupported, Some(Posted::Putting)) => Posted::Refused,
                // Whatever it has is not stored twice.
                _ => Posted::Missing,
            };
            session.letters.insert(*letter, state);
        }
        if let (Reason::NotOpen, Some(known)) = (reason, self.letters.boxes.get(&invitation)) {
            session.open.remove(&known.mailbox.id);
        }
    }
}
