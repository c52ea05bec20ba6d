//! What comes out of the engine: what is to be done, and what the application is told.

use super::*;

/// Numbers a write until it is reported durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IoId(pub u64);

/// What a frame is about: each has a stream of its own, so that a file does not hold up a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Entries and reconciliation, between members.
    Sync,
    /// Taking up an invitation; the only channel for somebody who is not a member.
    Join,
    /// Chunks of files, between members.
    Bulk,
    /// Mailboxes, with relays.
    Mailbox,
}

/// What the engine wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Write this durably, then say so with [`Engine::handle_written`].
    Write {
        /// To be handed back.
        io: IoId,
        /// All of it or nothing.
        batch: Batch,
    },
    /// Send a frame, then say so with [`Engine::handle_sent`]. To a peer that is gone by now: drop it.
    Send {
        /// To whom.
        peer: DeviceId,
        /// On which stream.
        channel: Channel,
        /// In pieces, which are sent one after another: at most [`FRAME_BYTES_MAX`] bytes in all.
        frame: Vec<Bytes>,
    },
    /// From now on, accept sync and bulk frames from this peer.
    Permit(DeviceId),
    /// From now on, do not.
    Forbid(DeviceId),
    /// This device can probably be reached there.
    Addresses {
        /// Which device.
        device: DeviceId,
        /// Multiaddrs.
        addresses: Vec<String>,
    },
    /// From now on, be connected with this relay: it is wanted at this address. Frames of [`Channel::Mailbox`] are to be accepted from
    /// it.
    WantRelay {
        /// Its key.
        relay: DeviceId,
        /// A multiaddr with its `/p2p/`.
        address: String,
        /// Whether it is to carry circuits, too: a space that this device is in names it. If not, it only keeps mailboxes.
        circuits: bool,
    },
    /// No longer.
    DropRelay(DeviceId),
    /// End the connection with this relay: what was said on it leads nowhere. It is wanted still.
    HangUp(DeviceId),
    /// From now on, or no longer, dial whoever is discovered nearby: the device that answers a typed code may be anyone.
    Seek(bool),
    /// Something was erased because of the history policy of its circle: have the store overwrite or give back what it
    /// left behind ([`Store::compact`] in `clave`). May take its time, and need not be done each time at once.
    ///
    /// [`Store::compact`]: https://docs.rs/clave
    Compact,
    /// So many bytes are not needed any more, because a bundle holds what they said: the store may be compacted when they come
    /// to much of it. Nothing has to be overwritten.
    Freed(u64),
    /// Tell the application.
    Event(Event),
}

/// What the application is told. Everything it speaks of is durable by then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This device is now in a circle.
    Joined {
        /// Which circle.
        circle: CircleId,
        /// By which invitation.
        invitation: InvitationId,
    },
    /// A relay keeps the request to come in by an invitation: the inviter's device answers once it is online, whether this one
    /// is or not. Said once after each opening, for each invitation.
    JoinAsked {
        /// Which invitation.
        invitation: InvitationId,
    },
    /// The answer to an invitation is coming in.
    JoinProgress {
        /// Which invitation.
        invitation: InvitationId,
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// A device asks to be linked to this device's person, who wanted to be asked: answer with
    /// [`Engine::confirm_link`].
    LinkRequested {
        /// By which code.
        link: InvitationId,
        /// The device that asks.
        device: DeviceId,
        /// What it is called, by its own account.
        device_name: String,
        /// What it shows as well, unless somebody is between the two.
        sas: Sas,
    },
    /// A device that was let in has everything.
    DeviceLinked {
        /// By which code.
        link: InvitationId,
        /// The device.
        device: DeviceId,
    },
    /// This device asked to be linked, and waits for the person to confirm it on the other one.
    LinkPending {
        /// Whose device it would become, by the other's account.
        person_name: String,
        /// What the other shows as well, unless somebody is between the two.
        sas: Sas,
    },
    /// This device belongs to a person now. Their circles follow.
    Linked {
        /// The person.
        person: PersonId,
    },
    /// A circle of the person is coming in.
    LinkProgress {
        /// Circles that are here.
        done_circles: usize,
        /// Circles in all.
        total_circles: usize,
        /// Bytes of the one that is coming.
        done_bytes: u64,
        /// Bytes that it has in all.
        total_bytes: u64,
    },
    /// This device was added to a circle that its person is in.
    CircleLinked {
        /// Which circle.
        circle: CircleId,
    },
    /// This device has all circles of its person.
    LinkFinished,
    /// This device could not be linked.
    LinkFailed {
        /// Why, and what to do.
        error: LinkingError,
    },
    /// An invitation was refused.
    JoinFailed {
        /// Which invitation.
        invitation: InvitationId,
        /// Why, and what to do.
        error: JoinError,
    },
    /// This device, which was restored, was let in again and writes from now on.
    Rejoined {
        /// To which circle.
        circle: CircleId,
    },
    /// This device was removed from a circle. It keeps what it has and gets nothing more.
    Removed {
        /// Which circle.
        circle: CircleId,
    },
    /// A verification began or came further.
    VerificationChanged {
        /// The circle in which the two met.
        circle: CircleId,
        /// The other device.
        device: DeviceId,
        /// How far it is.
        step: verify::VerificationStep,
    },
    /// This person read on, here or on another device of theirs.
    ReadChanged {
        /// In which circle.
        circle: CircleId,
    },
    /// Both sides said that they see the same: this person is verified here from now on.
    PersonVerified {
        /// The circle in which the two met.
        circle: CircleId,
        /// Who.
        person: clave_crypto::PersonId,
    },
    /// A verification came to nothing.
    VerificationFailed {
        /// The other device.
        device: DeviceId,
        /// Why.
        why: verify::VerificationFailure,
    },
    /// How far messages of this device are known to have come changed: see [`Engine::message_states`].
    ReachChanged {
        /// In which circle.
        circle: CircleId,
    },
    /// A relay of this device's spaces has become wrong somehow, or is well again.
    RelayChanged {
        /// The relay's key.
        relay: DeviceId,
        /// What is wrong, and what to do; none if nothing is.
        error: Option<RelayError>,
    },
    /// How a relay gets on with waking this device changed: see [`Engine::push_health`].
    PushChanged {
        /// The relay's key.
        relay: DeviceId,
    },
    /// A circle was muted, or is not any more.
    MuteChanged {
        /// Which circle.
        circle: CircleId,
    },
    /// All that this device made in a circle is at a relay by now: others get it, whoever is online when.
    Stored {
        /// Which circle.
        circle: CircleId,
    },
    /// Somebody brought this device into a circle of a space.
    CircleJoined {
        /// The space.
        space: CircleId,
        /// Which circle.
        circle: CircleId,
    },
    /// A guest's stay ends soon: a day before, and an hour before.
    GrantEnds {
        /// In which circle.
        circle: CircleId,
        /// Whose.
        person: clave_crypto::PersonId,
        /// When, in Unix milliseconds.
        expires_ms: u64,
    },
    /// This device is called something else from now on: its person renamed it, here or on another device of theirs.
    Renamed {
        /// How.
        name: String,
    },
    /// Something about people, devices, roles or policies changed.
    MembershipChanged {
        /// Which circle.
        circle: CircleId,
    },
    /// Entries are sealed under another epoch from now on.
    EpochChanged {
        /// Which circle.
        circle: CircleId,
        /// The new head.
        epoch: EpochId,
    },
    /// A device was seen to use the keys in use for the first time.
    KeysConfirmed {
        /// In which circle.
        circle: CircleId,
        /// Which device.
        device: DeviceId,
    },
    /// A document changed, here or elsewhere.
    DocumentChanged {
        /// In which circle.
        circle: CircleId,
        /// Which document.
        document: DocumentId,
        /// Of which kind.
        kind: clave_crdt::DocumentKind,
    },
    /// Somebody came to a document, left it, or moved in it: see [`Engine::who_is_in`].
    PresenceChanged {
        /// In which circle.
        circle: CircleId,
        /// Which document; of a chat, its document 0.
        document: DocumentId,
        /// Of which kind.
        kind: clave_crdt::DocumentKind,
    },
    /// A member's device connected or left.
    Presence {
        /// Which device.
        device: DeviceId,
        /// Whether it is connected now.
        online: bool,
    },
    /// Reconciliation with a peer found no difference that is not on its way.
    Reconciled {
        /// With whom.
        device: DeviceId,
        /// About which circle.
        circle: CircleId,
    },
    /// A fetch came further.
    FetchProgress {
        /// Which fetch.
        fetch: FetchId,
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// What could be fetched is here, but the manifest of a file is not what its drive says: that one cannot be fetched
    /// from anybody.
    FetchFailed {
        /// Which fetch.
        fetch: FetchId,
    },
    /// Every chunk of the files is here.
    Fetched {
        /// Which fetch.
        fetch: FetchId,
    },
}

/// The greatest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;
