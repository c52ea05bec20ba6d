//! `iroh-blobs` with its file store, two endpoints on loopback without relays or look-up. It does not flush what it has taken.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use iroh::endpoint::presets;
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, RelayMode};
use iroh_blobs::api::blobs::{AddPathOptions, ImportMode};
use iroh_blobs::format::collection::Collection;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{BlobFormat, BlobsProtocol, Hash, HashAndFormat};

use super::child::Serving;

const LOOPBACK: &str = "127.0.0.1:0";

async fn endpoint() -> Endpoint {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).clear_ip_transports();
    let builder = builder.bind_addr(LOOPBACK).expect("an address of loopback");
    builder.bind().await.expect("loopback is there")
}

/// Takes the files of a folder in as one collection, says how long that took, and where it is to be had.
pub async fn serve(directory: &Path, source: &Path, say: impl Fn(String)) {
    let store = FsStore::load(directory).await.expect("the disk has room");
    let started = Instant::now();
    let (mut names, mut tags) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(source).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        // Syncthing leaves a folder of its own there.
        if !path.is_file() {
            continue;
        }
        let name = path.file_name().expect("a file has one").to_string_lossy().into_owned();
        let options = AddPathOptions { path, format: BlobFormat::Raw, mode: ImportMode::Copy };
        let tag = store.blobs().add_path_with_opts(options).temp_tag().await.expect("the disk has room");
        names.push((name, tag.hash()));
        tags.push(tag);
    }
    let collection: Collection = names.into_iter().collect();
    let collection = collection.store(&store).await.expect("the disk has room");
    say(started.elapsed().as_secs_f64().to_string());
    let endpoint = endpoint().await;
    let port = endpoint.bound_sockets()[0].port();
    say(format!("{} {port} {}", endpoint.id(), collection.hash()));
    let router = Router::builder(endpoint).accept(iroh_blobs::ALPN, BlobsProtocol::new(&store, None)).spawn();
    std::future::pending::<()>().await;
    drop((router, tags));
}

/// How long the files of a folder take from one that has them in its store to another's store; and until they are written out there.
pub async fn transfer(source: &Path, place: &Path) -> (Duration, Duration) {
    let at = |name: &str| place.join(name).to_str().expect("UTF-8").to_owned();
    let mut serving = Serving::start(&["iroh", &at("alice"), source.to_str().expect("UTF-8")]);
    serving.line();
    let line = serving.line();
    let [id, port, hash]: [&str; 3] = line.split(' ').collect::<Vec<_>>().try_into().expect("what serve() says");
    let port: u16 = port.parse().expect("a port");
    let address = EndpointAddr::new(id.parse().expect("an id")).with_ip_addr(SocketAddr::from(([127, 0, 0, 1], port)));
    let hash: Hash = hash.parse().expect("a hash");
    let store = FsStore::load(at("bob")).await.expect("the disk has room");
    let endpoint = endpoint().await;
    let connection = endpoint.connect(address, iroh_blobs::ALPN).await.expect("it listens");
    let started = Instant::now();
    store.remote().fetch(connection, HashAndFormat::hash_seq(hash)).complete().await.expect("it has them");
    let fetched = started.elapsed();
    let collection = Collection::load(hash, &*store).await.expect("it was fetched");
    let copy = place.join("copy");
    std::fs::create_dir(&copy).expect("an empty place");
    for (name, hash) in collection.iter() {
        store.blobs().export(*hash, copy.join(name)).finish().await.expect("the disk has room");
    }
    let whole = started.elapsed();
    endpoint.close().await;
    store.shutdown().await.expect("it runs");
    (fetched, whole)
}
