//! The command line.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clave_transport::Address;
use tracing_subscriber::EnvFilter;

use crate::{
    Failure, backup,
    config::{Config, LogConfig, TEMPLATE},
    control::{self, Answer},
    files, run,
    snapshot::Snapshot,
};

const EXAMPLE: &str = "\
Examples:
  clave-relay init /etc/clave-relay.toml
  clave-relay run --config /etc/clave-relay.toml

  clave-relay run --listen /ip4/0.0.0.0/tcp/4001 --external /dns/relay.example.org/tcp/4001

  prints, once it can be reached, the line to give to devices:
  listening on /dns/relay.example.org/tcp/4001/p2p/12D3KooW...

  RUST_LOG=info (or debug) tells more, on standard error.";

/// A blind relay for Clave: it keeps what devices that are offline are to be given, connects those that cannot reach each other, and can read
/// none of it.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a configuration with every key, its meaning and default.
    Init {
        /// Where to. Never written over. `-` prints it.
        #[arg(default_value = "clave-relay.toml")]
        path: PathBuf,
    },
    /// Run the relay until ctrl-c.
    #[command(after_help = EXAMPLE)]
    Run(Box<Run>),
    /// Say whether a configuration can be used.
    CheckConfig {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// How the running relay is.
    Status {
        #[command(flatten)]
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Everything the running relay counts, as Prometheus reads it.
    Stats(Place),
    /// Have the running relay take nothing more, answer what is under way, and stop.
    Drain(Place),
    /// Have the running relay read its configuration again.
    Reload(Place),
    /// Write a backup while the relay runs. When it does not, copy its data directory.
    Backup {
        /// A directory that does not exist yet.
        to: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Put a backup into an empty data directory.
    Restore {
        /// What `backup` wrote.
        from: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Block a mailbox (64 hexadecimal digits), a device (12D3KooW…), an address or a network (192.0.2.0/24).
    Block {
        what: String,
        #[command(flatten)]
        place: Place,
    },
    /// No longer.
    Unblock {
        what: String,
        #[command(flatten)]
        place: Place,
    },
    /// What is blocked.
    Blocked(Place),
    /// Print the manual page (roff).
    #[command(hide = true)]
    Man,
}

/// Which relay.
#[derive(Args)]
struct Place {
    /// Its configuration.
    #[arg(long, value_name = "FILE", env = "CLAVE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Its data directory, if not that of the configuration.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    fn load(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        Ok(config)
    }
}

/// The flags of `run`. They go before the configuration.
#[derive(Args)]
struct Run {
    /// The configuration. Without one, nothing but these flags counts, and no metrics are served.
    #[arg(long, value_name = "FILE", env = "CLAVE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Where to listen: TCP (or QUIC, if built with the feature `quic`), port 0 for any. May be repeated.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
    /// Where devices reach this relay, if not where it listens (by name, behind a router). May be repeated.
    #[arg(long, value_name = "ADDR")]
    external: Vec<Address>,
    /// The relay's key. Made at the first run. Keep it: with another key the relay has other addresses. Without a configuration: clave-relay.key.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The directory for what is stored. Without a configuration: beside the key, named like it with .data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Connections, all together.
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// Devices that can be reached through this relay at a time.
    #[arg(long, value_name = "N")]
    reservations: Option<usize>,
    /// Pairs of devices that talk at a time.
    #[arg(long, value_name = "N")]
    circuits: Option<usize>,
    /// Pairs that one device may begin.
    #[arg(long, value_name = "N")]
    circuits_per_peer: Option<usize>,
    /// Cut a pair after so many seconds. Devices connect anew.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    circuit_seconds: Option<u32>,
    /// Cut a pair after so many MiB. 0: never.
    #[arg(long, value_name = "MIB")]
    circuit_mib: Option<u64>,
}

impl Run {
    /// The configuration as the file and the flags have it.
    fn load(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => self.without_file()?,
        };
        let texts = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect();
        if !self.listen.is_empty() {
            config.listen = texts(&self.listen);
        }
        if !self.external.is_empty() {
            config.external = texts(&self.external);
        }
        fn set<T: Clone>(place: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                place.clone_from(value);
            }
        }
        set(&mut config.identity, &self.identity);
        set(&mut config.data, &self.data);
        let circuits = &mut config.circuits;
        set(&mut circuits.connections_max, &self.connections);
        set(&mut circuits.reservations_max, &self.reservations);
        set(&mut circuits.circuits_max, &self.circuits);
        set(&mut circuits.device_circuits_max, &self.circuits_per_peer);
        set(&mut circuits.circuit_seconds, &self.circuit_seconds);
        set(&mut circuits.circuit_mib, &self.circuit_mib);
        config.check()?;
        Ok(config)
    }

    fn without_file(&self) -> Result<Config, Failure> {
        if self.listen.is_empty() {
            return Err(Failure::NoListen);
        }
        let identity = self.identity.clone().unwrap_or_else(|| "clave-relay.key".into());
        let mut config = Config { data: identity.with_extension("data"), identity, ..Config::default() };
        config.metrics.listen.clear();
        config.log = LogConfig { level: "warn".into(), ..LogConfig::default() };
        Ok(config)
    }
}

/// Does what the command line says.
pub(crate) async fn execute() -> Result<(), Failure> {
    match Cli::parse().command {
        Command::Init { path } => init(&path),
        Command::Run(flags) => {
            let config = flags.load()?;
            log(&config.log);
            run::run(move || flags.load()).await
        }
        Command::CheckConfig { config } => {
            Config::load(&config)?;
            run::say(&format!("{} can be used", config.display()))
        }
        Command::Status { place, json } => status(&place, json).await,
        Command::Stats(place) => {
            let text = snapshot(&place).await?.prometheus();
            run::say(text.trim_end())
        }
        Command::Drain(place) => ask(&place, &control::Command::Drain).await,
        Command::Reload(place) => ask(&place, &control::Command::Reload).await,
        Command::Backup { to, place } => {
            // The relay has another working directory.
            let to = std::path::absolute(&to).map_err(|error| Failure::File(to, error))?;
            ask(&place, &control::Command::Backup(to)).await
        }
        Command::Restore { from, place } => {
            let config = place.load()?;
            backup::restore(&from, &config)?;
            run::say(&format!("restored to {}: start the relay", config.data.display()))
        }
        Command::Block { what, place } => ask(&place, &control::Command::Block(what)).await,
        Command::Unblock { what, place } => ask(&place, &control::Command::Unblock(what)).await,
        Command::Blocked(place) => ask(&place, &control::Command::Blocked).await,
        Command::Man => {
            let page = clap_mangen::Man::new(Cli::command());
            page.render(&mut io::stdout()).map_err(|error| Failure::System("to print", error))
        }
    }
}

fn log(config: &LogConfig) {
    let level = &config.level;
    // Libraries name peers and addresses where they like.
    let own = format!("off,clave_relay={level},clave_transport={}", if config.addresses { level } else { "error" });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(own));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if config.json { builder.json().init() } else { builder.init() }
}

fn init(path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        return run::say(TEMPLATE.trim_end());
    }
    if path.exists() {
        return Err(Failure::NotDone(format!("{} is there already: name another file", path.display())));
    }
    files::write_durably(path, TEMPLATE.as_bytes()).map_err(|error| Failure::File(path.into(), error))?;
    run::say(&format!("wrote {}: read it, then `clave-relay run --config {}`", path.display(), path.display()))
}

async fn ask(place: &Place, command: &control::Command) -> Result<(), Failure> {
    match control::ask(&place.load()?.data, command).await? {
        Answer::Said(said) => run::say(&said),
        Answer::List(lines) => lines.iter().try_for_each(|line| run::say(line)),
        Answer::Failed(why) => Err(Failure::NotDone(why)),
        Answer::Status(_) => Err(control::ControlError::Nonsense.into()),
    }
}

async fn snapshot(place: &Place) -> Result<Snapshot, Failure> {
    match control::ask(&place.load()?.data, &control::Command::Status).await? {
        Answer::Status(snapshot) => Ok(*snapshot),
        Answer::Failed(why) => Err(Failure::NotDone(why)),
        _ => Err(control::ControlError::Nonsense.into()),
    }
}

async fn status(place: &Place, json: bool) -> Result<(), Failure> {
    let now = snapshot(place).await?;
    if json {
        let text = serde_json::to_string(&now).expect("numbers and names can be written");
        return run::say(&text);
    }
    let state = match &now {
        now if now.draining => "draining",
        now if now.disk_full => "the disk is full: puts are refused",
        _ => "running",
    };
    let store = &now.store;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    run::say(&format!(
        "{state}, version {}, for {} s\nsessions: {}, following {} mailboxes\nstored: {} of {} in {} mailboxes ({} entries, {} chunks)\n\
         since the start: {} stored, {} delivered, {} expired, {} dropped\ndisk free: {}",
        now.version,
        now.uptime_seconds,
        now.sessions,
        now.followed_mailboxes,
        mib(store.bytes),
        mib(store.bytes_max),
        store.mailboxes,
        store.entries,
        store.chunks,
        now.put_total,
        now.delivered_total,
        store.expired_total,
        store.dropped_total,
        mib(now.disk_free_bytes),
    ))
}
