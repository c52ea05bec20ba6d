//! The side of an invitation that hands it out: making, listing and taking back; `answering.rs` answers who takes it up.

use prost::Message as _;
use zeroize::Zeroizing;

use super::*;
use crate::Key;
use crate::identity::check_name;
use crate::link::InviteLink;
use crate::membership::Right;
use crate::proto::invitation::join_frame::Body as FrameBody;
use crate::proto::local;

mod answering;

pub(super) use answering::check_entry;

/// An invitation as its maker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationInfo {
    /// Which.
    pub id: InvitationId,
    /// Unix milliseconds.
    pub expires_ms: u64,
    /// What has become of it.
    pub state: InvitationState,
}

/// What has become of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvitationState {
    /// Not taken up.
    Open,
    /// Taken up by this device.
    Used(DeviceId),
    /// Taken back.
    Revoked,
    /// Over.
    Expired,
}

impl Engine {
    /// Command: makes an invitation to a circle that works once, until `valid_ms` from now.
    ///
    /// # Errors
    /// If this device is not in the circle or may not invite.
    pub fn invite(&mut self, circle: CircleId, valid_ms: u64, now_ms: u64) -> Result<InviteLink, EngineError> {
        self.begin(now_ms)?;
        let me = self.desk.me();
        let (space, _) = self.circle_mut(circle)?;
        if !space.log.membership().may(me, Right::Invite) {
            return Err(EngineError::MayNotInvite);
        }
        space.refuse_apart()?;
        let (space_name, suite) = (space.log.membership().name.clone(), space.suite());
        // A newcomer's terminal shows it before there is a circle that says who named it so.
        let space_name = check_name(&space_name).unwrap_or_default().to_owned();
        let relays = self.relays_for_links(circle);
        let link = InviteLink {
            invitation: InvitationId::from_bytes(self.desk.entropy.bytes()),
            circle,
            inviter: me,
            expires_ms: now_ms.saturating_add(valid_ms),
            addresses: self.addresses.get(&me).cloned().unwrap_or_default(),
            space_name,
            suite,
            noise: (!relays.is_empty()).then(|| self.desk.device.noise_public()),
            relays,
            secret: Zeroizing::new(self.desk.entropy.bytes()),
        };
        let record = local::Invitation {
            circle: circle.as_bytes().to_vec(),
            secret: link.secret.to_vec(),
            expires_ms: link.expires_ms,
            ..Default::default()
        };
        self.store_invitation(link.invitation, &record);
        self.open_letterbox(link.invitation, &record);
        self.finish();
        Ok(link)
    }

    /// Command: takes an invitation back. One that was used stays used: remove the person instead.
    ///
    /// # Errors
    /// If this device made no such invitation.
    pub fn revoke_invitation(&mut self, id: InvitationId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let mut record = self.load_invitation(id)?.ok_or(EngineError::NoSuchInvitation)?;
        record.revoked = true;
        self.store_invitation(id, &record);
        self.finish();
        Ok(())
    }

    /// The invitations to a circle that this device made, as they stand at a time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn invitations(&self, circle: CircleId, now_ms: u64) -> Result<Vec<InvitationInfo>, EngineError> {
        let mut invitations = Vec::new();
        for (suffix, record) in self.desk.store.all(Keyspace::Invitations, &[])? {
            let record = local::Invitation::decode(record.as_slice())?;
            if record.circle == circle.as_bytes() {
                let id = InvitationId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
                let state = state_of(&record, now_ms);
                invitations.push(InvitationInfo { id, expires_ms: record.expires_ms, state });
            }
        }
        Ok(invitations)
    }

    pub(super) fn usable_invitation(&self, peer: DeviceId, id: InvitationId) -> Result<local::Invitation, JoinError> {
        let record = self.load_invitation(id).ok().flatten().ok_or(JoinError::Unknown)?;
        match state_of(&record, self.desk.now_ms) {
            InvitationState::Used(device) if device != peer => Err(JoinError::Used),
            InvitationState::Used(_) | InvitationState::Open => Ok(record),
            InvitationState::Revoked => Err(JoinError::Revoked),
            InvitationState::Expired => Err(JoinError::Expired),
        }
    }

    pub(super) fn load_invitation(&self, id: InvitationId) -> Result<Option<local::Invitation>, EngineError> {
        let record = self.desk.store.read(&Key::new(Keyspace::Invitations, [], id.as_bytes()))?;
        Ok(record.map(|record| local::Invitation::decode(record.as_slice())).transpose()?)
    }

    pub(super) fn store_invitation(&mut self, id: InvitationId, record: &local::Invitation) {
        self.desk.put(Key::new(Keyspace::Invitations, [], id.as_bytes()), record.encode_to_vec());
    }

    pub(super) fn refuse_join(&mut self, peer: DeviceId, id: InvitationId, attempt: u64, error: JoinError) {
        self.send_join(peer, id, attempt, FrameBody::Refused(error as u32));
    }
}

fn state_of(record: &local::Invitation, now_ms: u64) -> InvitationState {
    match DeviceId::try_from(record.used_by.as_slice()) {
        Ok(device) => InvitationState::Used(device),
        Err(_) if record.revoked => InvitationState::Revoked,
        Err(_) if record.expires_ms < now_ms => InvitationState::Expired,
        Err(_) => InvitationState::Open,
    }
}
