//! `clave-relay`: carries connections between devices that cannot reach each other, and cannot read what they say.
//!
//! This program owns a key, some sockets and its limits. It links no code that could decrypt anything of a team's:
//! devices encrypt for each other end to end, through it. It is driven by flags ([`Run`]), prints the addresses that
//! devices are to be given, and ends on ctrl-c.
//!
//! Storing sealed entries for devices that are offline, and forwarding them later, will be added to this program.

#![forbid(unsafe_code)]
#![allow(dead_code)]

mod access;
mod files;
mod frames;
mod hex;
mod hub;
mod identity;
mod metrics;
mod service;
mod session;
mod sources;
mod store;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use clave_transport::{Address, RelayConfig, RelayEvent, RelayLimits, RelayServer, TransportError};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

const EXAMPLE: &str = "\
Example:
  clave-relay run --listen /ip4/0.0.0.0/tcp/4001 --external /dns/relay.example.org/tcp/4001

  prints, once it can be reached, the line to give to devices:
  listening on /dns/relay.example.org/tcp/4001/p2p/12D3KooW...

  RUST_LOG=info (or debug) tells more, on standard error.";

/// A blind relay for Clave: it connects devices that cannot reach each other and cannot read what they exchange.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay until ctrl-c.
    #[command(after_help = EXAMPLE)]
    Run(Box<Run>),
}

/// The flags of `run`.
#[derive(Args)]
struct Run {
    /// Where to listen: TCP (or QUIC, if built with the feature `quic`), port 0 for any. May be repeated.
    #[arg(long, value_name = "ADDR", required = true)]
    listen: Vec<Address>,
    /// Where devices reach this relay, if not where it listens (by name, behind a router). May be repeated.
    #[arg(long, value_name = "ADDR")]
    external: Vec<Address>,
    /// The relay's key. Made at the first run. Keep it: with another key the relay has other addresses.
    #[arg(long, value_name = "FILE", default_value = "clave-relay.key")]
    identity: PathBuf,
    /// Connections, all together.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().connections_max)]
    connections: u32,
    /// Devices that can be reached through this relay at a time.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().reservations_max)]
    reservations: usize,
    /// Pairs of devices that talk at a time.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().circuits_max)]
    circuits: usize,
    /// Pairs that one device may begin.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().circuits_per_peer_max)]
    circuits_per_peer: usize,
    /// Cut a pair after so many seconds. Devices connect anew.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    circuit_seconds: u32,
    /// Cut a pair after so many MiB. 0: never.
    #[arg(long, value_name = "MIB", default_value_t = RelayLimits::default().circuit_bytes_max >> 20)]
    circuit_mib: u64,
}

/// Why the relay stopped, or did not start.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("no address given with --listen can be used: see the messages above")]
    Deaf,
    #[error("the system refused {0}: {1}")]
    System(&'static str, io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let Command::Run(flags) = Cli::parse().command;
    match run(*flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "clave-relay: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Run) -> Result<(), Failure> {
    let seed = identity::load_or_create(&flags.identity)?;
    let limits = RelayLimits {
        connections_max: flags.connections,
        reservations_max: flags.reservations,
        circuits_max: flags.circuits,
        circuits_per_peer_max: flags.circuits_per_peer,
        circuit_duration: Duration::from_secs(flags.circuit_seconds.into()),
        circuit_bytes_max: flags.circuit_mib.saturating_mul(1 << 20),
        ..RelayLimits::default()
    };
    let asked = flags.listen.len();
    let config = RelayConfig { seed, listen: flags.listen, external: flags.external, limits };
    let (server, mut events) = RelayServer::start(config)?;
    let mut interrupt = signals()?;
    let mut failed = 0;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            event = events.recv() => match event {
                Some(RelayEvent::Listening { address }) => say(&format!("listening on {address}"))?,
                Some(RelayEvent::ListenFailed { address, error }) => {
                    tracing::error!("{address}: {error}");
                    failed += 1;
                    if failed == asked {
                        return Err(Failure::Deaf);
                    }
                }
                Some(event) => tracing::info!(?event),
                None => break,
            }
        }
    }
    server.shutdown().await;
    say("stopped")
}

fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::System("to print", error))
}

/// Ctrl-c, and what a service manager sends.
fn signals() -> Result<mpsc::Receiver<()>, Failure> {
    let (sender, receiver) = mpsc::channel(1);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| Failure::System("to watch for signals", error))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            terminate.recv().await;
            // Twice is as good as once.
            let _ = sender.try_send(());
        });
    }
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = sender.try_send(());
        } else {
            // No ctrl-c here: run until killed, so keep the channel open.
            sender.closed().await;
        }
    });
    Ok(receiver)
}
