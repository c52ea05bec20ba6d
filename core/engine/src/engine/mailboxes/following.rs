//! Opening mailboxes, and taking in what is delivered from them.

use clave_crypto::MailboxId;

use super::session::Opened;
use super::*;

/// How often the mailboxes to follow are worked out although nothing changed, in milliseconds: epochs grow old.
const FOLLOW_AGAIN_MS: u64 = 3_600_000;
/// How many of a session's mailboxes are left for those that are only written to.
const WRITTEN_MAX: usize = 64;

impl Engine {
    /// Opens what is to be followed and closes what is not any more.
    pub(super) fn open_mailboxes(&mut self, id: DeviceId, session: &mut Session) {
        if !self.work_out_followed(id, session) || session.is_paused(self.desk.now_ms) {
            return;
        }
        let followed: BTreeSet<MailboxId> = session.followed.iter().map(|mailbox| mailbox.id).collect();
        let gone: Vec<MailboxId> = session
            .open
            .iter()
            .filter(|(mailbox, opened)| opened.confirmed && opened.follow && !followed.contains(mailbox))
            .map(|(mailbox, _)| *mailbox)
            .collect();
        self.close_mailboxes(id, session, &gone);
        let wanted = session.followed.iter().filter(|mailbox| {
            let known = session.open.get(&mailbox.id);
            !session.shunned.contains(&mailbox.id) && known.is_none_or(|known| !known.follow && !known.to_compare)
        });
        let wanted: Vec<Mailbox> = wanted.cloned().collect();
        let mut openings = Vec::with_capacity(wanted.len());
        for mailbox in wanted {
            if session.open.len() >= session.limit && !session.open.contains_key(&mailbox.id) {
                break;
            }
            let known = self.position(&id, &mailbox.id);
            let to_compare = session.here.as_mut().is_some_and(|here| here.contains_key(&mailbox.id));
            openings.push((mailbox, known.unwrap_or(0), !to_compare, to_compare));
        }
        self.ask_to_open(id, session, openings);
    }

    /// Works out what to follow, if that may have changed. `false`: nothing is to be done.
    fn work_out_followed(&mut self, id: DeviceId, session: &mut Session) -> bool {
        let (me, now_ms) = (self.desk.me(), self.desk.now_ms);
        let circles = self.circles_at(&id);
        let version: Vec<_> = circles.iter().map(|id| (*id, self.circles[id].followed_version(&me))).collect();
        let is_old = session.followed_at_ms.saturating_add(FOLLOW_AGAIN_MS) <= now_ms;
        let letters = self.letters.version();
        if version != session.followed_of || letters != session.followed_letters || is_old {
            // What could not be judged is delivered again.
            let again = session.open.iter().filter(|(_, opened)| opened.again && opened.confirmed);
            let again: Vec<MailboxId> = again.map(|(mailbox, _)| *mailbox).collect();
            self.close_mailboxes(id, session, &again);
            let mut by_circle = vec![self.letterboxes_at(&id)];
            for circle in circles {
                by_circle.extend(self.circles.get_mut(&circle).map(|circle| circle.followed(&self.desk)));
            }
            // What matters most of each circle before what matters less of any.
            let most = by_circle.iter().map(Vec::len).max().unwrap_or(0);
            let in_turn = (0..most).flat_map(|place| by_circle.iter().filter_map(move |all| all.get(place)));
            let room = session.limit.saturating_sub(WRITTEN_MAX.min(session.limit / 2));
            session.followed = in_turn.take(room).cloned().collect();
            (session.followed_of, session.followed_at_ms, session.followed_letters) = (version, now_ms, letters);
            let followed = session.followed.iter().map(|mailbox| mailbox.id).collect();
            self.prune_positions(&id, &followed);
        }
        let is_open =
            |mailbox: &Mailbox| session.open.get(&mailbox.id).is_some_and(|known| known.follow || known.to_compare);
        let following = session.open.values().filter(|opened| opened.follow || opened.to_compare).count();
        following != session.followed.len() || !session.followed.iter().all(is_open)
    }

    /// Asks for mailboxes to be open: after which position, whether to be delivered, whether to be compared.
    pub(super) fn ask_to_open(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        openings: Vec<(Mailbox, u64, bool, bool)>,
    ) {
        let State::Open { challenge, .. } = session.state else { return };
        let at_once = session.opens_at_once;
        for some in openings.chunks(at_once) {
            let mut asked = Vec::with_capacity(some.len());
            let mut mailboxes = Vec::with_capacity(some.len());
            for (mailbox, after, follow, to_compare) in some {
                let signature = mailbox.key.prove(id.as_bytes(), &challenge);
                mailboxes.push(wire::Opening {
                    mailbox: mailbox.id.as_bytes().to_vec().into(),
                    signature: signature.as_bytes().to_vec().into(),
                    after: *after,
                    follow: *follow,
                });
                asked.push(mailbox.id);
                let opened = Opened {
                    of: mailbox.clone(),
                    follow: *follow,
                    confirmed: false,
                    to_compare: *to_compare,
                    position: *after,
                    last: session.open.get(&mailbox.id).and_then(|known| known.last),
                    again: false,
                };
                session.open.insert(mailbox.id, opened);
            }
            self.ask(id, session, request::Body::Open(wire::Open { mailboxes }), Asked::Open(asked));
        }
    }

    pub(super) fn close_mailboxes(&mut self, id: DeviceId, session: &mut Session, gone: &[MailboxId]) {
        if !gone.is_empty() {
            session.wake.stir();
        }
        for some in gone.chunks(wire::OPEN_MAX) {
            some.iter().for_each(|mailbox| drop(session.open.remove(mailbox)));
            let mailboxes = some.iter().flat_map(|mailbox| mailbox.as_bytes().iter().copied()).collect::<Vec<_>>();
            self.ask(id, session, request::Body::Close(wire::Close { mailboxes: mailboxes.into() }), Asked::Close);
        }
    }

    /// Opens a mailbox to write to it, if there is room.
    pub(super) fn open_to_write(&mut self, id: DeviceId, session: &mut Session, mailbox: Mailbox) {
        if session.open.contains_key(&mailbox.id) || session.shunned.contains(&mailbox.id) {
            return;
        }
        let written = |opened: &Opened| !opened.follow && !opened.to_compare && opened.confirmed;
        if session.open.len() >= session.limit
            || session.open.values().filter(|opened| written(opened)).count() >= WRITTEN_MAX
        {
            if session.puts > 0 {
                return;
            }
            let idle = session.open.iter().filter(|(_, opened)| written(opened)).map(|(mailbox, _)| *mailbox);
            let idle: Vec<MailboxId> = idle.collect();
            self.close_mailboxes(id, session, &idle);
        }
        if session.open.len() < session.limit {
            self.ask_to_open(id, session, vec![(mailbox, 0, false, false)]);
        }
    }

    pub(super) fn take_opened(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        asked: &[MailboxId],
        opened: &wire::Opened,
    ) -> Result<(), Failed> {
        let named = opened.mailboxes.iter().map(|state| state.mailbox.as_ref());
        if !named.eq(asked.iter().map(|mailbox| mailbox.as_bytes().as_slice())) {
            return Err(Failed::NONSENSE);
        }
        for (mailbox, state) in asked.iter().zip(&opened.mailboxes) {
            // Closed again meanwhile.
            let Some(known) = session.open.get_mut(mailbox) else { continue };
            known.confirmed = true;
            known.last.get_or_insert(state.last);
            if known.to_compare {
                session.to_compare.push_back((*mailbox, state.last, state.entries));
            }
        }
        tracing::debug!(relay = %id.short(), mailboxes = asked.len(), "mailboxes are open");
        session.wake.stir();
        self.fetches.look_again();
        Ok(())
    }

    /// Takes in entries, and remembers in the same batch that it has them.
    pub(super) fn take_delivery(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        delivery: wire::Delivery,
    ) -> Result<(), Failed> {
        let mailbox = delivery.mailbox.as_ref().try_into().map(MailboxId::from_bytes).map_err(|_| Failed::NONSENSE)?;
        let Some(opened) = session.open.get_mut(&mailbox).filter(|opened| opened.follow) else {
            // It may have been closed while this was on its way.
            self.desk.refuse(Refusal::Unexpected);
            return Ok(());
        };
        let (mut envelopes, mut last) = (Vec::with_capacity(delivery.entries.len()), opened.position);
        for item in delivery.entries {
            if item.position <= last {
                return Err(Failed::NONSENSE);
            }
            last = item.position;
            envelopes.push(item.bytes.to_vec());
        }
        opened.position = last;
        match opened.of.invitation {
            Some(invitation) => {
                opened.again |= self.take_letters(invitation, &envelopes);
                // Shares of an answer are kept once all are there.
                if !opened.again && !self.asks_by_letter(&invitation) {
                    self.file_position(&id, &mailbox, last);
                }
            }
            None => {
                self.accept_relayed(id, mailbox, (opened.of.circle, opened.of.epoch), envelopes);
                self.file_position(&id, &mailbox, last);
            }
        }
        let position = wire::Position { mailbox: delivery.mailbox, position: last };
        let acknowledge = session.tell(request::Body::Acknowledge(wire::Acknowledge { positions: vec![position] }));
        self.say(id, &acknowledge);
        Ok(())
    }

    /// Has a circle judge what a relay gave, and offers what is news to the members that are connected.
    pub(super) fn accept_relayed(
        &mut self,
        id: DeviceId,
        mailbox: MailboxId,
        (circle, epoch): (CircleId, Option<EpochId>),
        envelopes: Vec<Vec<u8>>,
    ) {
        for envelope in &envelopes {
            self.wants.arrived(&crate::entry::entry_id(envelope));
        }
        let Some(known) = self.circles.get_mut(&circle) else { return };
        match known.accept_from_mailbox(id, (mailbox, epoch), envelopes, &mut self.desk) {
            Ok(false) => {}
            // It is asked for again when the two are compared.
            Ok(true) => self.set_compared(id, false),
            Err(error) => tracing::error!(circle = %circle.short(), %error, "entries of a relay could not be taken in"),
        }
    }
}
