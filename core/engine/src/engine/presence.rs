//! Presence: who is in a document just now, and where; in a chat, who is writing.
//!
//! It is said in frames to the members that are connected, sealed under the head of the circle, and kept by nobody: no store,
//! no relay and no reconciliation knows of it. What is said holds for [`PRESENCE_EXPIRES_MS`] and is said again before; it ends
//! at once when the device leaves, disconnects, or is in the circle no more. Rules P of `docs/validation.md`.

use std::str::FromStr as _;

use clave_crdt::{Cursor, DocumentKind};
use clave_crypto::{KeyId, PersonId, Salt};
use prost::Message as _;

use super::*;
use crate::Refusal;
use crate::circle::documents::kind_of;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;

/// The documents that a device can be in at a time. Who comes into one more leaves the one said longest ago.
pub const PLACES_MAX: usize = 8;
/// The least time between two frames about one document, in milliseconds: what happens within it is said as one.
pub const PRESENCE_EVERY_MS: u64 = 250;
/// How often what goes on is said again, in milliseconds.
pub const PRESENCE_RENEW_MS: u64 = 10_000;
/// How long what was said holds unless it is said again, in milliseconds.
pub const PRESENCE_EXPIRES_MS: u64 = 30_000;
/// How long somebody counts as writing after they last typed, in milliseconds.
pub const TYPING_MS: u64 = 6_000;

/// The documents in which another device is believed to be: those it is in, and those it is about to leave.
pub(crate) const PLACES_HEARD_MAX: usize = 2 * PLACES_MAX;
/// Devices of whom it is remembered where they are.
pub(crate) const DEVICES_MAX: usize = 256;
/// The longest ciphertext, in bytes.
pub(crate) const CIPHERTEXT_BYTES_MAX: usize = 512;
/// The longest cursor, in bytes of its text form.
const CURSOR_BYTES_MAX: usize = 96;
/// Frames that a device may say at once, and how many milliseconds give it one more.
pub(crate) const BURST_MAX: u64 = 128;
const FRAME_EVERY_MS: u64 = PRESENCE_EVERY_MS / PLACES_MAX as u64;
/// Frames that a peer may leave unread before presence is no longer said to it: it is the least of what it misses.
const UNREAD_MAX: usize = 16;

/// Which document, in which circle.
type Place = (CircleId, DocumentId, DocumentKind);

/// What somebody selected in a note; both are the same if it is a cursor and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Where it was begun.
    pub anchor: Cursor,
    /// Where its cursor is.
    pub focus: Cursor,
}

/// A device of somebody who is in a document just now.
#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    /// Who.
    pub person: PersonId,
    /// How they are called.
    pub name: String,
    /// By which device.
    pub device: DeviceId,
    /// Where in a note; nothing, if they only look at it. In a chat, who is present is writing.
    pub selection: Option<Selection>,
}

/// Where this device is, and where others are.
#[derive(Default)]
pub(super) struct Presence {
    mine: BTreeMap<Place, Mine>,
    others: BTreeMap<DeviceId, Heard>,
}

/// Where this device is.
struct Mine {
    selection: Option<Selection>,
    /// When somebody here last typed, in a chat.
    typed_ms: Option<u64>,
    said_ms: Option<u64>,
    is_news: bool,
    left: bool,
}

/// What was heard of a device.
struct Heard {
    places: BTreeMap<Place, Theirs>,
    /// Up to when, in milliseconds, its frames are paid for: each costs [`FRAME_EVERY_MS`].
    paid_ms: u64,
}

struct Theirs {
    selection: Option<Selection>,
    heard_ms: u64,
}

/// Whether less than `time_ms` have passed. If the clock was set back, it is taken that they have.
fn is_within(since_ms: u64, time_ms: u64, now_ms: u64) -> bool {
    now_ms.checked_sub(since_ms).is_some_and(|passed_ms| passed_ms < time_ms)
}

impl Mine {
    fn is_writing(&self, now_ms: u64) -> bool {
        self.typed_ms.is_none_or(|typed_ms| is_within(typed_ms, TYPING_MS, now_ms))
    }

    /// When it is to be said next.
    fn due_ms(&self) -> u64 {
        let wait_ms = if self.is_news || self.left { PRESENCE_EVERY_MS } else { PRESENCE_RENEW_MS };
        self.said_ms.map_or(0, |said_ms| said_ms.saturating_add(wait_ms))
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.due_ms() <= now_ms || self.said_ms.is_some_and(|said_ms| said_ms > now_ms)
    }
}

impl Presence {
    /// When something is to be said, or ends.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let mine = self.mine.values().map(|mine| {
            let typed_ms = mine.typed_ms.filter(|_| !mine.left);
            mine.due_ms().min(typed_ms.map_or(u64::MAX, |typed_ms| typed_ms.saturating_add(TYPING_MS)))
        });
        let heard = self.others.values().flat_map(|heard| heard.places.values());
        mine.chain(heard.map(|theirs| theirs.heard_ms.saturating_add(PRESENCE_EXPIRES_MS))).min()
    }

    /// Whether a device may say one more thing now.
    fn pays(&mut self, device: DeviceId, now_ms: u64) -> bool {
        let most_ms = BURST_MAX * FRAME_EVERY_MS;
        let heard = self.others.entry(device).or_insert(Heard { places: BTreeMap::new(), paid_ms: now_ms });
        // What was not used adds up to a burst; a clock that was set back forgives.
        let paid_ms = if is_within(now_ms, most_ms + 1, heard.paid_ms) { heard.paid_ms } else { now_ms };
        let is_paid = paid_ms.saturating_add(FRAME_EVERY_MS) <= now_ms.saturating_add(most_ms);
        heard.paid_ms = if is_paid { paid_ms + FRAME_EVERY_MS } else { paid_ms };
        is_paid
    }

    /// Lets go of where others were, unless `stays` says otherwise, and tells of it.
    fn end(&mut self, events: &mut Vec<Event>, stays: impl Fn(&DeviceId, &Place, &Theirs) -> bool) {
        for (device, heard) in &mut self.others {
            heard.places.retain(|place, theirs| {
                let stays = stays(device, place, theirs);
                if !stays {
                    let (circle, document, kind) = *place;
                    events.push(Event::PresenceChanged { circle, document, kind });
                }
                stays
            });
        }
    }
}

impl Engine {
    /// Command: this person is in a note, with this selection or only looking at it, or is writing in a chat (whose name is
    /// its document 0). Others who are connected see it until [`disappear`](Self::disappear), the end of the connection, or
    /// [`TYPING_MS`] after the last call for a chat. Nothing of it is stored. Call it as often as something changes.
    ///
    /// # Errors
    /// If this device is not in the circle, or the document is no note and no chat.
    pub fn appear(
        &mut self,
        (circle, document, kind): (CircleId, DocumentId, DocumentKind),
        selection: Option<Selection>,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        if !self.circles.contains_key(&circle) {
            return Err(EngineError::NoSuchCircle);
        }
        let is_chat = kind == DocumentKind::Timeline;
        if !is_chat && kind != DocumentKind::Note || is_chat && selection.is_some() {
            return Err(EngineError::Malformed);
        }
        let place = (circle, document, kind);
        let before = self.presence.mine.get(&place);
        let is_news = before.is_none_or(|mine| mine.is_news || mine.left || mine.selection != selection);
        let said_ms = before.and_then(|mine| mine.said_ms);
        let mine = Mine { selection, typed_ms: is_chat.then_some(now_ms), said_ms, is_news, left: false };
        self.presence.mine.insert(place, mine);
        self.leave_oldest(place);
        self.tend_presence();
        self.finish();
        Ok(())
    }

    /// Command: this person is no longer in a document, or stopped writing in a chat.
    pub fn disappear(&mut self, circle: CircleId, document: DocumentId, kind: DocumentKind, now_ms: u64) {
        if let Some(mine) = self.presence.mine.get_mut(&(circle, document, kind)) {
            self.desk.now_ms = now_ms;
            mine.left = true;
            self.tend_presence();
            self.finish();
        }
    }

    /// Whose devices are in a document just now, but for this one, by name.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn who_is_in(
        &self,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
    ) -> Result<Vec<Present>, EngineError> {
        let membership = self.membership(circle)?;
        let mut present = Vec::new();
        for (device, heard) in &self.presence.others {
            let theirs = heard.places.get(&(circle, document, kind));
            if let (Some(theirs), Some(person)) = (theirs, membership.person_of(*device)) {
                let name = membership.people.get(&person).map(|known| known.name.clone()).unwrap_or_default();
                present.push(Present { person, name, device: *device, selection: theirs.selection.clone() });
            }
        }
        present.sort_by(|a, b| (&a.name, a.person, a.device).cmp(&(&b.name, b.person, b.device)));
        Ok(present)
    }

    /// Keeps the number of places within its bound.
    fn leave_oldest(&mut self, newest: Place) {
        let stays = |(place, mine): &(&Place, &mut Mine)| !mine.left && **place != newest;
        if self.presence.mine.values().filter(|mine| !mine.left).count() > PLACES_MAX {
            let oldest = self.presence.mine.iter_mut().filter(stays).min_by_key(|(_, mine)| mine.said_ms);
            if let Some((_, mine)) = oldest {
                mine.left = true;
            }
        }
    }

    /// Says what is due, and lets go of what was not said again.
    pub(super) fn tend_presence(&mut self) {
        let now_ms = self.desk.now_ms;
        let is_fresh = |theirs: &Theirs| is_within(theirs.heard_ms, PRESENCE_EXPIRES_MS, now_ms);
        self.presence.end(&mut self.desk.events, |_, _, theirs| is_fresh(theirs));
        for mine in self.presence.mine.values_mut() {
            mine.left |= !mine.is_writing(now_ms);
        }
        let due = self.presence.mine.iter().filter(|(_, mine)| mine.is_due(now_ms));
        for place in due.map(|(place, _)| *place).collect::<Vec<_>>() {
            let peers = self.ready_peers_that(|peer| peer.hears_presence && peer.unread < UNREAD_MAX);
            self.say_presence(&place, &peers);
            match self.presence.mine.get_mut(&place) {
                Some(mine) if mine.left => _ = self.presence.mine.remove(&place),
                Some(mine) => (mine.said_ms, mine.is_news) = (Some(now_ms), false),
                None => {}
            }
        }
    }

    /// Says to a peer that just came where this device is in a circle.
    pub(super) fn show_presence(&mut self, peer: DeviceId, circle: CircleId) {
        if self.peers.get(&peer).is_some_and(|peer| peer.hears_presence) {
            let said = self.presence.mine.iter().filter(|((of, ..), mine)| *of == circle && mine.said_ms.is_some());
            for place in said.map(|(place, _)| *place).collect::<Vec<_>>() {
                self.say_presence(&place, &[peer]);
            }
        }
    }

    /// Under another head, others hear only what is said anew.
    pub(super) fn follow_epochs(&mut self) {
        for event in &self.desk.events {
            if let Event::EpochChanged { circle, .. } = event {
                let mine = self.presence.mine.iter_mut().filter(|((of, ..), _)| of == circle);
                mine.for_each(|(_, mine)| mine.is_news = true);
            }
        }
    }

    fn say_presence(&mut self, place: &Place, peers: &[DeviceId]) {
        let (id, document, kind) = *place;
        let (Some(circle), Some(mine)) = (self.circles.get(&id), self.presence.mine.get(place)) else { return };
        let peers: Vec<DeviceId> = peers.iter().filter(|peer| self.speaks_of(peer, &id)).copied().collect();
        let Some(key) = circle.passing_key(&self.desk.me()).filter(|_| !peers.is_empty()) else { return };
        let cursor = |cursor: fn(&Selection) -> &Cursor| {
            mine.selection.as_ref().filter(|_| !mine.left).map_or_else(String::new, |all| cursor(all).to_string())
        };
        let here = proto::Here {
            document: document.as_bytes().to_vec(),
            kind: kind.number().into(),
            left: mine.left,
            anchor: cursor(|selection| &selection.anchor),
            focus: cursor(|selection| &selection.focus),
        };
        let said = seal(id, self.desk.device.id(), key, &here.encode_to_vec(), &mut self.desk.entropy);
        for peer in peers {
            self.send(peer, Channel::Sync, Body::Presence(said.clone()));
        }
    }

    /// Where a peer says that it is.
    pub(super) fn take_presence(&mut self, peer: DeviceId, said: &proto::Presence) -> Result<(), Refusal> {
        let id = self.shared(peer, &said.circle)?;
        let now_ms = self.desk.now_ms;
        if self.presence.others.len() >= DEVICES_MAX && !self.presence.others.contains_key(&peer) {
            return Ok(());
        }
        if !self.presence.pays(peer, now_ms) {
            return Err(Refusal::TooOften);
        }
        if said.ciphertext.len() > CIPHERTEXT_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        let tag = KeyId::try_from(said.tag.as_slice()).map_err(|_| Refusal::Malformed)?;
        let salt: Salt = said.salt.as_slice().try_into().map_err(|_| Refusal::Malformed)?;
        let circle = self.circles.get(&id).ok_or(Refusal::NotAMember)?;
        // One of the two is a commit behind: it is said again under the head that both come to.
        let Some(key) = circle.passing_key(&self.desk.me()).filter(|key| key.key_id() == tag) else { return Ok(()) };
        let here = key.open_passing(&salt, &context(id, &peer, &tag), &said.ciphertext);
        let here = proto::Here::decode(here.map_err(|_| Refusal::BadSeal)?.as_slice());
        self.take_here(peer, id, &here.map_err(|_| Refusal::Malformed)?)
    }

    fn take_here(&mut self, peer: DeviceId, circle: CircleId, here: &proto::Here) -> Result<(), Refusal> {
        let document = DocumentId::try_from(here.document.as_slice()).map_err(|_| Refusal::Malformed)?;
        let kind = kind_of(here.kind).filter(|kind| matches!(kind, DocumentKind::Timeline | DocumentKind::Note));
        let kind = kind.ok_or(Refusal::UnknownBody)?;
        let selection = selection_of(here)?;
        if selection.is_some() && (here.left || kind != DocumentKind::Note) {
            return Err(Refusal::Malformed);
        }
        let heard_ms = self.desk.now_ms;
        let places = &mut self.presence.others.get_mut(&peer).expect("take_presence() put it there").places;
        let place = (circle, document, kind);
        let is_news = if here.left {
            places.remove(&place).is_some()
        } else {
            if places.len() >= PLACES_HEARD_MAX && !places.contains_key(&place) {
                return Err(Refusal::TooManyHeld);
            }
            let before = places.insert(place, Theirs { selection: selection.clone(), heard_ms });
            before.is_none_or(|before| before.selection != selection)
        };
        if is_news {
            self.desk.events.push(Event::PresenceChanged { circle, document, kind });
        }
        Ok(())
    }

    /// A device disconnected.
    pub(super) fn lose_presence_of(&mut self, peer: &DeviceId) {
        self.presence.end(&mut self.desk.events, |device, _, _| device != peer);
        self.presence.others.remove(peer);
    }

    /// Rosters changed: who is out is nowhere, this device included.
    pub(super) fn end_presence_of_former(&mut self) {
        let me = self.desk.me();
        let is_in = |(circle, ..): &Place, device: &DeviceId| {
            self.circles.get(circle).is_some_and(|known| known.is_member(device) && known.is_member(&me))
        };
        self.presence.end(&mut self.desk.events, |device, place, _| is_in(place, device));
        self.presence.mine.retain(|place, _| is_in(place, &me));
    }
}

/// Seals where a device is.
pub(crate) fn seal(
    circle: CircleId,
    device: DeviceId,
    key: &clave_crypto::ContentKey,
    here: &[u8],
    entropy: &mut Entropy,
) -> proto::Presence {
    let tag = key.key_id();
    let (salt, ciphertext) = key.seal_passing(entropy, &context(circle, &device, &tag), here);
    let (circle, tag) = (circle.as_bytes().to_vec(), tag.as_bytes().to_vec());
    proto::Presence { circle, tag, salt: salt.to_vec(), ciphertext }
}

/// What the seal is bound to: nobody passes on what another said.
fn context(circle: CircleId, device: &DeviceId, tag: &KeyId) -> Vec<u8> {
    [circle.as_bytes().as_slice(), device.as_bytes(), tag.as_bytes()].concat()
}

fn selection_of(here: &proto::Here) -> Result<Option<Selection>, Refusal> {
    if here.anchor.is_empty() && here.focus.is_empty() {
        return Ok(None);
    }
    let cursor = |text: &str| {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        Cursor::from_str(text).map_err(|_| Refusal::Malformed)
    };
    Ok(Some(Selection { anchor: cursor(&here.anchor)?, focus: cursor(&here.focus)? }))
}
