//! `clave run`: keeps a device online, and answers other commands.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use clave::{NetworkConfig, Node};
use tokio::io::AsyncReadExt as _;

use crate::args::Run;
use crate::failure::{Code, Failure};
use crate::place::Place;
use crate::reply::{Reply, Running};
use crate::screen::Screen;
use crate::session::port_file;
use crate::text;

/// How long listening may take before it counts as failed.
const LISTEN_PATIENCE: Duration = Duration::from_secs(10);

/// Runs until it is told to stop.
pub(crate) async fn run(place: &Place, run: Run, screen: &Screen) -> Result<(), Failure> {
    // From here on a signal ends it in good order.
    let mut stop = Stop::new(run.until_eof)?;
    let chosen = run.listen.is_empty();
    let listen = if chosen { listen_addresses(&place.directory) } else { run.listen };
    let network =
        NetworkConfig { listen, mdns: !run.no_mdns, quic: run.quic, relays: run.relay, ..NetworkConfig::default() };
    #[cfg(unix)]
    if crate::session::Client::connect(&place.directory).await?.is_some() {
        return Err(Failure::new(Code::Busy, "this device is running already").hint("`clave status` says how it is"));
    }
    let node = place.open(Some(network)).await?;
    let served = tokio::select! {
        served = serve(&node, place, chosen, screen) => served,
        () = stop.asked() => Ok(()),
    };
    node.shutdown().await;
    served?;
    screen.say("Offline. Everything is stored.")
}

async fn serve(node: &Node, place: &Place, chosen: bool, screen: &Screen) -> Result<(), Failure> {
    #[cfg(unix)]
    let server = crate::session::Server::bind(&place.directory)?;
    let addresses = match tokio::time::timeout(LISTEN_PATIENCE, node.listening()).await {
        Ok(addresses) => addresses?,
        Err(_) => {
            return Err(Failure::failed("this device could not listen on any of the addresses").hint(
                "another program may have taken the port: `--listen /ip4/0.0.0.0/tcp/0` takes any that is free",
            ));
        }
    };
    if chosen {
        remember_port(&place.directory, &addresses);
    }
    let running = Running {
        pid: std::process::id(),
        directory: place.directory.display().to_string(),
        addresses,
        profile: node.profile().into(),
    };
    if screen.json {
        screen.value(&Reply::Running(running))?;
    } else {
        let profile = &running.profile;
        screen.say(&format!(
            "{} is online with {}.",
            text::line(&profile.person_name),
            text::line(&profile.device_name)
        ))?;
        running.addresses.iter().try_for_each(|address| screen.say(&format!("  {}", text::line(address))))?;
        screen.say("Other commands work while this runs. Ctrl-C ends it.")?;
    }
    #[cfg(unix)]
    server.serve(node).await;
    #[cfg(not(unix))]
    {
        screen.warn("on Windows a running node cannot be shared yet: stop it before you use other commands.");
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// What ends `clave run` from outside.
struct Stop {
    until_eof: bool,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn new(until_eof: bool) -> Result<Self, Failure> {
        Ok(Self {
            until_eof,
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|error| Failure::failed(format!("signals cannot be received: {error}")))?,
        })
    }

    async fn asked(&mut self) {
        let until_eof = self.until_eof;
        let eof = async {
            if !until_eof {
                return std::future::pending().await;
            }
            let (mut stdin, mut buffer) = (tokio::io::stdin(), [0; 64]);
            while stdin.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        };
        #[cfg(unix)]
        let terminated = self.terminate.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<()>();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
            () = eof => {}
        }
    }
}

/// Every interface, on the port of last time if that is free, so that links made earlier stay good.
pub(crate) fn listen_addresses(directory: &Path) -> Vec<String> {
    let remembered = fs::read_to_string(port_file(directory)).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let port = remembered.filter(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()).unwrap_or(0);
    vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")]
}

/// Keeps the port for the next time. It is a convenience: if that fails, the next port is another one.
fn remember_port(directory: &Path, addresses: &[String]) {
    let port = addresses.iter().find_map(|address| {
        let mut parts = address.split('/').skip_while(|part| *part != "tcp");
        address.starts_with("/ip4/").then(|| parts.nth(1)).flatten()
    });
    if let Some(port) = port {
        let _ = fs::write(port_file(directory), port);
    }
}
