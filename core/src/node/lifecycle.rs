//! Running, paused, stopped: what a node holds in each, and the ways between.
//!
//! A node that is paused holds nothing of the system: no lock, no open file, no socket, no thread, no timer. All handles stay
//! good; what they are asked fails with [`Error::Paused`] until [`Node::resume`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use clave_engine::crypto::VaultKey;
use clave_engine::{Event, Identity};
use clave_transport::{Address, Transport};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle as TaskHandle;

use super::driver::{self, Input};
use super::relays::Relays;
use super::{Inner, NetworkConfig, Node, NodeConfig, Purpose, small_files, thread, transport_config, vault};
use crate::{Error, Host, SealedStore, StoreKind};

/// What a paused node keeps to open itself again.
pub(super) struct Home {
    pub(super) directory: PathBuf,
    pub(super) store: StoreKind,
    /// In memory while the node exists, running or paused: a passphrase is stretched once only. Wiped with the last handle.
    pub(super) vault: VaultKey,
    network: Option<NetworkConfig>,
    memory_budget_bytes: usize,
    pub(super) host: Host,
    pub(super) purpose: Purpose,
    /// Ports that the system chose when it last ran: whoever knows them finds this device there again.
    ports: Mutex<BTreeMap<Protocol, u16>>,
}

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    const ALL: [(Self, &str); 2] = [(Self::Tcp, "/tcp/"), (Self::Udp, "/udp/")];

    fn is_free(self, port: u16) -> bool {
        let any = (std::net::Ipv4Addr::UNSPECIFIED, port);
        match self {
            Self::Tcp => std::net::TcpListener::bind(any).is_ok(),
            Self::Udp => std::net::UdpSocket::bind(any).is_ok(),
        }
    }
}

impl Home {
    pub(super) fn of(config: NodeConfig, store: &SealedStore) -> Self {
        Self {
            directory: config.directory,
            store: config.store,
            vault: VaultKey::from_bytes(store.vault().as_bytes().clone()),
            network: config.network,
            memory_budget_bytes: config.memory_budget_bytes,
            host: config.host,
            purpose: config.purpose,
            ports: Mutex::default(),
        }
    }

    /// The relays that the person named.
    pub(super) fn relays(&self) -> Vec<Address> {
        let named = self.network.iter().flat_map(|network| &network.relays);
        named.filter_map(|relay| relay.parse().ok()).collect()
    }

    /// Notes the ports in use.
    fn note_ports(&self, addresses: &[String]) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for (protocol, before) in Protocol::ALL {
            let port = |address: &String| address.split_once(before)?.1.split('/').next()?.parse().ok();
            if let Some(port) = addresses.iter().filter(|address| !address.contains("/p2p-circuit")).find_map(port) {
                ports.insert(protocol, port);
            }
        }
    }

    /// How to reach others: where the system may choose a port, the one of before, if nobody has it now.
    pub(super) async fn network(&self) -> Option<NetworkConfig> {
        let mut network = self.network.clone()?;
        network.listen = self.host.listen_on(&network.listen).await;
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for (protocol, before) in Protocol::ALL {
            if let Some(port) = ports.get(&protocol).filter(|port| protocol.is_free(**port)) {
                for address in &mut network.listen {
                    *address = match address.strip_suffix(&format!("{before}0")) {
                        Some(start) => format!("{start}{before}{port}"),
                        None => address.replace(&format!("{before}0/"), &format!("{before}{port}/")),
                    };
                }
            }
        }
        Some(network)
    }
}

/// Whether there is an engine to talk to.
#[derive(Clone)]
pub(super) enum Phase {
    Running(Arc<Running>),
    Paused,
    Stopped,
}

/// One stretch of running: from opening the store until letting go of it.
pub(super) struct Running {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) transport: Option<Transport>,
    pub(super) store: StoreSlot,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Fetches small files; set once the node is there.
    watching: Mutex<Option<TaskHandle<()>>>,
}

/// The store, for those who read it past the engine. The engine's thread empties it at its end, and waits for them in doing so.
#[derive(Clone)]
pub(super) struct StoreSlot(Arc<RwLock<Option<Arc<SealedStore>>>>);

impl StoreSlot {
    /// Reads, if there is a store still.
    pub(super) fn read<T>(&self, read: impl FnOnce(&SealedStore) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_deref().map(read)
    }
}

/// Empties the slot when it is dropped.
struct Emptied(StoreSlot);

impl Drop for Emptied {
    fn drop(&mut self) {
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A stretch of running that is to end. Kept until it has, so that whoever comes next waits for it.
pub(super) struct Leaving {
    run: Arc<Running>,
    stopped: Option<oneshot::Receiver<()>>,
}

impl Leaving {
    fn of(run: Arc<Running>) -> Self {
        Self { run, stopped: None }
    }

    /// Has it end, and waits until nothing is left of it. Cancel safe: a second call goes on with it.
    async fn ended(&mut self) {
        let watching = self.run.watching.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watching) = watching {
            watching.abort();
        }
        if self.stopped.is_none() {
            let (stopped, done) = oneshot::channel();
            // If nobody takes it, it is ending already.
            let _ = self.run.inputs.send(Input::Stop(stopped)).await;
            self.stopped = Some(done);
        }
        if let Some(stopped) = &mut self.stopped {
            let _ = stopped.await;
        }
        // Its last word was said: this takes as long as a thread takes to end.
        let thread = self.run.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the engine's thread panicked");
        }
    }
}

impl Node {
    /// Lets go of everything that a system takes offence at in an app that sleeps: what is on its way becomes durable, all
    /// connections are closed, the data directory is free for another process. When it returns, no file is locked or
    /// open, and no thread and no timer of this node is left. (One library below keeps a thread per process that sleeps
    /// without a timer: futures-timer, of libp2p.) All handles stay good. What they are asked fails with [`Error::Paused`], which is retryable;
    /// what waits (joins, transfers) ends with it, what is observed goes on after [`resume`](Self::resume).
    ///
    /// Calling it again is harmless. If the future is dropped, pausing goes on, and the next call waits for its end.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn pause(&self) -> Result<(), Error> {
        let mut leaving = self.inner.leaving.lock().await;
        if matches!(*self.inner.phase.borrow(), Phase::Stopped) {
            return Err(Error::Stopped);
        }
        self.leave(Phase::Paused, &mut leaving).await;
        Ok(())
    }

    /// Opens everything again after [`pause`](Self::pause), with the key it had: no passphrase is stretched. Must be called
    /// inside a tokio runtime, not necessarily the one of before. Harmless while running.
    ///
    /// # Errors
    /// [`StoreError::Busy`](crate::StoreError::Busy), retryable, while another process has the directory; what else the
    /// disk or the network has to say; [`Error::Stopped`]. The node is paused still.
    pub async fn resume(&self) -> Result<(), Error> {
        let mut leaving = self.inner.leaving.lock().await;
        match &*self.inner.phase.borrow() {
            Phase::Running(_) => return Ok(()),
            Phase::Stopped => return Err(Error::Stopped),
            Phase::Paused => {}
        }
        if let Some(before) = &mut *leaving {
            before.ended().await;
            *leaving = None;
        }
        let store = vault::reopen(&self.inner.home)?;
        let identity = Identity::load(&*store)?.ok_or(Error::NoIdentity)?;
        run(&self.inner, identity, store, &mut leaving).await
    }

    /// Whether the node is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        matches!(*self.inner.phase.borrow(), Phase::Paused)
    }

    /// Lets everything become durable, closes all connections, lets go of the data directory and ends all threads. Further
    /// calls fail with [`Error::Stopped`].
    pub async fn shutdown(&self) {
        let mut leaving = self.inner.leaving.lock().await;
        self.leave(Phase::Stopped, &mut leaving).await;
    }

    async fn leave(&self, next: Phase, leaving: &mut Option<Leaving>) {
        self.inner.home.note_ports(&self.inner.addresses.borrow());
        let former = self.inner.phase.send_replace(next);
        if let Phase::Running(run) = former {
            *leaving = Some(Leaving::of(run));
        }
        if let Some(run) = leaving {
            run.ended().await;
            *leaving = None;
        }
        self.inner.addresses.send_replace(Vec::new());
    }

    pub(super) fn running(&self) -> Result<Arc<Running>, Error> {
        match &*self.inner.phase.borrow() {
            Phase::Running(run) => Ok(run.clone()),
            Phase::Paused => Err(Error::Paused),
            Phase::Stopped => Err(Error::Stopped),
        }
    }

    /// Why something that was asked of an engine was not answered.
    pub(super) fn gone(&self) -> Error {
        match &*self.inner.phase.borrow() {
            Phase::Running(run) if run.inputs.is_closed() => Error::Stopped,
            // Paused, and perhaps running again.
            Phase::Running(_) | Phase::Paused => Error::Paused,
            Phase::Stopped => Error::Stopped,
        }
    }

    /// Waits for something that can only happen while the engine that there is now runs.
    pub(crate) async fn while_running<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let run = self.running()?;
        let mut phase = self.inner.phase.subscribe();
        let ended = phase.wait_for(|phase| !matches!(phase, Phase::Running(now) if Arc::ptr_eq(now, &run)));
        tokio::select! {
            result = work => result,
            _ = ended => Err(self.gone()),
        }
    }

    /// Returns once the node runs; at once, if it does.
    async fn runs(&self) -> Result<(), Error> {
        let mut phase = self.inner.phase.subscribe();
        let phase = phase.wait_for(|phase| !matches!(phase, Phase::Paused)).await.map_err(|_| Error::Stopped)?;
        if matches!(*phase, Phase::Stopped) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Everything that happens from now on, over pauses, until the node is shut down.
    #[must_use]
    pub fn happenings(&self) -> Happenings {
        Happenings { node: self.clone(), events: self.events(), phase: self.inner.phase.subscribe() }
    }
}

/// Everything that happens to a node; see [`Node::happenings`].
pub struct Happenings {
    node: Node,
    events: broadcast::Receiver<Event>,
    phase: watch::Receiver<Phase>,
}

impl Happenings {
    /// The next event; or `None` if some may have been missed, as while the node was paused and another process had the
    /// directory. Waits while it is paused. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        tokio::select! {
            biased;
            changed = self.phase.changed() => {
                changed.map_err(|_| Error::Stopped)?;
                self.phase.mark_changed();
                self.node.runs().await?;
                self.phase.mark_unchanged();
                Ok(None)
            }
            event = self.events.recv() => match event {
                Ok(event) => Ok(Some(event)),
                Err(broadcast::error::RecvError::Lagged(_)) => Ok(None),
                Err(broadcast::error::RecvError::Closed) => Err(Error::Stopped),
            },
        }
    }

    /// Waits until one of the events that `concerns` says so of may have happened; all that did by then count as one.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) async fn any(&mut self, concerns: impl Fn(&Event) -> bool) -> Result<(), Error> {
        while !self.next().await?.is_none_or(|event| concerns(&event)) {}
        while self.events.try_recv().is_ok() {}
        Ok(())
    }

    /// Reads, as soon as the node runs.
    ///
    /// # Errors
    /// Those of `read`, but for [`Error::Paused`].
    pub(crate) async fn read<T, F: Future<Output = Result<T, Error>>>(&self, read: impl Fn() -> F) -> Result<T, Error> {
        loop {
            match read().await {
                Err(Error::Paused) => self.node.runs().await?,
                result => return result,
            }
        }
    }
}

/// Opens an engine over `store` and has the node run. What is begun is in `leaving` until it succeeds.
pub(super) async fn run(
    inner: &Arc<Inner>,
    identity: Identity,
    store: Arc<SealedStore>,
    leaving: &mut Option<Leaving>,
) -> Result<(), Error> {
    let network = match &inner.home.network().await {
        Some(network) => Some(Transport::start(transport_config(network, &inner.home, &identity)?)?),
        None => None,
    };
    let relays = Relays::named_by_person(&inner.home.relays());
    let transport = network.as_ref().map(|(transport, _)| transport.clone());
    let (inputs, commands) = mpsc::channel(driver::COMMANDS_MAX);
    let slot = StoreSlot(Arc::new(RwLock::new(Some(store.clone()))));
    let emptied = Emptied(slot.clone());
    let (events, listening, profile) = (inner.events.clone(), inner.addresses.clone(), inner.profile.clone());
    let has_mdns = inner.home.network.as_ref().is_some_and(|network| network.mdns);
    let told = driver::Told { events, listening, profile, has_mdns };
    let (budget_bytes, sparing) = (inner.home.memory_budget_bytes, inner.home.purpose == Purpose::Extension);
    let runtime = tokio::runtime::Handle::current();
    let (opened, result) = oneshot::channel();
    let thread = thread::spawn(move || {
        // Opening and document work take as long as they take: on this thread, nobody else's.
        let stopped = match super::open_driver(identity, store, network, relays, commands, told) {
            Ok(mut driver) => {
                driver.engine.set_memory_budget(budget_bytes);
                driver.engine.set_sparing(sparing);
                let _ = opened.send(Ok(()));
                runtime.block_on(driver.run())
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                None
            }
        };
        // Whoever waits for this may open the directory at once.
        drop(emptied);
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    })?;
    let run = Running { inputs, transport, store: slot, thread: Mutex::new(Some(thread)), watching: Mutex::default() };
    let run = Arc::new(run);
    *leaving = Some(Leaving::of(run.clone()));
    result.await.map_err(|_| Error::Stopped)??;
    *leaving = None;
    let watching = tokio::spawn(small_files::watch(Arc::downgrade(inner), inner.events.subscribe()));
    *run.watching.lock().unwrap_or_else(PoisonError::into_inner) = Some(watching);
    inner.phase.send_replace(Phase::Running(run));
    Ok(())
}
