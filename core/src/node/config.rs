//! What a node is started with, and what it says of itself.

use std::path::PathBuf;
use std::time::Duration;

use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::{MEMORY_BUDGET_BYTES, RefusalCounts};

use super::{RelayUse, Unlock};
use crate::{Host, StoreKind};

/// Where a device keeps its things, and how it is unlocked.
pub struct NodeConfig {
    /// The data directory. One process at a time.
    pub directory: PathBuf,
    /// Which store to make; an existing directory keeps the one it has.
    pub store: StoreKind,
    /// What opens the vault.
    pub unlock: Unlock,
    /// How to reach others; `None` works offline.
    pub network: Option<NetworkConfig>,
    /// Bytes of documents that are kept in memory, about. The one in use is kept however large it is.
    pub memory_budget_bytes: usize,
    /// What the host does for the network.
    pub host: Host,
    /// What the node is opened for.
    pub purpose: Purpose,
}

/// What a node is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// An app, for as long as it likes.
    #[default]
    App,
    /// A notification extension or a background task: a process with little memory (24 MB on iOS) that looks at what came and is
    /// gone in seconds. Whatever else the configuration says, it dials and is not dialled (no listening, no place at relays, no
    /// mDNS), keeps at most 2 MiB of documents and 2 MiB of the database in memory, connects with at most 16 devices, and
    /// leaves to the app what can wait: indexes for search, previews that nobody asks for, bundles. A vault with a
    /// passphrase needs 64 MiB to be opened: have the host wrap its key ([`Unlock::Host`]).
    Extension,
}

/// What an extension keeps in memory, of documents and of the database each, in bytes.
const EXTENSION_BYTES: usize = 2 << 20;
/// With how many devices an extension is connected at a time.
const EXTENSION_CONNECTIONS_MAX: u32 = 16;

impl Purpose {
    pub(crate) fn cache_bytes(self) -> Option<usize> {
        (self == Self::Extension).then_some(EXTENSION_BYTES)
    }

    pub(crate) fn connections_max(self) -> Option<u32> {
        (self == Self::Extension).then_some(EXTENSION_CONNECTIONS_MAX)
    }
}

/// How a device reaches others.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Multiaddrs to listen on; port 0 lets the system choose, `/ws` at the end listens for WebSocket.
    pub listen: Vec<String>,
    /// Whether to look for members on the local network, and be found there.
    pub mdns: bool,
    /// Whether to use QUIC beside TCP.
    pub quic: bool,
    /// Relays to be reachable through, all at a time, each with its `/p2p/…`. One that gives no place is asked again. Those
    /// that the policies of this device's spaces name are used without being given here.
    pub relays: Vec<String>,
    /// IP addresses of servers that resolve names in addresses. Empty: whom the system names. A host on Android or iOS
    /// has to say it, or addresses with names cannot be dialled there (`docs/reachability.md`).
    pub name_servers: Vec<String>,
    /// Certificate authorities (X.509, DER) trusted with `wss` addresses beside those of the web.
    pub tls_roots: Vec<Vec<u8>>,
}

impl Default for NetworkConfig {
    /// Every interface, a port of the system's choice, and the local network.
    fn default() -> Self {
        Self {
            listen: vec!["/ip4/0.0.0.0/tcp/0".to_owned(), "/ip6/::/tcp/0".to_owned()],
            mdns: true,
            quic: false,
            relays: Vec::new(),
            name_servers: Vec::new(),
            tls_roots: Vec::new(),
        }
    }
}

impl NodeConfig {
    /// A device in `directory`, without passphrase, offline, over the default store.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            store: StoreKind::default(),
            unlock: Unlock::WithoutPassphrase,
            network: None,
            memory_budget_bytes: MEMORY_BUDGET_BYTES,
            host: Host::default(),
            purpose: Purpose::App,
        }
    }

    /// For a process of this kind.
    #[must_use]
    pub fn for_purpose(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// Without what its purpose leaves out.
    pub(crate) fn fitted(mut self) -> Self {
        if self.purpose == Purpose::Extension {
            self.memory_budget_bytes = self.memory_budget_bytes.min(EXTENSION_BYTES);
            if let Some(network) = &mut self.network {
                network.listen.clear();
                network.relays.clear();
                network.mdns = false;
            }
        }
        self
    }

    /// Keeping so many bytes of documents in memory, about.
    #[must_use]
    pub fn within(self, memory_budget_bytes: usize) -> Self {
        Self { memory_budget_bytes, ..self }
    }

    /// With this network.
    #[must_use]
    pub fn online(self, network: NetworkConfig) -> Self {
        Self { network: Some(network), ..self }
    }
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The person.
    pub person: PersonId,
    /// How the person is called.
    pub person_name: String,
    /// The device.
    pub device: DeviceId,
    /// How the device is called.
    pub device_name: String,
}

/// How a connection leads to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// One of the two reached the other where it listens.
    Direct,
    /// Directly, through the NATs of both, after they had met at a relay.
    HolePunched,
    /// Through a relay, which cannot read what it passes on.
    Relayed {
        /// The address of the relay.
        relay: String,
    },
}

/// Whether a device can be reached from outside its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// No relay has tried (yet), or it listens nowhere.
    #[default]
    Unknown,
    /// A relay reached it.
    Public,
    /// No relay did, where others see it: it is reached through relays, or through a hole in its NAT.
    Private,
}

/// A connected member device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which device.
    pub device: DeviceId,
    /// Where, as seen from here.
    pub address: String,
    /// How frames reach it.
    pub way: Way,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// Bytes of frames sent in this session.
    pub sent_bytes: u64,
    /// Bytes of frames received in this session.
    pub received_bytes: u64,
}

/// What a node is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Where it can be reached. Empty when it is offline.
    pub addresses: Vec<String>,
    /// Whether it can be reached from outside its network.
    pub reachability: Reachability,
    /// The relays that it uses: those it was given, and those of its spaces.
    pub relays: Vec<RelayUse>,
    /// Members that are connected.
    pub peers: Vec<PeerStatus>,
    /// Bytes of frames sent to anyone since it started, peers that are gone included.
    pub sent_bytes: u64,
    /// Bytes of frames received from anyone since it started.
    pub received_bytes: u64,
    /// What was refused since it started, by reason.
    pub refusals: RefusalCounts,
    /// Bytes on disk.
    pub store_bytes: u64,
}

impl From<&clave_transport::Way> for Way {
    fn from(way: &clave_transport::Way) -> Self {
        match way {
            clave_transport::Way::Relayed { relay } => Self::Relayed { relay: relay.to_string() },
            clave_transport::Way::HolePunched => Self::HolePunched,
            _ => Self::Direct,
        }
    }
}

impl From<clave_transport::Reachability> for Reachability {
    fn from(reachability: clave_transport::Reachability) -> Self {
        match reachability {
            clave_transport::Reachability::Public => Self::Public,
            clave_transport::Reachability::Private => Self::Private,
            _ => Self::Unknown,
        }
    }
}
