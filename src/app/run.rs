//! Starts and ends it all.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ambient::clock::Clock;
use crate::app::core::Core;
use crate::app::error::AppError;
use crate::app::front::Front;
use crate::app::reload::Reloader;
use crate::app::schedule::Schedules;
use crate::app::stop::Stop;
use crate::app::watch::{self, Watch};
use crate::app::{access, gates, indexing, policies, schedule};
use crate::config::settings::Config;
use crate::console::server::{self, Handles};
use crate::store::lock::GatewayLock;

/// How often it is looked whether every part still runs.
const ALIVE: Duration = Duration::from_millis(250);
/// How long tasks may take to end after everything was drained.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Runs the gateway until a signal ends it. One per store: a second is refused.
pub fn serve(config: Arc<Config>, clock: Clock) -> Result<(), AppError> {
    let _lock = GatewayLock::acquire(&config.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|cause| AppError::Start { what: "the runtime", cause })?;
    let core = Arc::new(Core::build(config, clock)?);
    let outcome = with_runtime(&runtime, &core);
    runtime.shutdown_timeout(SHUTDOWN);
    tracing::info!("gateway stopped");
    outcome
}

fn with_runtime(runtime: &Runtime, core: &Arc<Core>) -> Result<(), AppError> {
    let stop = Stop::default();
    let mut signals = runtime.block_on(async { Signals::new() })?;
    // a set that does not check closes every gate and is told; the gateway runs, so that it can be mended
    policies::reload(core);
    gates::decide_all(core)?;
    let (audit, audit_thread) = access::start(core)?;
    console(runtime, core, &stop)?;
    let front = Arc::new(Front::start(core, audit)?);
    let mut schedules = schedule::start(runtime, core, &stop)?;
    let reloader = Reloader::start(core, &front, &stop)?;
    let tell = reloader.teller();
    schedules.add(schedule::discover(runtime, core, &stop, Arc::new(move || tell.members())));
    let watcher = store_watch(core, &stop, &reloader)?;
    let indexer = indexing::start(core, reloader.teller(), &stop)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), metrics = %core.config.listen.metrics, "gateway runs");
    let parts =
        [("the store watch", &watcher), ("the reloader", reloader.thread()), ("the indexes", &indexer)];
    let why = runtime.block_on(until(&mut signals, &reloader, &front, &schedules, &parts));
    tracing::info!(why, "gateway stops");
    core.health.fail("stopping", "it takes nothing new and lets operations in flight end");
    stop.stop();
    let limit = Duration::from_secs(u64::from(core.config.intervals.drain_seconds));
    front.drain(limit);
    runtime.block_on(schedules.ended(limit));
    for thread in [watcher, indexer, reloader.into_thread()] {
        if thread.join().is_err() {
            tracing::error!("a thread ended by a panic");
        }
    }
    // the front door held the last sender of access records
    drop(front);
    if audit_thread.join().is_err() {
        tracing::error!("the access audit ended by a panic");
    }
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, AppError> {
        let on = |kind| signal(kind).map_err(|cause| AppError::Start { what: "signal handling", cause });
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }
}

/// Waits for a signal to stop, or for a part to end that should not; says which.
async fn until(
    signals: &mut Signals,
    reloader: &Reloader,
    front: &Front,
    schedules: &Schedules,
    parts: &[(&'static str, &JoinHandle<()>)],
) -> &'static str {
    let mut alive = tokio::time::interval(ALIVE);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return "told to terminate",
            _ = signals.interrupt.recv() => return "interrupted",
            _ = signals.hang_up.recv() => {
                tracing::info!("told to reload");
                reloader.now();
            }
            _ = alive.tick() => {
                if let Some((part, _)) = parts.iter().find(|(_, thread)| thread.is_finished()) {
                    tracing::error!(part, "a part of the gateway ended that should not");
                    return "a part ended";
                }
                let part = if !front.is_running() {
                    "the front door"
                } else if !schedules.are_running() {
                    "a schedule"
                } else {
                    continue;
                };
                tracing::error!(part, "a part of the gateway ended that should not");
                return "a part ended";
            }
        }
    }
}

fn console(runtime: &Runtime, core: &Arc<Core>, stop: &Stop) -> Result<(), AppError> {
    let address = core.config.listen.metrics;
    let listener =
        runtime.block_on(TcpListener::bind(address)).map_err(|cause| AppError::Listen { address, cause })?;
    let shown = Arc::clone(core);
    let handles = Handles {
        registry: core.registry.clone(),
        health: core.health.clone(),
        refresh: Arc::new(move || shown.refresh_metrics()),
    };
    let mut stopped = stop.watch();
    runtime.spawn(async move {
        let until = async move {
            // a sender that is gone means the same
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        if let Err(error) = server::serve(listener, handles, until).await {
            tracing::error!(%error, "the metrics pages ended");
        }
    });
    Ok(())
}

fn store_watch(core: &Arc<Core>, stop: &Stop, reloader: &Reloader) -> Result<JoinHandle<()>, AppError> {
    let mut watch = Watch::new(core)?;
    let (core, stop, tell) = (Arc::clone(core), stop.clone(), reloader.teller());
    std::thread::Builder::new()
        .name("store-watch".to_owned())
        .spawn(move || {
            while !stop.is_set() {
                let seen = watch.look(&core);
                if seen.members {
                    tell.members();
                }
                if seen.policies {
                    tell.policies();
                }
                std::thread::sleep(watch::EVERY);
            }
            watch.checkpoint(&core);
        })
        .map_err(|cause| AppError::Start { what: "the store watch", cause })
}
