//! Names that the host resolves.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, mpsc},
};

use clave_transport::{Config, Names, ResolveNames};

use crate::{
    harness::{config, in_time, start},
    sockets::{proxy, socket},
};

/// Knows one host, by addresses of which the last alone answers.
struct Hosts {
    asked: Mutex<Vec<String>>,
    /// Who asks for another one waits until the test ends.
    end: Mutex<mpsc::Receiver<()>>,
}

impl ResolveNames for Hosts {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        match name {
            "bob.invalid" => {
                Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 9).into(), Ipv4Addr::LOCALHOST.into()])
            }
            "nobody.invalid" => Ok(Vec::new()),
            "panics.invalid" => panic!("the resolver is out of its mind"),
            _ => {
                let _ = self.end.lock().unwrap().recv();
                Err(io::ErrorKind::NotFound.into())
            }
        }
    }
}

fn hosts() -> (Arc<Hosts>, mpsc::SyncSender<()>) {
    let (end, ends) = mpsc::sync_channel(1);
    (Arc::new(Hosts { asked: Mutex::default(), end: Mutex::new(ends) }), end)
}

/// Over TCP, WebSocket, and WebSocket in TLS, which looks at the name itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_only_the_host_knows_leads_to_a_device() {
    let (hosts, _end) = hosts();
    let mut bob = start(Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap(), socket()], ..config(2) });
    let mut named = Vec::new();
    for _ in 0..2 {
        let address = bob.address().await.to_string();
        if let Some((rest, _)) = address.split_once("/ws") {
            let (port, root) = proxy(rest.rsplit('/').next().unwrap().parse().unwrap()).await;
            named.push((format!("/dns/bob.invalid/tcp/{port}/wss"), vec![root]));
        }
        named.push((address.replace("/ip4/127.0.0.1", "/dns4/bob.invalid"), Vec::new()));
    }
    assert_eq!(named.len(), 3);
    for (address, tls_roots) in named {
        let names = Some(Names::new(hosts.clone()));
        let alice = start(Config { listen: vec![], names, tls_roots, ..config(1) });
        let connected = in_time(alice.transport.connect(None, vec![address.parse().unwrap()])).await;
        assert_eq!(connected, Ok(bob.key()), "{address}");
        in_time(alice.transport.shutdown()).await;
    }
    assert!(hosts.asked.lock().unwrap().iter().all(|name| name == "bob.invalid"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_fails_or_never_answers_costs_that_dial_and_no_other() {
    let (hosts, end) = hosts();
    let mut bob = start(config(2));
    let direct = bob.address().await;
    let named = |name: &str| direct.to_string().replace("/ip4/127.0.0.1", name).parse().unwrap();
    let names = Some(Names::new(hosts.clone()));
    let alice = start(Config { listen: vec![], names, ..config(1) });
    for name in ["/dns4/panics.invalid", "/dns4/nobody.invalid", "/dns6/bob.invalid", "/dnsaddr/bob.invalid"] {
        assert!(in_time(alice.transport.connect(None, vec![named(name)])).await.is_err(), "{name}");
    }
    // More names than are asked for at a time, none of which comes back.
    for number in 0..12 {
        alice.transport.dial(None, vec![named(&format!("/dns4/{number}.never.invalid"))]).await;
    }
    assert_eq!(in_time(alice.transport.connect(Some(bob.key()), vec![direct.clone()])).await, Ok(bob.key()));
    in_time(alice.transport.shutdown()).await;
    let asked = hosts.asked.lock().unwrap().iter().filter(|name| name.ends_with("never.invalid")).count();
    assert!(asked <= 8, "{asked} threads wait");
    drop(end);
}
