//! The code by which a person links a further device of theirs.

use std::fmt;
use std::str::FromStr;

use clave_crypto::{DeviceId, Entropy, HashContext, hash};
use prost::Message as _;
use zeroize::Zeroizing;

use crate::identity::check_name;
use crate::link::{self, LINK_CHARS_MAX, LinkError};
use crate::proto::invitation as proto;
use crate::{InvitationId, NAME_BYTES_MAX};

const PREFIX: &str = "clave://link/";
/// 96 bits: the typed code goes through no password-authenticated key exchange, so nobody may be able to try all.
const SECRET_BYTES: usize = 12;
/// Of the typed code's checksum.
const CHECK_BYTES: usize = 3;
const GROUP_CHARS: usize = 4;

/// What one device of a person shows and another takes up, to become that person's too. Works once, until it expires.
///
/// It has two forms. As text it is `clave://link/` and base64url with a checksum, for a QR code or the clipboard; it says
/// which device answers and where. [`typed`](Self::typed) is for people to type: six groups of four characters, the
/// secret alone; the device that answers has to be found (on the local network, or at an address that is given).
/// Both hold the secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkCode {
    pub(crate) secret: Zeroizing<[u8; SECRET_BYTES]>,
    /// The device that answers, unless the code was typed.
    pub device: Option<DeviceId>,
    /// Unix milliseconds after which it is refused; `None` if the code was typed.
    pub expires_ms: Option<u64>,
    /// Multiaddrs at which that device was reachable.
    pub addresses: Vec<String>,
    /// The person's name; empty if the code was typed.
    pub person_name: String,
}

impl LinkCode {
    pub(crate) fn new(
        device: DeviceId,
        expires_ms: u64,
        addresses: Vec<String>,
        name: &str,
        entropy: &mut Entropy,
    ) -> Self {
        Self {
            secret: Zeroizing::new(entropy.bytes()),
            device: Some(device),
            expires_ms: Some(expires_ms),
            addresses,
            person_name: name.to_owned(),
        }
    }

    /// Names the link, in lists and on the wire. Not secret.
    #[must_use]
    pub fn id(&self) -> InvitationId {
        let hash = hash(HashContext::LinkId, &*self.secret);
        InvitationId::from_bytes(*hash.first_chunk().expect("a hash is longer"))
    }

    /// The pre-shared key of the handshake.
    pub(crate) fn key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hash(HashContext::LinkKey, &*self.secret))
    }

    /// The form for people to type: `abcd-efgh-…`, lower-case base32 of the secret and a checksum.
    #[must_use]
    pub fn typed(&self) -> String {
        let bytes = Zeroizing::new([self.secret.as_slice(), &typed_check(&self.secret)].concat());
        let text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
        let groups: Vec<&str> = (0..text.len()).step_by(GROUP_CHARS).map(|at| &text[at..at + GROUP_CHARS]).collect();
        groups.join("-")
    }

    /// With another way to reach the device that answers: for a code that was typed.
    #[must_use]
    pub fn at(self, addresses: Vec<String>) -> Self {
        Self { addresses, ..self }
    }

    fn read(body: &[u8]) -> Option<Self> {
        let code = proto::LinkCode::decode(body).ok()?;
        let can_be_shown = check_name(&code.person_name) == Ok(&code.person_name);
        can_be_shown.then_some(())?;
        Some(Self {
            secret: Zeroizing::new(code.secret.as_slice().try_into().ok()?),
            device: Some(DeviceId::try_from(code.device.as_slice()).ok()?),
            expires_ms: Some(code.expires_ms),
            addresses: code.addresses,
            person_name: code.person_name,
        })
    }

    fn read_typed(text: &str) -> Result<Self, LinkError> {
        // What people type for what they read: the alphabet has neither 0 nor 8.
        let clean = |c: char| match c.to_ascii_uppercase() {
            '0' => 'O',
            '8' => 'B',
            c => c,
        };
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(clean).collect());
        let chars = (SECRET_BYTES + CHECK_BYTES) * 8 / 5;
        if text.len() != chars {
            return Err(LinkError::NotALinkCode);
        }
        let bytes = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| LinkError::MistypedCode)?;
        let bytes = Zeroizing::new(bytes);
        let (secret, check) = bytes.split_first_chunk::<SECRET_BYTES>().ok_or(LinkError::MistypedCode)?;
        if typed_check(secret) != check {
            return Err(LinkError::MistypedCode);
        }
        Ok(Self {
            secret: Zeroizing::new(*secret),
            device: None,
            expires_ms: None,
            addresses: Vec::new(),
            person_name: String::new(),
        })
    }
}

fn typed_check(secret: &[u8; SECRET_BYTES]) -> [u8; CHECK_BYTES] {
    // Of the public name, so that the checksum says nothing about the secret that is not public.
    let id = hash(HashContext::LinkId, secret);
    *id.last_chunk().expect("a hash is longer")
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkCode({:?} by {:?})", self.id(), self.device)
    }
}

/// The text form; the typed one if that is how the code came.
impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(device), Some(expires_ms)) = (self.device, self.expires_ms) else {
            return f.write_str(&self.typed());
        };
        let body = proto::LinkCode {
            secret: self.secret.to_vec(),
            device: device.as_bytes().to_vec(),
            expires_ms,
            addresses: self.addresses.clone(),
            person_name: self.person_name.clone(),
        };
        f.write_str(&link::to_text(PREFIX, &body))
    }
}

impl FromStr for LinkCode {
    type Err = LinkError;

    /// Reads both forms.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if let Some(body) = text.strip_prefix(PREFIX) {
            return Self::read(&link::from_text(body)?).ok_or(LinkError::Damaged);
        }
        let is_another_link = text.len() > LINK_CHARS_MAX.min(NAME_BYTES_MAX) || text.contains(':');
        if is_another_link { Err(LinkError::NotALinkCode) } else { Self::read_typed(text) }
    }
}
