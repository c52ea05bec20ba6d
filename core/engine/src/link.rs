//! Invitation links.

use std::fmt;
use std::str::FromStr;

use clave_crypto::{DeviceId, NoisePublicKey, Suite};
use prost::Message as _;
use zeroize::Zeroizing;

use crate::identity::check_name;
use crate::membership::RelayAddress;
use crate::proto::invitation as proto;
use crate::{CircleId, InvitationId};

const PREFIX: &str = "clave://join/";
const CHECK_BYTES: usize = 4;
/// The most relays that a link names.
pub(crate) const LINK_RELAYS_MAX: usize = 4;
/// The longest link that is looked at, in characters.
pub const LINK_CHARS_MAX: usize = 8_192;

/// An invitation as it is handed over: whoever holds it may join, once, until it expires.
///
/// Its text form is `clave://join/` and base64url; the last four bytes are a checksum, so that a link which lost a
/// character on its way is told from one that expired or was used. It holds the secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteLink {
    /// Which invitation.
    pub invitation: InvitationId,
    /// The circle it leads to.
    pub circle: CircleId,
    /// The device that answers.
    pub inviter: DeviceId,
    /// Unix milliseconds after which it is refused.
    pub expires_ms: u64,
    /// Multiaddrs at which the inviter was reachable.
    pub addresses: Vec<String>,
    /// The name of the space when the link was made.
    pub space_name: String,
    /// By what the circle agrees on its keys.
    pub suite: Suite,
    /// To what a request is sealed that waits at a relay; none if there is no relay.
    pub noise: Option<NoisePublicKey>,
    /// The relays of the space: there it can be taken up while the inviter is away.
    pub relays: Vec<RelayAddress>,
    pub(crate) secret: Zeroizing<[u8; 32]>,
}

/// Text that is not an invitation link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It does not begin like one.
    #[error("this is not a Clave invitation: a link begins with clave://join/")]
    NotALink,
    /// It is neither form of a code that links a device.
    #[error(
        "this does not link a device: on the other device choose to link one, and copy the link or type the 24 characters"
    )]
    NotALinkCode,
    /// A character of a typed code is wrong.
    #[error("a character of the code is wrong: compare it with what the other device shows")]
    MistypedCode,
    /// It was cut short or altered.
    #[error("this link is incomplete or was altered on its way: have it sent again, as a whole")]
    Damaged,
}

impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteLink({:?} by {:?})", self.invitation, self.inviter)
    }
}

impl fmt::Display for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(PREFIX, &self.to_proto()))
    }
}

/// A message as a link: base64url of it and of its checksum.
pub(crate) fn to_text(prefix: &str, body: &impl prost::Message) -> String {
    let mut bytes = Zeroizing::new(body.encode_to_vec());
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    format!("{prefix}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

/// The message of a link that lost its prefix.
pub(crate) fn from_text(text: &str) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    if text.len() > LINK_CHARS_MAX {
        return Err(LinkError::Damaged);
    }
    let mut bytes =
        Zeroizing::new(data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| LinkError::Damaged)?);
    let (body, tail) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(LinkError::Damaged)?;
    if check(body) != *tail {
        return Err(LinkError::Damaged);
    }
    let length = body.len();
    bytes.truncate(length);
    Ok(bytes)
}

impl FromStr for InviteLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(LinkError::NotALink)?;
        Self::read(&from_text(text)?).ok_or(LinkError::Damaged)
    }
}

impl InviteLink {
    fn to_proto(&self) -> proto::Link {
        proto::Link {
            invitation: self.invitation.as_bytes().to_vec(),
            secret: self.secret.to_vec(),
            circle: self.circle.as_bytes().to_vec(),
            inviter: self.inviter.as_bytes().to_vec(),
            expires_ms: self.expires_ms,
            addresses: self.addresses.clone(),
            space_name: self.space_name.clone(),
            suite: self.suite.number().into(),
            noise: self.noise.map(|noise| noise.as_bytes().to_vec()).unwrap_or_default(),
            relays: self.relays.iter().map(ToString::to_string).collect(),
        }
    }

    /// What [`read`](Self::read) reads.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let link = proto::Link::decode(body).ok()?;
        let can_be_shown = link.space_name.is_empty() || check_name(&link.space_name) == Ok(&link.space_name);
        if !can_be_shown || link.relays.len() > LINK_RELAYS_MAX || link.noise.is_empty() != link.relays.is_empty() {
            return None;
        }
        let noise = (!link.noise.is_empty()).then(|| NoisePublicKey::try_from(link.noise.as_slice()));
        Some(Self {
            invitation: InvitationId::try_from(link.invitation.as_slice()).ok()?,
            circle: CircleId::try_from(link.circle.as_slice()).ok()?,
            inviter: DeviceId::try_from(link.inviter.as_slice()).ok()?,
            expires_ms: link.expires_ms,
            addresses: link.addresses,
            space_name: link.space_name,
            suite: Suite::from_number(link.suite)?,
            noise: noise.transpose().ok()?,
            relays: link.relays.iter().map(|relay| relay.parse().ok()).collect::<Option<_>>()?,
            secret: Zeroizing::new(link.secret.as_slice().try_into().ok()?),
        })
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer than the checksum")
}
