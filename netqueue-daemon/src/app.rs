//! The composition root of `netqueue daemon`: configuration, then parts, then tasks, then a bounded stop.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    api, clock,
    config::{Config, LogConfig, LogFormat},
    domain::{Aggregator, Keep, Settings},
    inventory,
    kernel::{self, EventAllowance, LoadSettings},
    metrics,
    pipeline::Pipeline,
    snapshots,
    web::{self, Exposure, Secured},
};

/// Runs the daemon until SIGTERM or SIGINT, or until it cannot see any more.
///
/// # Errors
/// The address is taken, the kernel side cannot be attached, or an essential task failed.
pub fn run(config: &Config) -> anyhow::Result<()> {
    start_log(&config.log, config.bpf_log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // The address first: it is the cheapest thing to fail, and nothing is attached yet.
    let secured = Arc::new(Secured::read(config.web_config_file.as_deref())?);
    let server = web::bind(config.listen_address, Arc::clone(&secured)).await?;
    let stop = stop_signals()?;

    let attached = kernel::attach(&load_settings(config))?;
    for probe in attached.probes().iter().filter(|probe| !probe.attached) {
        tracing::warn!(function = probe.function, at = probe.at, detail = ?probe.detail, "probe not attached");
    }
    let host = inventory::netns::host().context("cannot tell the host's network namespace")?;
    let settings = Settings {
        host,
        event_capacity: config.event_capacity,
        max_series: config.max_series,
        keep: Keep { time: config.keep_closed, ..Keep::default() },
    };
    let census = inventory::census::start().context("cannot start the inventory's thread")?;
    let mut pipeline = Pipeline::start(attached, Aggregator::new(settings, clock::now()), census, host).await;
    let (publisher, snapshots) = snapshots::channel(pipeline.refresh().await);

    let router = api::router(snapshots.clone(), &config.telemetry_path)
        .merge(metrics::router(snapshots, &config.telemetry_path));
    let exposure = exposure(config, server.local_addr());
    if let Some(warning) = exposure.warning(&secured) {
        tracing::warn!("{warning}");
    }
    tracing::info!(address = %server.local_addr(), "attached; serving");

    // Essential: without the pipeline there is nothing to serve, and nothing to attribute without the server's readers.
    let served = tokio::spawn(server.serve(router, exposure, stopped(stop.clone())));
    let outcome = tokio::select! {
        outcome = pipeline.run(publisher, stopped(stop.clone())) => outcome,
        drained = served => {
            let drained = drained.context("the web server failed")?;
            tracing::info!(cut = drained.cut, "stopped serving");
            Ok(())
        }
    };
    // The pipeline held the kernel side: by now every program is detached.
    tracing::info!("detached");
    outcome
}

fn exposure(config: &Config, address: SocketAddr) -> Exposure {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = Some(own.trim().to_owned()).filter(|own| !own.is_empty());
    Exposure {
        address,
        telemetry_path: config.telemetry_path.clone(),
        allow_unauthenticated: config.allow_unauthenticated,
        hostnames: config.hostnames.iter().cloned().chain(own).collect(),
    }
}

fn load_settings(config: &Config) -> LoadSettings {
    LoadSettings {
        ring_bytes: config.ring_bytes,
        max_listeners: config.max_listeners,
        event_allowance: config.event_rate.map(|rate| EventAllowance { rate, burst: config.event_burst }),
        log_level: config.bpf_log,
    }
}

fn start_log(config: &LogConfig, programs: Option<tracing::Level>) {
    let mut filter = config.level.to_env_filter();
    // Asked for by its own setting: the general level does not hide it.
    if let Some(directive) = programs.and_then(|level| format!("netqueue_ebpf={level}").parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match config.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    // Already set only where a test has done so.
    let _set = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// True once a signal asked to stop.
fn stop_signals() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        sender.send_replace(true);
    });
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which it is only after it said so.
    let _said = stop.wait_for(|stopping| *stopping).await;
}
