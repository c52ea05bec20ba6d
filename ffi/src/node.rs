//! A device, running.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clave::{NetworkConfig, NodeConfig, Purpose, Unlock};

use crate::convert::parse;
use crate::session::Session;
use crate::{Circle, ClaveError, Host, Space, Suite};

/// Where a device keeps its things, how it is unlocked, and how it reaches others.
#[derive(Clone, uniffi::Record)]
pub struct NodeOptions {
    /// The data directory. One process at a time.
    pub directory: String,
    /// What opens the vault. Without one, whoever can read the directory can read everything.
    #[uniffi(default = None)]
    pub passphrase: Option<String>,
    /// How to reach others; nothing works offline.
    #[uniffi(default = None)]
    pub network: Option<NetworkOptions>,
    /// Bytes of documents that are kept in memory, about; nothing is 32 MiB. A notification extension has little.
    #[uniffi(default = None)]
    pub memory_budget_bytes: Option<u64>,
    /// What the app does in the library's place.
    #[uniffi(default = None)]
    pub host: Option<Arc<Host>>,
    /// For a notification extension or a background task, with little memory (24 MB on iOS), gone in seconds: it dials and is not
    /// dialled, keeps little in memory, and leaves to the app what can wait. A passphrase needs 64 MiB to be tried: have the
    /// app wrap the key.
    #[uniffi(default = false)]
    pub extension: bool,
}

/// How a device reaches others.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NetworkOptions {
    /// Multiaddrs to listen on, with port 0 where the system may choose; nothing is every interface.
    #[uniffi(default = None)]
    pub listen: Option<Vec<String>>,
    /// Whether to look for members on the local network, and be found there.
    #[uniffi(default = true)]
    pub mdns: bool,
    /// Whether to use QUIC beside TCP.
    #[uniffi(default = false)]
    pub quic: bool,
    /// Relays to be reachable through, all at a time, each with its `/p2p/…`.
    #[uniffi(default = [])]
    pub relays: Vec<String>,
    /// IP addresses of servers that resolve names in addresses. Nothing is whom the system names: on Android and iOS
    /// that cannot be found out here, so give what the system tells the app, or addresses with names cannot be dialled.
    #[uniffi(default = [])]
    pub name_servers: Vec<String>,
    /// Certificate authorities (X.509, DER) trusted with `wss` addresses beside those of the web.
    #[uniffi(default = [])]
    pub tls_roots: Vec<Vec<u8>>,
}

impl NodeOptions {
    /// A device in `directory`, without passphrase, offline.
    #[must_use]
    pub fn new(directory: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            passphrase: None,
            network: None,
            memory_budget_bytes: None,
            host: None,
            extension: false,
        }
    }
}

impl Default for NetworkOptions {
    fn default() -> Self {
        let NetworkConfig { listen: _, mdns, quic, relays, name_servers, tls_roots } = NetworkConfig::default();
        Self { listen: None, mdns, quic, relays, name_servers, tls_roots }
    }
}

impl From<NodeOptions> for NodeConfig {
    fn from(options: NodeOptions) -> Self {
        let mut config = Self::new(options.directory);
        if let Some(bytes) = options.memory_budget_bytes {
            config.memory_budget_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if let Some(host) = &options.host {
            config.host = host.of_network();
        }
        if options.extension {
            config.purpose = Purpose::Extension;
        }
        let of_host = options.host.and_then(|host| host.unlock());
        let unlock = match options.passphrase {
            Some(text) => Unlock::Passphrase(text.into()),
            None => of_host.unwrap_or(Unlock::WithoutPassphrase),
        };
        Self { unlock, network: options.network.map(NetworkConfig::from), ..config }
    }
}

impl From<NetworkOptions> for NetworkConfig {
    fn from(options: NetworkOptions) -> Self {
        let NetworkOptions { listen, mdns, quic, relays, name_servers, tls_roots } = options;
        let listen = listen.unwrap_or_else(|| Self::default().listen);
        Self { listen, mdns, quic, relays, name_servers, tls_roots }
    }
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Profile {
    /// The id of the person.
    pub person: String,
    /// How the person is called.
    pub person_name: String,
    /// The id of the device.
    pub device: String,
    /// How the device is called.
    pub device_name: String,
}

/// How a connection leads to a device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Reachability {
    /// No relay has tried (yet), or it listens nowhere.
    Unknown,
    /// A relay reached it.
    Public,
    /// No relay did, where others see it: it is reached through relays, or through a hole in its NAT.
    Private,
}

/// A relay that this device uses. What it is trusted with follows from who named it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RelayUse {
    /// Its address, with its key.
    pub address: String,
    /// Whether the person named it, in the options of the network.
    pub by_person: bool,
    /// The ids of the spaces whose policy names it.
    pub by_spaces: Vec<String>,
    /// Whether it keeps, sealed, what is for who is not online. It learns which mailboxes this device opens.
    pub mailboxes: bool,
    /// Whether this device wants to be reached through it. It learns who talks to whom through it, and how much.
    pub circuits: bool,
    /// Whether this device can be reached through it now. If not, and it is to carry circuits, it is asked again and again.
    pub reserved: bool,
}

/// A connected member device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PeerStatus {
    /// The id of the device.
    pub device: String,
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
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NodeStatus {
    /// Where it can be reached. Empty when it is offline.
    pub addresses: Vec<String>,
    /// Whether it can be reached from outside its network.
    pub reachability: Reachability,
    /// The relays that it uses.
    pub relays: Vec<RelayUse>,
    /// Members that are connected.
    pub peers: Vec<PeerStatus>,
    /// Bytes of frames sent to anyone since it started, peers that are gone included.
    pub sent_bytes: u64,
    /// Bytes of frames received from anyone since it started.
    pub received_bytes: u64,
    /// How often what arrived was refused since it started, by reason.
    pub refusals: HashMap<String, u64>,
    /// Bytes on disk.
    pub store_bytes: u64,
}

/// A device with everything it has. What changes something returns once the change is durable on this device; it then
/// reaches the others as soon as they are connected.
///
/// A call that is cancelled was done as a whole or not at all.
#[derive(uniffi::Object)]
pub struct Node {
    pub(crate) session: Arc<Session>,
}

/// Whether there is a device in this directory: then open it, else create one.
#[uniffi::export]
#[must_use]
pub fn node_exists(directory: &str) -> bool {
    clave::Node::exists(Path::new(directory))
}

#[uniffi::export]
impl Node {
    /// Creates the identity of a person with a first device, and opens it.
    ///
    /// # Errors
    /// [`ClaveError::Identity`] if there is one already, a name that cannot be used, or what the disk has to say.
    #[uniffi::constructor]
    pub async fn create(options: NodeOptions, person_name: String, device_name: String) -> Result<Self, ClaveError> {
        let opening = async move { clave::Node::create(options.into(), &person_name, &device_name).await };
        Ok(Self { session: Session::open(opening).await? })
    }

    /// Opens a device that was created before.
    ///
    /// # Errors
    /// [`ClaveError::Identity`] if there is none, [`ClaveError::Vault`] for a passphrase that is missing or wrong,
    /// [`ClaveError::Store`] for what the disk has to say (`store.busy` if another process has the directory open).
    #[uniffi::constructor]
    pub async fn open(options: NodeOptions) -> Result<Self, ClaveError> {
        Ok(Self { session: Session::open(clave::Node::open(options.into())).await? })
    }

    /// Who this device is.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let profile = self.session.node().profile();
        Profile {
            person: profile.person.to_string(),
            person_name: profile.person_name.clone(),
            device: profile.device.to_string(),
            device_name: profile.device_name.clone(),
        }
    }

    /// Founds a space and enters it as its owner.
    ///
    /// # Errors
    /// If the name cannot be used, or the disk refuses.
    pub async fn create_space(&self, name: String) -> Result<Space, ClaveError> {
        let node = self.session.node().clone();
        let space = self.session.run(async move { node.create_space(&name).await }).await?;
        Ok(Space::new(self.session.clone(), space))
    }

    /// The same, with a choice of how keys are agreed on, which holds for good and for its circles, unless it is
    /// [`Suite::X25519`].
    ///
    /// # Errors
    /// Those of [`create_space`](Self::create_space).
    pub async fn create_space_of(&self, name: String, suite: Suite) -> Result<Space, ClaveError> {
        let node = self.session.node().clone();
        let space = self.session.run(async move { node.create_space_of(&name, suite.into()).await }).await?;
        Ok(Space::new(self.session.clone(), space))
    }

    /// The spaces this device is in.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`].
    pub async fn spaces(&self) -> Result<Vec<Arc<Space>>, ClaveError> {
        let node = self.session.node().clone();
        let spaces = self.session.run(async move { node.spaces().await }).await?;
        Ok(spaces.into_iter().map(|space| Arc::new(Space::new(self.session.clone(), space))).collect())
    }

    /// A space by its id.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn space(&self, id: String) -> Result<Space, ClaveError> {
        let id = parse(&id, "space")?;
        let node = self.session.node().clone();
        let space = self.session.run(async move { node.space(id).await }).await?;
        Ok(Space::new(self.session.clone(), space))
    }

    /// Waits until this device listens somewhere, and says where it can be reached: then a link made here leads here.
    /// Waits for ever, if it is offline or nothing it was told to listen on works: put a limit on it.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`].
    pub async fn listening(&self) -> Result<Vec<String>, ClaveError> {
        let node = self.session.node().clone();
        self.session.run(async move { node.listening().await }).await
    }

    /// What the node is doing.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`].
    pub async fn status(&self) -> Result<NodeStatus, ClaveError> {
        let node = self.session.node().clone();
        Ok(self.session.run(async move { node.status().await }).await?.into())
    }

    /// A circle by its id, of whatever space: what a notification names.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn circle(&self, id: String) -> Result<Circle, ClaveError> {
        let id = parse(&id, "circle")?;
        let node = self.session.node().clone();
        let circle = self.session.run(async move { node.circle(id).await }).await?;
        Ok(Circle::new(self.session.clone(), circle))
    }

    /// From now on, fetches the newest content of files of at most so many bytes when a drive changes, so that they can be
    /// read offline; 0, as at the start: of none.
    pub fn fetch_small_files(&self, bytes_max: u64) {
        self.session.node().fetch_small_files(bytes_max);
    }

    /// Some lines of text for whoever looks into a problem: counts, sizes, shortened ids. No names, no content, no keys.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`], or what the disk has to say.
    pub async fn debug_dump(&self) -> Result<String, ClaveError> {
        let node = self.session.node().clone();
        self.session.run(async move { node.debug_dump().await }).await
    }

    /// The network changed (another Wi-Fi, back from sleep): everybody is dialled anew at once.
    pub async fn network_changed(&self) {
        let node = self.session.node().clone();
        let changed = async move {
            node.network_changed().await;
            Ok(())
        };
        // A node that was shut down has no network to change.
        let _ = self.session.run(changed).await;
    }
}

impl From<clave::NodeStatus> for NodeStatus {
    fn from(status: clave::NodeStatus) -> Self {
        Self {
            addresses: status.addresses,
            reachability: status.reachability.into(),
            relays: status.relays.into_iter().map(RelayUse::from).collect(),
            peers: status.peers.into_iter().map(PeerStatus::from).collect(),
            sent_bytes: status.sent_bytes,
            received_bytes: status.received_bytes,
            refusals: status.refusals.into_iter().map(|(reason, count)| (reason.to_string(), count)).collect(),
            store_bytes: status.store_bytes,
        }
    }
}

impl From<clave::PeerStatus> for PeerStatus {
    fn from(peer: clave::PeerStatus) -> Self {
        Self {
            device: peer.device.to_string(),
            address: peer.address,
            way: peer.way.into(),
            round_trip: peer.round_trip,
            sent_bytes: peer.sent_bytes,
            received_bytes: peer.received_bytes,
        }
    }
}

impl From<clave::Way> for Way {
    fn from(way: clave::Way) -> Self {
        match way {
            clave::Way::Direct => Self::Direct,
            clave::Way::HolePunched => Self::HolePunched,
            clave::Way::Relayed { relay } => Self::Relayed { relay },
        }
    }
}

impl From<clave::Reachability> for Reachability {
    fn from(reachability: clave::Reachability) -> Self {
        match reachability {
            clave::Reachability::Unknown => Self::Unknown,
            clave::Reachability::Public => Self::Public,
            clave::Reachability::Private => Self::Private,
        }
    }
}

impl From<clave::RelayUse> for RelayUse {
    fn from(relay: clave::RelayUse) -> Self {
        let clave::RelayUse { address, by_person, by_spaces, mailboxes, circuits, reserved } = relay;
        let by_spaces = by_spaces.iter().map(ToString::to_string).collect();
        Self { address, by_person, by_spaces, mailboxes, circuits, reserved }
    }
}
