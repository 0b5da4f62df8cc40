//! The HTTP server.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::Registry;
use tokio::net::TcpListener;

use crate::console::health::Health;
use crate::telemetry::registry;

/// Called before each scrape, so that ages are true when they are read. Must be quick.
pub type Refresh = Arc<dyn Fn() + Send + Sync>;

/// What the pages show.
#[derive(Clone)]
pub struct Handles {
    pub registry: Registry,
    pub health: Health,
    pub refresh: Refresh,
}

/// Serves until `until` ends, then lets answers in flight finish.
pub async fn serve(
    listener: TcpListener,
    handles: Handles,
    until: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, routes(handles)).with_graceful_shutdown(until).await
}

fn routes(handles: Handles) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(handles)
}

async fn metrics(State(handles): State<Handles>) -> Response {
    (handles.refresh)();
    match registry::text(&handles.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, registry::MEDIA_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn live() -> &'static str {
    "alive\n"
}

async fn ready(State(handles): State<Handles>) -> Response {
    let reasons = handles.health.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = reasons.iter().map(|(part, reason)| format!("{part}: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}
