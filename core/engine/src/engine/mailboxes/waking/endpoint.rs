//! Where a device is pushed to, and what relays say of it.

use std::fmt;

use clave_mailbox as wire;
use data_encoding::BASE64URL_NOPAD;

use super::{Reason, RelayAddress};
use crate::proto::local;

const P256DH_BYTES: usize = 65;
const AUTH_BYTES: usize = 16;

/// Where the push server of this device takes messages for it. Shows as nothing: who knows it can push.
#[derive(Clone, PartialEq, Eq)]
pub struct PushEndpoint {
    url: String,
    keys: Option<PushKeys>,
}

/// The keys of a Web Push subscription (RFC 8291).
#[derive(Clone, PartialEq, Eq)]
pub struct PushKeys {
    /// `p256dh`: an uncompressed point of P-256.
    pub p256dh: [u8; P256DH_BYTES],
    /// `auth`.
    pub auth: [u8; AUTH_BYTES],
}

/// That is nowhere to push to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "that is no push subscription: give its https URL of at most 1,024 bytes, and either both of its keys (p256dh, 65 bytes; auth, 16) \
     or none"
)]
pub struct NotAnEndpoint;

/// Why a relay does not wake this device, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// It wakes nobody.
    #[error("the relay wakes nobody; ask its operator, or add another relay")]
    Unsupported,
    /// It does not push there.
    #[error("the relay does not push to this endpoint; subscribe anew at a push server with a public https address")]
    Endpoint,
    /// It has no room for another.
    #[error("the relay has no room for another device to wake; it is asked again by itself, or ask its operator")]
    Full,
    /// This device named too many endpoints.
    #[error("the relay takes no new endpoint from here for a while; it is asked again by itself")]
    Rate,
    /// The push server says that the subscription is no more.
    #[error("the push server does not know this subscription any more; subscribe anew and give the new endpoint")]
    Gone,
    /// Something is wrong there.
    #[error("the relay failed; it is asked again by itself")]
    Internal,
}

/// How one relay gets on with waking this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushHealth {
    /// Where the relay is.
    pub address: RelayAddress,
    /// The key that a Web Push subscription is to be made for (RFC 8292, `applicationServerKey`): 65 bytes. None before the relay
    /// was met, or if it wakes nobody.
    pub server_key: Option<Vec<u8>>,
    /// Whether it was told where to push to, and took it.
    pub registered: bool,
    /// For how many mailboxes, as it said in the session that there is.
    pub mailboxes: usize,
    /// When the push server last took a push of this relay, as it says, in Unix milliseconds.
    pub accepted_ms: Option<u64>,
    /// When it last refused one or could not be reached.
    pub refused_ms: Option<u64>,
    /// What it said then: an HTTP status; none if it could not be reached.
    pub status: Option<u32>,
    /// Why this device is not woken, if it is not.
    pub error: Option<PushError>,
}

impl PushKeys {
    /// The keys as browsers and UnifiedPush give them: in base64 for URLs.
    ///
    /// # Errors
    /// If they are not of that form and length.
    pub fn from_base64(p256dh: &str, auth: &str) -> Result<Self, NotAnEndpoint> {
        let decoded =
            |text: &str| BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).map_err(|_| NotAnEndpoint);
        let p256dh = decoded(p256dh)?.try_into().map_err(|_| NotAnEndpoint)?;
        let auth = decoded(auth)?.try_into().map_err(|_| NotAnEndpoint)?;
        Ok(Self { p256dh, auth })
    }
}

impl PushEndpoint {
    /// An endpoint of Web Push, with keys, or of UnifiedPush, with or without.
    ///
    /// # Errors
    /// If nothing can be pushed there.
    pub fn new(url: &str, keys: Option<PushKeys>) -> Result<Self, NotAnEndpoint> {
        let is_url = url.starts_with("https://") && url.len() > 8 && url.len() <= wire::ENDPOINT_BYTES_MAX;
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
        let are_keys = keys.as_ref().is_none_or(|keys| keys.p256dh[0] == 4);
        if is_url && is_plain && are_keys { Ok(Self { url: url.to_owned(), keys }) } else { Err(NotAnEndpoint) }
    }

    pub(super) fn to_record(&self) -> local::PushEndpoint {
        let (p256dh, auth) = match &self.keys {
            Some(keys) => (keys.p256dh.to_vec(), keys.auth.to_vec()),
            None => (Vec::new(), Vec::new()),
        };
        local::PushEndpoint { url: self.url.clone(), p256dh, auth }
    }

    pub(super) fn from_record(record: local::PushEndpoint) -> Option<Self> {
        let keys = match (record.p256dh.as_slice().try_into(), record.auth.as_slice().try_into()) {
            (Ok(p256dh), Ok(auth)) => Some(PushKeys { p256dh, auth }),
            _ => None,
        };
        Self::new(&record.url, keys).ok()
    }
}

impl fmt::Debug for PushEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushEndpoint")
    }
}

impl fmt::Debug for PushKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushKeys")
    }
}

impl PushError {
    /// What a relay said last.
    pub(super) fn of(record: &local::Wake) -> Option<Self> {
        let Some(reason) = record.refused.checked_sub(1) else { return record.gone.then_some(Self::Gone) };
        Some(match i32::try_from(reason).ok().and_then(|reason| Reason::try_from(reason).ok()) {
            Some(Reason::Unsupported) => Self::Unsupported,
            Some(Reason::Endpoint) => Self::Endpoint,
            Some(Reason::Full) => Self::Full,
            Some(Reason::Rate) => Self::Rate,
            _ => Self::Internal,
        })
    }
}
