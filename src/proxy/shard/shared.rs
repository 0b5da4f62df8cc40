//! What all shards and their handle share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize};

use arc_swap::ArcSwap;

use crate::ambient::clock::Clock;
use crate::gate::table::{self, GateTable};
use crate::proxy::metrics::Metrics;
use crate::proxy::settings::Settings;
use crate::proxy::snapshot::Snapshot;
use crate::tls::server::FrontTls;

/// How far the life of the front door has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Serving,
    Draining,
    Stopping,
}

impl Phase {
    pub(super) fn number(self) -> u8 {
        match self {
            Phase::Serving => 0,
            Phase::Draining => 1,
            Phase::Stopping => 2,
        }
    }

    /// Anything unknown means stopping.
    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }
}

/// What decides about requests, as of one moment: agreements and gates by the same policy set.
pub struct World {
    pub snapshot: Arc<Snapshot>,
    pub gates: Arc<table::Snapshot>,
}

/// What shards see besides their own sockets. A turn takes the swappable parts once.
pub struct Shared {
    pub settings: Arc<Settings>,
    /// Stored only while the table of gates is held, so that no turn sees the gates of one policy set with the agreements of another.
    pub world: Arc<ArcSwap<World>>,
    pub gates: Arc<GateTable>,
    /// A connection keeps the settings it began with; its certificate is held against the newest.
    pub tls: ArcSwap<FrontTls>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub(super) phase: AtomicU8,
    pub(super) running: AtomicUsize,
}
