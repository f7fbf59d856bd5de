//! The listener of the admin API: few connections, small requests, no patience.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::live::admin::{Admin, routes};

/// Most connections at once: people and scrapers are few.
const CONNECTIONS: usize = 256;
/// Time for a client to send its headers, and to come back on an idle connection.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request.
const HEAD_SIZE: usize = 32 << 10;

impl Admin {
    /// Serves the API on a listener, for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let service = routes::router(self);
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Whoever comes when all are taken waits in the listener's own queue.
            let Ok(place) = free.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let service = service.clone();
                    tokio::spawn(async move {
                        connection(stream, service).await;
                        drop(place);
                    });
                }
                // Out of file descriptors, most likely: some will be free soon.
                Err(error) => {
                    tracing::warn!(%error, "the admin API cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Router) {
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the admin API ended");
    }
}
