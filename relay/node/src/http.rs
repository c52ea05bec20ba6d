//! Numbers for operators, over HTTP on a private address: `/metrics`, `/health`, `/status.json`, and a page at `/`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::snapshot::Snapshot;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 32;

/// A connection that takes longer over its headers, or over all, is closed.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

const PAGE: &str = include_str!("http/page.html");

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let (snapshot, places) = (Arc::new(snapshot), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the metrics port could not be accepted");
                // Out of file descriptors, most likely: it would fail again at once.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let snapshot = snapshot.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let response = respond(&request, &*snapshot);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            // Whoever asked went away, or asked too slowly.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, snapshot: &impl Fn() -> Snapshot) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET\n".into());
    }
    match request.uri().path() {
        "/metrics" => response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", snapshot().prometheus()),
        "/health" => {
            let (status, said) = match snapshot() {
                now if now.is_healthy() => (StatusCode::OK, "ok\n"),
                now if now.draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
                _ => (StatusCode::SERVICE_UNAVAILABLE, "the disk is full\n"),
            };
            response(status, "text/plain; charset=utf-8", said.into())
        }
        "/status.json" => {
            let text = serde_json::to_string(&snapshot()).expect("numbers and names can be written");
            response(StatusCode::OK, "application/json", text)
        }
        "/" => response(StatusCode::OK, "text/html; charset=utf-8", PAGE.into()),
        _ => response(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "there is /, /metrics, /health and /status.json\n".into(),
        ),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:";
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, policy)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::X_FRAME_OPTIONS, "DENY");
    response.body(Full::new(body.into())).expect("constant headers are sound")
}
