//! Whom the relay is for, and whom it is not.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{PoisonError, RwLock},
};

use clave_transport::PeerKey;
use serde::{Deserialize, Serialize};

use crate::store::MailboxId;

/// Who may use mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Open,
    /// Who shows one of these.
    Tokens(Vec<Token>),
    /// These devices.
    Devices(BTreeSet<PeerKey>),
}

impl Access {
    pub(crate) fn admits(&self, peer: &PeerKey, token: &[u8]) -> bool {
        match self {
            Self::Open => true,
            // All are compared to their ends: how long it takes tells nothing.
            Self::Tokens(tokens) => tokens.iter().fold(false, |found, known| known.is(token) | found),
            Self::Devices(devices) => devices.contains(peer),
        }
    }
}

/// A secret that opens the relay. Shows as nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) String);

impl Token {
    fn is(&self, token: &[u8]) -> bool {
        let known = self.0.as_bytes();
        known.len() == token.len() && known.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Something that an operator blocks: the only place where a relay keeps an address or a device's key, because it was told to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blocked {
    /// 64 hexadecimal digits.
    Mailbox(MailboxId),
    /// `12D3KooW…`
    Device(PeerKey),
    /// An address, or a network with how many bits count (`192.0.2.0/24`).
    Network(IpAddr, u8),
}

/// That is nothing that can be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a mailbox (64 hexadecimal digits), a device (12D3KooW…), an address or a network (192.0.2.0/24)")]
pub(crate) struct NothingToBlock;

impl FromStr for Blocked {
    type Err = NothingToBlock;

    fn from_str(text: &str) -> Result<Self, NothingToBlock> {
        if let Some(mailbox) = crate::hex::decode(text) {
            return Ok(Self::Mailbox(MailboxId(mailbox)));
        }
        if let Ok(peer) = text.parse() {
            return Ok(Self::Device(peer));
        }
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NothingToBlock)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(bits_max), |bits| bits.parse().map_err(|_| NothingToBlock))?;
        if bits <= bits_max { Ok(Self::Network(address, bits)) } else { Err(NothingToBlock) }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(mailbox) => f.write_str(&crate::hex::encode(&mailbox.0)),
            Self::Device(peer) => write!(f, "{peer}"),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| bits == 0 || (a ^ b) >> (width - u32::from(bits)) == 0;
    match (address.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// What is blocked, kept in a file.
pub(crate) struct Blocks {
    path: Option<PathBuf>,
    blocked: RwLock<BTreeSet<Blocked>>,
}

#[derive(Default, Serialize, Deserialize)]
struct BlockFile {
    blocked: Vec<String>,
}

impl Blocks {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is not such a file.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let file: BlockFile = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BlockFile::default(),
            Err(error) => return Err(error),
            Ok(text) => toml::from_str(&text).map_err(io::Error::other)?,
        };
        let blocked =
            file.blocked.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(io::Error::other)?;
        Ok(Self { path: Some(path.into()), blocked: RwLock::new(blocked) })
    }

    /// Blocks, or no longer. Whether that changed anything. In force, and on disk, when this returns.
    ///
    /// # Errors
    /// If the file cannot be written: then nothing changes.
    pub(crate) fn set(&self, what: Blocked, blocked: bool) -> io::Result<bool> {
        let current = &mut *self.blocked.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = current.clone();
        let changed = if blocked { next.insert(what) } else { next.remove(&what) };
        if changed && let Some(path) = &self.path {
            let file = BlockFile { blocked: next.iter().map(ToString::to_string).collect() };
            let text = toml::to_string(&file).map_err(io::Error::other)?;
            crate::files::write_durably(path, text.as_bytes())?;
        }
        *current = next;
        Ok(changed)
    }

    pub(crate) fn has_mailbox(&self, mailbox: &MailboxId) -> bool {
        self.all().contains(&Blocked::Mailbox(*mailbox))
    }

    pub(crate) fn has_source(&self, peer: &PeerKey, address: Option<IpAddr>) -> bool {
        let all = self.all();
        let has_address = |blocked: &Blocked| match (blocked, address) {
            (Blocked::Network(network, bits), Some(address)) => is_within(address, *network, *bits),
            _ => false,
        };
        all.contains(&Blocked::Device(*peer)) || all.iter().any(has_address)
    }

    pub(crate) fn list(&self) -> Vec<String> {
        self.all().iter().map(ToString::to_string).collect()
    }

    fn all(&self) -> std::sync::RwLockReadGuard<'_, BTreeSet<Blocked>> {
        self.blocked.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Blocks {
    /// In memory only.
    pub(crate) fn nothing() -> Self {
        Self { path: None, blocked: RwLock::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blocked_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocked.toml");
        let blocks = Blocks::load(&path).unwrap();
        let peer = PeerKey([7; 32]);
        for text in [&"ab".repeat(32), &peer.to_string(), "192.0.2.0/24", "2001:db8::/32", "198.51.100.7"] {
            assert!(blocks.set(text.parse().unwrap(), true).unwrap(), "{text}");
            assert!(!blocks.set(text.parse().unwrap(), true).unwrap());
        }
        let blocks = Blocks::load(&path).unwrap();
        assert!(blocks.has_mailbox(&MailboxId([0xab; 32])) && !blocks.has_mailbox(&MailboxId([0xac; 32])));
        let has = |text: &str| blocks.has_source(&PeerKey([8; 32]), Some(text.parse().unwrap()));
        assert!(has("192.0.2.9") && has("::ffff:192.0.2.9") && has("2001:db8:1::1") && has("198.51.100.7"));
        assert!(!has("192.0.3.9") && !has("2001:db9::1") && !has("198.51.100.8"));
        assert!(blocks.has_source(&peer, None));
        assert!(blocks.set(Blocked::Device(peer), false).unwrap() && !blocks.has_source(&peer, None));
        assert_eq!(Blocks::load(&path).unwrap().list().len(), 4);
        for nothing in ["", "ab", "192.0.2.0/33", "example.org", "192.0.2.0/x"] {
            assert_eq!(nothing.parse::<Blocked>(), Err(NothingToBlock), "{nothing}");
        }
    }

    #[test]
    fn access_is_for_everybody_or_those_named() {
        let (one, other) = (PeerKey([1; 32]), PeerKey([2; 32]));
        assert!(Access::Open.admits(&one, b""));
        let tokens = Access::Tokens(vec![Token("first".into()), Token("second".into())]);
        assert!(tokens.admits(&one, b"first") && tokens.admits(&one, b"second"));
        assert!(!tokens.admits(&one, b"") && !tokens.admits(&one, b"firs") && !tokens.admits(&one, b"third"));
        let devices = Access::Devices([one].into());
        assert!(devices.admits(&one, b"") && !devices.admits(&other, b"first"));
        assert!(!format!("{tokens:?}").contains("first"));
    }
}
