//! A device, running.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use clave_engine::crdt::{Draft, MessageId};
use clave_engine::crypto::{DeviceId, Mls, Suite};
use clave_engine::{ChunkId, CircleId, Engine, Event, FetchId, Identity, Key, Keyspace, SpaceId, StoreRead as _};
use clave_transport::{AddressError, Config, Transport};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};

use crate::{Error, SealedStore, Space, Writer};

mod catching;
mod compaction;
mod config;
mod dialer;
mod driver;
mod joining;
mod lifecycle;
mod linking;
mod posts;
mod relays;
mod small_files;
#[cfg(test)]
mod tests;
mod thread;
mod vault;

pub use catching::CaughtUp;
pub use config::{NetworkConfig, NodeConfig, NodeStatus, PeerStatus, Profile, Purpose, Reachability, Way};
pub(crate) use driver::now_ms;
use driver::{Command, Driver, Input, Run};
pub use lifecycle::Happenings;
use lifecycle::{Leaving, Phase};
pub use linking::{LINK_VALID, LinkProgress};
use posts::Post;
pub use relays::RelayUse;
pub use vault::Unlock;
pub(crate) use vault::{create as vault_of, off_thread, open as open_vault, seed_entropy};

/// Events that a subscriber may be behind by; after that it is told that it missed some.
const EVENTS_MAX: usize = 4_096;

/// A device with everything it has: the handle an application holds. Cheap to clone.
///
/// Every method that changes something returns once the change is durable on this device; it then reaches the others
/// as soon as they are connected. All methods are cancel safe in the sense that a call which was begun takes effect
/// as a whole or not at all, whether or not its future is polled to the end.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    home: lifecycle::Home,
    /// Not known before a device that is to be linked is.
    profile: watch::Sender<Option<Profile>>,
    events: broadcast::Sender<Event>,
    addresses: watch::Sender<Vec<String>>,
    phase: watch::Sender<Phase>,
    /// What is about to end; held by whoever has the node pause, resume or stop.
    leaving: Mutex<Option<Leaving>>,
    /// Files up to so many bytes are fetched as they appear; 0: none.
    small_file_bytes_max: AtomicU64,
}

impl Node {
    /// Creates the identity of a person with a first device, and opens it. Nobody sees the recovery phrase: see
    /// [`create_with_phrase`](Self::create_with_phrase).
    ///
    /// # Errors
    /// [`Error::IdentityExists`], a name that cannot be used, or what the disk has to say.
    pub async fn create(config: NodeConfig, person_name: &str, device_name: &str) -> Result<Self, Error> {
        Ok(Self::create_with_phrase(config, person_name, device_name).await?.0)
    }

    /// Opens a device that was created before. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::NotLinked`], a passphrase that is missing or wrong, or what the disk has to say; when another
    /// process holds the directory, [`StoreError::Busy`](crate::StoreError::Busy).
    pub async fn open(config: NodeConfig) -> Result<Self, Error> {
        let (config, store) = vault::off_thread(config, vault::open).await?;
        let identity = Identity::load(&*store)?.ok_or(Error::NoIdentity)?;
        if identity.person().is_none() {
            return Err(Error::NotLinked);
        }
        Self::start(config, identity, store).await
    }

    /// Whether there is a device in this directory.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        vault::exists(directory)
    }

    pub(crate) async fn start(config: NodeConfig, identity: Identity, store: Arc<SealedStore>) -> Result<Self, Error> {
        let inner = Arc::new(Inner {
            home: lifecycle::Home::of(config.fitted(), &store),
            profile: watch::Sender::new(profile_of(&identity)),
            events: broadcast::Sender::new(EVENTS_MAX),
            addresses: watch::Sender::new(Vec::new()),
            phase: watch::Sender::new(Phase::Paused),
            leaving: Mutex::default(),
            small_file_bytes_max: AtomicU64::new(0),
        });
        lifecycle::run(&inner, identity, store, &mut *inner.leaving.lock().await).await?;
        Ok(Self { inner })
    }

    /// Who this device is.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.inner.profile.borrow().clone().expect("a node is handed out once its device belongs to somebody")
    }

    /// Founds a space and enters it as its owner.
    ///
    /// # Errors
    /// If the name cannot be used, or the disk refuses.
    pub async fn create_space(&self, name: &str) -> Result<Space, Error> {
        self.create_space_of(name, Suite::default()).await
    }

    /// The same, with a choice of how keys are agreed on. It holds for good, and for all circles of a post-quantum space.
    ///
    /// # Errors
    /// If the name cannot be used, or the disk refuses.
    pub async fn create_space_of(&self, name: &str, suite: Suite) -> Result<Space, Error> {
        let name = name.to_owned();
        let id = self.command(move |engine, now| engine.create_space_of(&name, suite, now)).await?;
        let space = Space::new(self.clone(), id);
        space.set_up().await?;
        Ok(space)
    }

    /// The spaces this device is in; and the circles it is in of spaces that it is not in, as outside staff are.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn spaces(&self) -> Result<Vec<Space>, Error> {
        let roots = |engine: &mut Engine| {
            let known: std::collections::BTreeSet<SpaceId> = engine.circles().collect();
            let is_root =
                |id: &SpaceId| engine.space_of(*id).is_ok_and(|space| space == *id || !known.contains(&space));
            Ok(known.iter().copied().filter(is_root).collect::<Vec<SpaceId>>())
        };
        let ids = self.read(roots).await?;
        Ok(ids.into_iter().map(|id| Space::new(self.clone(), id)).collect())
    }

    /// A space by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn space(&self, id: SpaceId) -> Result<Space, Error> {
        let known = self.read(move |engine| Ok(engine.circles().any(|circle| circle == id))).await?;
        if known { Ok(Space::new(self.clone(), id)) } else { Err(Error::NotFound("space")) }
    }

    /// Everything that happens, from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Waits until this device listens somewhere, and says where it can be reached. For ever, if it is offline or
    /// nothing it was told to listen on works: put a limit on it. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn listening(&self) -> Result<Vec<String>, Error> {
        let mut addresses = self.inner.addresses.subscribe();
        let known = async {
            let known = addresses.wait_for(|addresses| !addresses.is_empty()).await.map_err(|_| Error::Stopped)?;
            Ok(known.clone())
        };
        self.while_running(known).await
    }

    /// What the node is doing.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        let known = |engine: &mut Engine| Ok((engine.refusals().clone(), engine.online(), engine.relays_in_use()));
        let (refusals, online, relays) = self.read(known).await?;
        let run = self.running()?;
        let store_bytes = run.store.read(SealedStore::size_bytes).ok_or_else(|| self.gone())??;
        let mut status = NodeStatus { refusals, store_bytes, ..NodeStatus::default() };
        if let Some(transport) = &run.transport {
            let known = transport.addresses();
            status.reachability = known.reachability.into();
            status.relays = relays::in_use(&known.relays, &self.inner.home.relays(), &relays);
            status.addresses = driver::in_order(known);
            let stats = transport.stats();
            (status.sent_bytes, status.received_bytes) = (stats.sent_bytes, stats.received_bytes);
            for peer in stats.peers {
                let device = DeviceId::from_bytes(peer.peer.0);
                if let (true, Some(connection)) = (online.contains(&device), peer.best()) {
                    status.peers.push(PeerStatus {
                        device,
                        address: connection.address.to_string(),
                        way: Way::from(&connection.way),
                        round_trip: peer.round_trip(),
                        sent_bytes: peer.sent_bytes,
                        received_bytes: peer.received_bytes,
                    });
                }
            }
        }
        Ok(status)
    }

    /// From now on, fetches the newest content of files of at most so many bytes when a drive changes, so that they can be read
    /// offline; 0, as at the start: of none. A host sets it when it knows what its network costs. What is under way goes on.
    pub fn fetch_small_files(&self, bytes_max: u64) {
        self.inner.small_file_bytes_max.store(bytes_max, Relaxed);
    }

    /// The network changed (another Wi-Fi, back from sleep): everybody is dialled anew at once, and a host that tells the
    /// addresses of its interfaces is asked for them.
    pub async fn network_changed(&self) {
        // A node that is paused does so when it resumes.
        if let Ok(run) = self.running() {
            self.listen_on_new_interfaces(&run).await;
            let _ = run.inputs.send(Input::NetworkChanged).await;
        }
    }

    /// Listens where the host has addresses now and nobody listens yet.
    async fn listen_on_new_interfaces(&self, run: &lifecycle::Running) {
        let (Some(transport), true) = (&run.transport, self.inner.home.host.interfaces.is_some()) else { return };
        let Some(network) = self.inner.home.network().await else { return };
        let listening = transport.addresses().listening;
        let is_new = |text: &&String| {
            let host = text.split('/').take(3).collect::<Vec<_>>().join("/") + "/";
            !listening.iter().any(|listening| listening.address.to_string().starts_with(&host))
        };
        for address in network.listen.iter().filter(is_new).filter_map(|text| text.parse().ok()) {
            transport.listen(address).await;
        }
    }

    /// The host found a device.
    pub(crate) async fn tell_found(&self, device: DeviceId, addresses: Vec<String>) -> Result<(), Error> {
        self.running()?.inputs.send(Input::Found(device, addresses)).await.map_err(|_| self.gone())
    }

    /// A sealed chunk that is durable here, read on the caller's thread.
    pub(crate) fn stored_chunk(&self, circle: CircleId, id: ChunkId) -> Result<Option<Vec<u8>>, Error> {
        let key = Key::new(Keyspace::Chunks, circle.as_bytes(), id.as_bytes());
        let read = self.running()?.store.read(|store| store.read(&key));
        Ok(read.ok_or_else(|| self.gone())?.map_err(clave_engine::EngineError::from)?)
    }

    /// Gives the space of removed chunks back to the file system.
    pub(crate) async fn reclaim_chunks(&self) -> Result<u64, Error> {
        let run = self.running()?;
        let reclaimed = tokio::task::spawn_blocking(move || run.store.read(SealedStore::reclaim_chunks)).await;
        Ok(reclaimed.ok().flatten().ok_or_else(|| self.gone())??)
    }

    pub(crate) async fn cancel_fetch(&self, fetch: FetchId) {
        let cancel = move |engine: &mut Engine| {
            engine.cancel_fetch(fetch);
            Ok(())
        };
        let _ = self.read(cancel).await;
    }

    /// Runs on the engine's thread; returns when what it did is durable.
    pub(crate) async fn command<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Engine, u64) -> Result<T, clave_engine::EngineError> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let (durable, written) = oneshot::channel();
        let run: Run = Box::new(move |engine, now_ms| {
            let _ = answer.send(engine.map_err(Error::from).and_then(|engine| Ok(run(engine, now_ms)?)));
        });
        self.running()?.inputs.send(Input::Command(Command { run, durable })).await.map_err(|_| self.gone())?;
        let result = result.await.map_err(|_| self.gone())??;
        written.await.map_err(|_| self.gone())??;
        Ok(result)
    }

    /// Posts a message, in one entry with those that wait to be posted when it is its turn; returns when it is durable.
    pub(crate) async fn post(&self, circle: SpaceId, draft: Draft) -> Result<MessageId, Error> {
        let (posted, result) = oneshot::channel();
        let (durable, written) = oneshot::channel();
        let post = Post { circle, draft, posted, durable };
        self.running()?.inputs.send(Input::Post(post)).await.map_err(|_| self.gone())?;
        let id = result.await.map_err(|_| self.gone())??;
        written.await.map_err(|_| self.gone())??;
        Ok(id)
    }

    /// Runs on the engine's thread; returns at once.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Engine) -> Result<T, clave_engine::EngineError> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let (durable, _) = oneshot::channel();
        let run: Run = Box::new(move |engine, _| {
            let _ = answer.send(engine.map_err(Error::from).and_then(|engine| Ok(read(engine)?)));
        });
        self.running()?.inputs.send(Input::Command(Command { run, durable })).await.map_err(|_| self.gone())?;
        result.await.map_err(|_| self.gone())?
    }
}

fn profile_of(identity: &Identity) -> Option<Profile> {
    Some(Profile {
        person: identity.person()?,
        person_name: identity.person_name().to_owned(),
        device: identity.device(),
        device_name: identity.device_name().to_owned(),
    })
}

fn open_driver(
    identity: Identity,
    store: Arc<SealedStore>,
    network: Option<(Transport, clave_transport::Events)>,
    relays: relays::Relays,
    inputs: mpsc::Receiver<Input>,
    told: driver::Told,
) -> Result<Driver, Error> {
    let mut engine = Engine::open(identity, Box::new(Mls), store.clone(), seed_entropy()?, driver::now_ms())?;
    if let Some((transport, _)) = &network {
        engine.handle_addresses(driver::addresses_of(transport), driver::now_ms());
    }
    let writer = Writer::spawn(store.clone())?;
    Ok(Driver {
        engine,
        store,
        writer,
        network,
        inputs,
        told,
        dialer: dialer::Dialer::default(),
        connected: Default::default(),
        waiting: Default::default(),
        compaction: compaction::Compaction::default(),
        catching: Vec::new(),
        failures: 0,
        sent: driver::sent_queue(),
        forwarding: Default::default(),
        relays,
    })
}

fn transport_config(network: &NetworkConfig, home: &lifecycle::Home, identity: &Identity) -> Result<Config, Error> {
    let addresses = |texts: &[String]| -> Result<Vec<_>, Error> {
        texts.iter().map(|text| text.parse().map_err(Error::Address)).collect()
    };
    let mut config = Config::new(**identity.device_key().seed());
    config.listen = addresses(&network.listen)?;
    config.relays = addresses(&network.relays)?;
    config.mdns = network.mdns;
    config.quic = network.quic;
    let server = |text: &String| text.parse().map_err(|_| Error::Address(AddressError::NotAnIp));
    config.name_servers = network.name_servers.iter().map(server).collect::<Result<_, _>>()?;
    config.names = home.host.resolver();
    if let Some(connections_max) = home.purpose.connections_max() {
        config.limits.connections_max = connections_max;
    }
    config.tls_roots.clone_from(&network.tls_roots);
    Ok(config)
}
