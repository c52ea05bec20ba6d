//! The peer: `samod`, whose repositories sync Automerge documents in clear over TCP.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use automerge::Automerge;
use samod::tokio_io::TcpDialer;
use samod::{BackoffConfig, DocumentId, Repo, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const WORKS: &str = "samod works";

/// A repository that has documents.
pub struct Samod {
    runtime: Runtime,
    repo: Repo,
    documents: Vec<(DocumentId, usize)>,
}

impl Samod {
    pub fn new(saved: &[Vec<u8>]) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let (repo, documents) = runtime.block_on(async {
            let repo = Repo::build_tokio().load().await;
            let mut documents = Vec::new();
            for bytes in saved {
                let document = Automerge::load(bytes).expect("it was saved right before");
                let changes = document.get_changes(&[]).len();
                let handle = repo.create(document).await.expect(WORKS);
                documents.push((handle.document_id().clone(), changes));
            }
            (repo, documents)
        });
        Self { runtime, repo, documents }
    }

    /// Has a new repository find every document. How long that took, and the bytes of both ways.
    pub fn catch_up(&self) -> (Duration, u64) {
        self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect(WORKS);
            let port = listener.local_addr().expect(WORKS).port();
            let url = format!("tcp://127.0.0.1:{port}").parse::<url::Url>().expect("a URL");
            let acceptor = self.repo.make_acceptor(url).expect(WORKS);
            let bytes = Arc::new(AtomicU64::new(0));
            let counter = bytes.clone();
            let accepting = tokio::spawn(async move {
                let (io, _) = listener.accept().await.expect(WORKS);
                io.set_nodelay(true).expect(WORKS);
                acceptor.accept(Transport::from_tokio_io(Counted { io, bytes: counter })).expect(WORKS)
            });
            let repo = Repo::build_tokio().load().await;
            let started = Instant::now();
            let dialer = TcpDialer::new_host_port("127.0.0.1".to_owned(), port);
            let _dialing = repo.dial(BackoffConfig::default(), Arc::new(dialer)).expect(WORKS);
            let connection = accepting.await.expect(WORKS);
            connection.handshake_complete().await.expect(WORKS);
            let finding = self.documents.iter().map(|(id, changes)| {
                let repo = repo.clone();
                async move {
                    // It is not found as long as this side does not know yet that they are connected.
                    let handle = loop {
                        match repo.find(id.clone()).await.expect(WORKS) {
                            Some(handle) => break handle,
                            None => tokio::time::sleep(Duration::from_millis(1)).await,
                        }
                    };
                    while handle.with_document(|document| document.get_changes_meta(&[]).len()) < *changes {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
            futures::future::join_all(finding).await;
            let took = started.elapsed();
            repo.stop().await;
            (took, bytes.load(Ordering::Relaxed))
        })
    }
}

/// Counts what goes over a stream, both ways.
struct Counted {
    io: TcpStream,
    bytes: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buf);
        self.bytes.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.bytes.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
