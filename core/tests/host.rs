//! What a host does in place of the library: that it is really asked, and that one who fails or never answers does no harm.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use clave::{
    Error, Host, Interfaces, KeyWrapping, KeyWrappingError, NetworkConfig, Node, NodeConfig, ResolveNames, StoreError,
    Unlock,
};

const SAFETY: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

fn loopback() -> NetworkConfig {
    NetworkConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], mdns: false, ..NetworkConfig::default() }
}

/// What a key store does with the key when it is asked to make it again.
#[derive(Clone, Copy)]
enum Answer {
    Key,
    AnotherKey,
    Fails(KeyWrappingError),
    Panics,
}

/// A key store that never shows what it masks keys with.
struct KeyStore {
    mask: [u8; 32],
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    wrapped: Mutex<Vec<u8>>,
}

impl KeyStore {
    fn new(mask: u8) -> Arc<Self> {
        let (answer, wrapped) = (Mutex::new(Answer::Key), Mutex::default());
        Arc::new(Self { mask: [mask; 32], answer, asked: AtomicUsize::new(0), wrapped })
    }

    fn masked(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().zip(self.mask).map(|(byte, mask)| byte ^ mask).collect()
    }

    fn will(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with it") = answer;
    }
}

impl KeyWrapping for KeyStore {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, KeyWrappingError> {
        let wrapped = self.masked(key);
        self.wrapped.lock().expect("nobody panics with it").clone_from(&wrapped);
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Vec<u8>, KeyWrappingError> {
        self.asked.fetch_add(1, SeqCst);
        let answer = *self.answer.lock().expect("nobody panics with it");
        match answer {
            Answer::Key => Ok(self.masked(wrapped)),
            Answer::AnotherKey => Ok(vec![7; 32]),
            Answer::Fails(error) => Err(error),
            Answer::Panics => panic!("the key store is out of its mind"),
        }
    }
}

fn locked(directory: &Path, host: &Arc<KeyStore>) -> NodeConfig {
    NodeConfig { unlock: Unlock::Host(host.clone()), ..NodeConfig::new(directory) }
}

#[tokio::test]
async fn a_vault_that_the_host_wraps_is_no_use_without_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (directory, host) = (directory.path().join("小红"), KeyStore::new(0x5a));
    let node = Node::create(locked(&directory, &host), "小红", "手机").await.expect("a new directory");
    let space = node.create_space("编辑部").await.expect("a space");
    space.timeline().send("四月见").await.expect("a message");
    // Pausing asks nobody again.
    node.pause().await.expect("it runs");
    node.resume().await.expect("the directory is free");
    assert_eq!(host.asked.load(SeqCst), 0);
    node.shutdown().await;

    let vault = std::fs::read(directory.join("vault")).expect("it is there");
    let wrapped = host.wrapped.lock().expect("nobody panics with it").clone();
    assert!(vault.ends_with(&wrapped), "what the host made is not what is stored");
    let key = host.masked(&wrapped);
    assert!(!vault.windows(32).any(|window| window == key), "the key is there in clear");

    // Without the host, with nothing and with any passphrase.
    for unlock in [Unlock::WithoutPassphrase, Unlock::Passphrase("四月".to_owned().into())] {
        let without = NodeConfig { unlock, ..NodeConfig::new(&directory) };
        let error = Node::open(without).await.err().expect("it must not open");
        assert_eq!((error.code(), error.is_retryable()), ("vault.host_needed", false));
    }
    for (answer, code, is_retryable) in [
        (Answer::Fails(KeyWrappingError::Unavailable), "vault.unavailable", true),
        (Answer::Fails(KeyWrappingError::Cancelled), "vault.cancelled", true),
        (Answer::Fails(KeyWrappingError::KeyGone), "vault.key_gone", false),
        (Answer::AnotherKey, "vault.key_gone", false),
        (Answer::Panics, "vault.unavailable", true),
    ] {
        host.will(answer);
        let error = Node::open(locked(&directory, &host)).await.err().expect("it must not open");
        assert_eq!((error.code(), error.is_retryable()), (code, is_retryable));
    }
    let other = KeyStore::new(0x11);
    let error = Node::open(locked(&directory, &other)).await.err().expect("it must not open");
    assert_eq!(error.code(), "vault.key_gone");

    // None of it changed anything.
    host.will(Answer::Key);
    let node = Node::open(locked(&directory, &host)).await.expect("the host is there again");
    let history = node.spaces().await.expect("it runs")[0].timeline().history(9, None).await.expect("it runs");
    assert_eq!(history[0].body, "四月见");
    // Who has it open is told before the host is bothered in vain only if the host answers.
    let busy = Node::open(locked(&directory, &host)).await.err().expect("it is open");
    assert!(matches!(busy, Error::Store(StoreError::Busy { .. })) && busy.is_retryable());
    node.shutdown().await;
}

/// A key store that asks a user who does not answer.
struct Asks(Mutex<mpsc::Receiver<()>>, tokio::sync::mpsc::Sender<()>);

impl KeyWrapping for Asks {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, KeyWrappingError> {
        Ok(key.to_vec())
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Vec<u8>, KeyWrappingError> {
        let _ = self.1.try_send(());
        // Until the test lets go of the other end.
        let _ = self.0.lock().expect("nobody panics with it").recv();
        Ok(wrapped.to_vec())
    }
}

#[tokio::test]
async fn a_host_that_waits_for_its_user_holds_up_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ((answer, answers), (asks, mut asked)) = (mpsc::sync_channel(1), tokio::sync::mpsc::channel(1));
    let host = Arc::new(Asks(Mutex::new(answers), asks));
    let config = |unlock| NodeConfig { unlock, ..NodeConfig::new(directory.path().join("小红")) };
    let node = Node::create(config(Unlock::Host(host.clone())), "小红", "手机").await.expect("a new directory");
    node.shutdown().await;
    let opening = tokio::spawn(Node::open(config(Unlock::Host(host))));
    within(asked.recv()).await.expect("it asks");
    // This runtime has one thread, and it is free; the directory is not locked.
    let lock = clave::open_store(&directory.path().join("小红"), clave::StoreKind::Redb).expect("nobody has it open");
    drop(lock);
    answer.send(()).expect("it waits");
    within(opening).await.expect("it did not panic").expect("the user agreed").shutdown().await;
}

/// A resolver that knows one name, and never answers for any other.
struct Resolver {
    asked: Mutex<Vec<String>>,
    never: Mutex<mpsc::Receiver<()>>,
}

impl ResolveNames for Resolver {
    fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().expect("nobody panics with it").push(name.to_owned());
        match name {
            "xiaoming.invalid" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            "panics.invalid" => panic!("the resolver is out of its mind"),
            _ => {
                let _ = self.never.lock().map(|never| never.recv());
                Err(std::io::ErrorKind::NotFound.into())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_only_the_host_resolves_is_dialled_and_what_the_host_finds_is_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (end, never) = mpsc::sync_channel(1);
    let resolver = Arc::new(Resolver { asked: Mutex::default(), never: Mutex::new(never) });
    let hong =
        NodeConfig::new(directory.path().join("小红")).online(NetworkConfig { listen: Vec::new(), ..loopback() });
    let hong = NodeConfig { host: Host { names: Some(resolver.clone()), interfaces: None }, ..hong };
    let hong = Node::create(hong, "小红", "手机").await.expect("a new directory");
    let ming = NodeConfig::new(directory.path().join("小明")).online(loopback());
    let ming = Node::create(ming, "小明", "手机").await.expect("a new directory");
    let port = within(ming.listening()).await.expect("it runs")[0].rsplit('/').next().expect("a port").to_owned();

    // She dials nobody; he dials nowhere: they meet by what the host finds. First by names for which the resolver panics or
    // hangs, then by one that it knows.
    let space = ming.create_space("编辑部").await.expect("a space");
    let mut link = space.invite(HOUR).await.expect("he may");
    link.addresses = Vec::new();
    let joining = tokio::spawn({
        let hong = hong.clone();
        async move { hong.join(&link, SAFETY).await.map(|space| space.id()) }
    });
    let device = ming.profile().device;
    let found = |name: &str| vec![format!("/dns4/{name}/tcp/{port}")];
    hong.peer_found(device, found("panics.invalid")).await.expect("it runs");
    hong.peer_found(device, found("hangs.invalid")).await.expect("it runs");
    hong.peer_found(device, found("xiaoming.invalid")).await.expect("it runs");
    assert_eq!(within(joining).await.expect("it did not panic").expect("they met"), space.id());
    assert!(resolver.asked.lock().expect("nobody panics with it").contains(&"xiaoming.invalid".to_owned()));
    assert!(hong.peer_found(device, vec!["no address".to_owned()]).await.is_err());
    // A host that never answers does not keep a node from ending.
    within(hong.shutdown()).await;
    within(ming.shutdown()).await;
    drop(end);
}

/// A machine that gets its address late.
struct Changing(Mutex<Vec<IpAddr>>, AtomicUsize);

impl Interfaces for Changing {
    fn addresses(&self) -> Vec<IpAddr> {
        self.1.fetch_add(1, SeqCst);
        let addresses = self.0.lock().expect("nobody panics with it").clone();
        assert!(!addresses.contains(&Ipv4Addr::BROADCAST.into()), "as a host may");
        addresses
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_listens_where_the_host_says_and_there_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let interfaces = Arc::new(Changing(Mutex::new(vec![Ipv4Addr::LOCALHOST.into()]), AtomicUsize::new(0)));
    let any = NetworkConfig { listen: vec!["/ip4/0.0.0.0/tcp/0".to_owned()], ..loopback() };
    let config = NodeConfig::new(directory.path().join("小红")).online(any);
    let config = NodeConfig { host: Host { names: None, interfaces: Some(interfaces.clone()) }, ..config };
    let node = Node::create(config, "小红", "手机").await.expect("a new directory");
    let listening = within(node.listening()).await.expect("it runs");
    assert!(listening.iter().all(|address| address.starts_with("/ip4/127.0.0.1/")), "{listening:?}");
    assert_eq!(interfaces.1.load(SeqCst), 1);

    let second = Ipv4Addr::new(127, 0, 0, 2);
    *interfaces.0.lock().expect("nobody panics with it") = vec![Ipv4Addr::LOCALHOST.into(), second.into()];
    node.network_changed().await;
    let has_second = || async {
        let addresses = node.listening().await.expect("it runs");
        addresses.iter().any(|address| address.starts_with("/ip4/127.0.0.2/"))
    };
    within(async {
        while !has_second().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let first =
        |addresses: &[String]| addresses.iter().filter(|address| address.starts_with("/ip4/127.0.0.1/")).count();
    assert_eq!(first(&node.listening().await.expect("it runs")), 1, "it listens there once");

    // A host that panics leaves things as they are.
    *interfaces.0.lock().expect("nobody panics with it") = vec![Ipv4Addr::BROADCAST.into()];
    node.network_changed().await;
    assert_eq!(interfaces.1.load(SeqCst), 3);
    assert!(has_second().await);
    node.shutdown().await;
}
