//! A relay that runs: everything put together, until it is told to stop.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clave_transport::{RelayConfig, RelayEvent, RelayServer};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    access::Blocks,
    backup,
    config::Config,
    control::{self, Answer, Command},
    http,
    hub::Hub,
    identity,
    metrics::Metrics,
    service::{Service, now_seconds},
    session::Terms,
    signals::{self, Signal},
    snapshot::{Snapshot, Surroundings},
    sources::Sources,
    store::{ClusterError, JetStreamStore, MailboxStore, Objects, RedbStore},
    wake::{Bell, Wakes},
};

/// How often what is too old is removed, sources are forgotten, and the disk is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(20);

/// Devices that may wait for their session to begin.
const CALLERS_MAX: usize = 1024;

/// Commands that may wait.
const COMMANDS_MAX: usize = 16;

/// The files of a relay.
pub(crate) fn store_path(data: &Path) -> PathBuf {
    data.join("mailboxes.redb")
}

pub(crate) fn blocks_path(data: &Path) -> PathBuf {
    data.join("blocked.toml")
}

/// What runs, for signals and commands to act on.
struct Relay<L> {
    config: Config,
    /// The configuration as it is by now.
    load: L,
    service: Arc<Service>,
    around: Arc<Surroundings>,
    began: Instant,
}

/// Runs until it is told to stop. `load` reads the configuration again.
pub(crate) async fn run(load: impl Fn() -> Result<Config, Failure>) -> Result<(), Failure> {
    let config = load()?;
    let (listen, external) = config.addresses()?;
    let made = make_directory(&config.data);
    // Where neither can be made, the key is what was named.
    let seed = identity::load_or_create(&config.identity())?;
    made?;
    let hub = Arc::new(Hub::default());
    let wakes =
        if config.wake.enabled { Some(Wakes::open(&config.data, config.wake_rules(), Instant::now())?) } else { None };
    let bell = Arc::new(Bell { hub: hub.clone(), wakes: wakes.clone() });
    let store = open_store(&config, bell).await?;
    let blocks = blocks_path(&config.data);
    let blocks = Arc::new(Blocks::load(&blocks).map_err(|error| Failure::Blocks(blocks, error))?);
    let asked = listen.len();
    let relay_config = RelayConfig { seed, listen, external, limits: config.limits() };
    let (server, events, callers) = RelayServer::start_with_mailboxes(relay_config, CALLERS_MAX)?;
    let terms = terms(&config, server.key().0, &*store, blocks, wakes.clone())?;
    let service = Service::new(
        store,
        hub,
        Sources::new(config.rates()),
        terms,
        Arc::new(Metrics::default()),
        config.log.addresses,
    );
    let mut relay = Relay { config, load, service, around: Arc::default(), began: Instant::now() };
    relay.look_at_disk();
    let commands = relay.open_ports().await?;
    tokio::spawn(relay.service.clone().serve(callers));
    let quiet = CancellationToken::new();
    let pushing = wakes.map(|wakes| tokio::spawn(wakes.run(quiet.clone())));
    let told = relay.until_told(&server, events, commands, asked).await;
    relay.service.drain(Duration::from_secs(relay.config.drain_seconds)).await;
    // What the last sessions left undelivered is remembered.
    quiet.cancel();
    if let Some(pushing) = pushing {
        // It panicked, which it has told.
        let _ = pushing.await;
    }
    server.shutdown().await;
    // Whoever asked for it hears that it is over by the end of the connection: so the answer is held until here.
    drop(told?);
    say("stopped")
}

async fn open_store(config: &Config, news: Arc<Bell>) -> Result<Arc<dyn MailboxStore>, Failure> {
    if let Some((cluster, objects)) = config.cluster()? {
        let objects = Objects::open(&objects).map_err(ClusterError::from)?;
        return Ok(Arc::new(JetStreamStore::open(cluster, objects, config.quotas(), news).await?));
    }
    let cache_bytes = config.mailboxes.cache_mib << 20;
    Ok(Arc::new(RedbStore::open(&store_path(&config.data), cache_bytes, config.quotas(), news)?))
}

fn make_directory(data: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(data) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Failure::Data(data.into(), error)),
        _ => Ok(()),
    }
}

fn terms(
    config: &Config,
    relay: [u8; 32],
    store: &dyn MailboxStore,
    blocks: Arc<Blocks>,
    wakes: Option<Arc<Wakes>>,
) -> Result<Terms, Failure> {
    Ok(Terms {
        relay,
        generation: store.generation(),
        kept_seconds: config.quotas().kept_seconds,
        blob_bytes_max: config.mailboxes.blob_kib << 10,
        mailboxes_max: config.mailboxes.open_max,
        access: config.access()?,
        blocks,
        wakes,
    })
}

type Told = Option<oneshot::Sender<Answer>>;

impl<L: Fn() -> Result<Config, Failure>> Relay<L> {
    /// The control socket and the metrics port.
    async fn open_ports(&self) -> Result<mpsc::Receiver<control::Asked>, Failure> {
        let (asked, commands) = mpsc::channel(COMMANDS_MAX);
        tokio::spawn(control::serve(control::listen(&self.config.data)?, asked));
        if let Some(address) = self.config.metrics_address()? {
            let listener = TcpListener::bind(address).await.map_err(|error| Failure::Metrics(address, error))?;
            let bound = listener.local_addr().map_err(|error| Failure::Metrics(address, error))?;
            say(&format!("metrics on http://{bound}/"))?;
            let (service, around, began) = (self.service.clone(), self.around.clone(), self.began);
            tokio::spawn(http::serve(listener, move || Snapshot::take(&service, &around, began.elapsed().as_secs())));
        }
        Ok(commands)
    }

    /// Until a signal or a command says to stop. Who then waits for the end.
    async fn until_told(
        &mut self,
        server: &RelayServer,
        mut events: mpsc::Receiver<RelayEvent>,
        mut commands: mpsc::Receiver<control::Asked>,
        asked: usize,
    ) -> Result<Told, Failure> {
        let mut signals = signals::watch()?;
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = 0;
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Signal::Reload) => match self.reload(server) {
                        Ok(()) => tracing::info!("the configuration was read again"),
                        Err(failure) => tracing::error!("the configuration was not read again: {failure}"),
                    },
                    _ => return Ok(None),
                },
                Some((command, reply)) = commands.recv() => {
                    if command == Command::Drain {
                        return Ok(Some(reply));
                    }
                    self.command(server, command, reply);
                }
                event = events.recv() => match event {
                    Some(RelayEvent::Listening { address }) => say(&format!("listening on {address}"))?,
                    Some(RelayEvent::ListenFailed { address, error }) => {
                        tracing::error!("{address}: {error}");
                        failed += 1;
                        if failed == asked {
                            return Err(Failure::Deaf);
                        }
                    }
                    Some(event) => self.count(&event),
                    None => return Ok(None),
                },
                _ = sweep.tick() => {
                    self.look_at_disk();
                    self.service.sources.forget(Instant::now());
                    let store = self.service.store.clone();
                    tokio::spawn(async move {
                        if let Err(error) = store.sweep(now_seconds()).await {
                            tracing::error!(%error, "what is too old could not be removed");
                        }
                    });
                }
            }
        }
    }

    fn count(&self, event: &RelayEvent) {
        match event {
            RelayEvent::Reserved { .. } => self.service.metrics.reservations.fetch_add(1, Relaxed),
            RelayEvent::CircuitOpened { .. } => self.service.metrics.circuits.fetch_add(1, Relaxed),
            _ => 0,
        };
        if self.config.log.addresses {
            tracing::info!(?event);
        }
    }

    fn look_at_disk(&self) {
        let reserve = self.config.mailboxes.disk_reserve_mib << 20;
        let free = match rustix::fs::statvfs(&self.config.data) {
            Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
            Err(error) => {
                tracing::warn!(%error, "the room on the disk is not known");
                u64::MAX
            }
        };
        let full = free < reserve;
        if full != self.around.disk_full.swap(full, Relaxed) {
            let free_mib = free >> 20;
            if full {
                tracing::warn!(free_mib, "puts are refused: the disk has less room than disk_reserve_mib");
            } else {
                tracing::info!(free_mib, "the disk has room again");
            }
        }
        self.around.disk_free_bytes.store(free, Relaxed);
        self.around.store_bytes_max.store(self.config.quotas().store_bytes_max, Relaxed);
        self.service.store.set_disk_full(full);
    }

    fn reload(&mut self, server: &RelayServer) -> Result<(), Failure> {
        let config = (self.load)()?;
        let Service { store, blocks, wakes, .. } = &*self.service;
        let terms = terms(&config, server.key().0, &**store, blocks.clone(), wakes.clone())?;
        self.service.store.set_quotas(config.quotas());
        self.service.sources.set_rates(config.rates());
        self.service.set_terms(terms);
        // The rest is in force from the next start: the data directory must stay what it is.
        self.config = Config { data: std::mem::take(&mut self.config.data), ..config };
        self.look_at_disk();
        Ok(())
    }

    fn command(&mut self, server: &RelayServer, command: Command, reply: oneshot::Sender<Answer>) {
        let answer = match command {
            Command::Status => {
                let snapshot = Snapshot::take(&self.service, &self.around, self.began.elapsed().as_secs());
                Answer::Status(Box::new(snapshot))
            }
            Command::Reload => match self.reload(server) {
                Ok(()) => Answer::Said("the configuration was read again".into()),
                Err(failure) => Answer::Failed(failure.to_string()),
            },
            Command::Backup(to) => {
                let (store, wakes, config) =
                    (self.service.store.clone(), self.service.wakes.clone(), self.config.clone());
                tokio::spawn(async move {
                    let answer = match backup::write(&*store, wakes.as_deref(), &config, &to).await {
                        Ok(()) => Answer::Said(format!("backed up to {}", to.display())),
                        Err(error) => Answer::Failed(error.to_string()),
                    };
                    let _ = reply.send(answer);
                });
                return;
            }
            Command::Block(what) => self.block(&what, true),
            Command::Unblock(what) => self.block(&what, false),
            Command::Blocked => Answer::List(self.service.blocks.list()),
            Command::Drain => Answer::Failed("it stops already".into()),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    fn block(&self, what: &str, blocked: bool) -> Answer {
        let parsed = match what.parse() {
            Ok(parsed) => parsed,
            Err(error) => return Answer::Failed(format!("{error}")),
        };
        match self.service.blocks.set(parsed, blocked) {
            Err(error) => {
                Answer::Failed(format!("what is blocked could not be written: {error}. Check the data directory"))
            }
            Ok(changed) => {
                self.service.end_blocked();
                let now = if blocked { "blocked" } else { "not blocked" };
                Answer::Said(if changed { format!("{what} is {now}") } else { format!("{what} was {now} before") })
            }
        }
    }
}

/// Prints a line.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::System("to print", error))
}
