//! Composition root of `netqueue daemon` and `netqueue replay`.
//!
//! Resolves the configuration, builds the parts, starts the tasks, and stops them in order and within bounds:
//! the server, whose requests the pipeline still answers; the pipeline, after a last reading; the event log
//! and the notifications, which get that reading; the programs.

mod stop;

use std::{
    fs::File, future::Future, io, io::IsTerminal as _, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};

use anyhow::Context as _;
use netqueue_domain::{Aggregator, AggregatorSettings, Features, Keep, Netns, Timestamp};
use netqueue_kernel::{self as kernel, EventAllowance, LoadSettings};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    api, clock,
    config::{Config, LogConfig, LogFormat},
    delivery::{self, Kind, Target, WebhookEndpoint},
    inventory,
    journal::{self, JournalSettings},
    memory, metrics,
    pipeline::{Feed, Live, Pipeline, Recorded, Source, Speed},
    privileges,
    recording::{Header, Reader},
    service_manager, snapshots, ui,
    web::{self, AuthConfig, Drained, Exposure},
};
use stop::Stop;

/// Time limit for the last notifications, once the pipeline has stopped.
const NOTIFY: Duration = Duration::from_secs(2);

/// Runs the daemon until SIGTERM or SIGINT, or until the kernel side fails.
///
/// # Errors
/// The address is in use, the kernel side cannot be attached, or an essential task failed.
pub fn run(config: &Config) -> anyhow::Result<()> {
    memory::keep_small();
    start_log(&config.log, config.bpf_log);
    let front = Front::open(config)?;
    privileges::take_up_granted().context("cannot take up the capabilities that were granted")?;
    let attached = kernel::attach(&load_settings(config))?;
    for probe in attached.probes().iter().filter(|probe| !probe.attached) {
        tracing::warn!(function = %probe.function, at = %probe.at, detail = ?probe.detail, "probe not attached");
    }
    // The kernel's types were read in full to attach; that memory is free now.
    memory::give_back();
    let host = inventory::host::find().context("cannot tell the host's network namespace")?;
    let obstacles = kernel::switched_off().chain(host.obstacle);
    obstacles.for_each(|obstacle| tracing::warn!("{}", obstacle.sentence()));
    // Before a second thread starts: capabilities belong to threads.
    let left = privileges::drop_unneeded().context("cannot give up capabilities")?;
    tracing::info!(?left, "attached; other capabilities given up");
    let told = attached.listens.is_ok();
    let settings = inventory::scanner::ScannerSettings { owners: config.owners, told };
    let scanner = inventory::scanner::start(settings, attached.numbers.generation_of())
        .context("cannot start the inventory's thread")?;
    let servers = servers()?;
    runtime()?.block_on(async {
        let feed = feed(config, host.netns, host.is_seen(), clock::now())?;
        let source = Live::new(attached, scanner, host).context("the ring buffer cannot be watched")?;
        let outcome = front.serve(config, servers.handle(), Pipeline::start(source, feed).await).await;
        // The pipeline owned the kernel side: by now every program is detached.
        tracing::info!("detached");
        outcome
    })
}

/// Runs the daemon on a recording until SIGTERM or SIGINT.
///
/// # Errors
/// The address is in use, the recording cannot be read, or an essential task failed.
pub fn replay(config: &Config, recording: &Path, speed: Speed) -> anyhow::Result<()> {
    memory::keep_small();
    start_log(&config.log, None);
    let name = recording.display().to_string();
    let file = File::open(recording).with_context(|| format!("cannot read the recording {name}"))?;
    let reader = Reader::new(file).with_context(|| format!("cannot replay {name}"))?;
    let front = Front::open(config)?;
    let servers = servers()?;
    runtime()?.block_on(async {
        let Header { version, kernel, host, sees_host, attached, .. } = reader.header().clone();
        tracing::info!(recording = name, by = version, kernel, "replaying");
        let source = Recorded::new(reader, &name, speed);
        let pipeline = Pipeline::start(source, feed(config, host, sees_host, attached)?).await;
        front.serve(config, servers.handle(), pipeline).await
    })
}

/// Runtime of the pipeline: this thread, which waits for the ring buffer and the clock.
/// No other thread has to be woken for it, and no response that takes long delays it.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runtime of the web server: threads that sleep while there are no requests.
fn servers() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).thread_name("server").enable_all().build()
}

fn feed(config: &Config, host: Netns, sees_host: bool, attached: Timestamp) -> anyhow::Result<Feed> {
    let settings = AggregatorSettings {
        host,
        sees_host,
        event_memory: config.event_memory,
        history_memory: config.history_memory,
        max_series: config.max_series,
        keep: Keep { time: config.keep_closed, ..Keep::default() },
    };
    let aggregator = Aggregator::new(settings, attached);
    let Some(directory) = &config.event_log else { return Ok(Feed::new(aggregator)) };
    let settings = JournalSettings {
        directory: directory.clone(),
        limit: config.event_log_bytes,
        memory: config.event_memory,
    };
    let (journal, events) = journal::open(&settings, attached)?;
    let state = journal.state();
    tracing::info!(directory = ?directory, events = state.read_back, "event log read back");
    Ok(Feed::new(aggregator.with_past(events)).with_journal(journal))
}

/// Web server and its configuration, opened first.
/// Opening them is the cheapest step that can fail, and nothing is attached yet.
struct Front {
    server: web::Server,
    secured: Arc<AuthConfig>,
}

impl Front {
    fn open(config: &Config) -> anyhow::Result<Self> {
        privileges::raise_open_files();
        let secured = Arc::new(AuthConfig::read(config.web_config_file.as_deref())?);
        let server = web::bind(config.listen_address, Arc::clone(&secured))?;
        Ok(Self { server, secured })
    }

    /// Serves the pipeline's snapshots until SIGTERM or SIGINT, and then stops in order.
    async fn serve<S: Source>(
        self,
        config: &Config,
        servers: &Handle,
        mut pipeline: Pipeline<S>,
    ) -> anyhow::Result<()> {
        let Self { server, secured } = self;
        let stop = Stop::on_signals(servers)?;
        reload_on_hangup(Arc::clone(&secured))?;
        let told = delivery::DeliveryMetrics::new()?;
        let (publisher, snapshots) = snapshots::channel(pipeline.refresh().await);
        let router = api::router(snapshots.clone())
            .merge(ui::router(&config.telemetry_path))
            .merge(metrics::router(snapshots.clone(), &config.telemetry_path, told.collector()));
        let exposure = exposure(config, server.local_addr());
        if let Some(warning) = exposure.warning(&secured) {
            tracing::warn!("{warning}");
        }
        tracing::info!(address = %server.local_addr(), "serving");
        service_manager::ready(server.local_addr());
        // Best effort: if this task fails, the service manager restarts the daemon, which is what the
        // watchdog is for.
        tokio::spawn(service_manager::keep_alive(snapshots.clone()));

        // Best effort, and counted. On the pipeline's thread: another one would have to be woken for each
        // snapshot.
        let mut deliveries = JoinSet::new();
        for target in targets(config) {
            let instance = instance(server.local_addr());
            deliveries.spawn(delivery::deliver(target, instance, snapshots.clone(), told.clone()));
        }

        // Essential: without the pipeline there is nothing to serve, and without the server nobody reads what
        // it attributes.
        let served = servers.spawn(server.serve(router, exposure, stop.clone().asked()));
        // Dropped once nobody is left whom a snapshot could serve.
        let (serving, all_served) = oneshot::channel::<()>();
        let drained = async {
            drained(served, stop.clone()).await?;
            drop(serving);
            Ok(())
        };
        let ended = pipeline.run(publisher, stop.clone().asked(), async {
            let _dropped = all_served.await;
        });
        let (source, ()) = tokio::try_join!(ended, drained)?;
        deliver_last(deliveries, stop.insisted()).await;
        drop(source);
        Ok(())
    }
}

/// Waits until the server has stopped, or until somebody insists that it be cut off.
async fn drained(mut served: JoinHandle<io::Result<Drained>>, stop: Stop) -> anyhow::Result<()> {
    tokio::select! {
        drained = &mut served => {
            let drained = drained.context("the web server failed")?.context("the web server cannot serve")?;
            tracing::info!(cut = drained.cut, "stopped serving");
        }
        () = stop.insisted() => served.abort(),
    }
    Ok(())
}

/// Waits until each target was told of the last snapshot, for a limited time.
async fn deliver_last(mut deliveries: JoinSet<()>, insisted: impl Future<Output = ()>) {
    let all = async { while deliveries.join_next().await.is_some() {} };
    tokio::select! {
        told = timeout(NOTIFY, all) => if told.is_err() {
            tracing::warn!("a target was not told of the last spikes in time");
        },
        () = insisted => {}
    }
}

/// Lists the endpoints to which spike alerts are delivered.
fn targets(config: &Config) -> impl Iterator<Item = Target> {
    let of = |kind, place: &Option<WebhookEndpoint>| place.clone().map(|place| Target::new(kind, place));
    [of(Kind::Alertmanager, &config.alertmanager), of(Kind::Webhook, &config.webhook)].into_iter().flatten()
}

/// Returns the `instance` label that Prometheus would give this daemon.
/// The address it listens on, or this host's name and the port if that address is unspecified or loopback.
fn instance(address: SocketAddr) -> String {
    match hostname().filter(|_| address.ip().is_unspecified() || address.ip().is_loopback()) {
        Some(host) => format!("{host}:{}", address.port()),
        None => address.to_string(),
    }
}

fn hostname() -> Option<String> {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(own.trim().to_owned()).filter(|own| !own.is_empty())
}

fn exposure(config: &Config, address: SocketAddr) -> Exposure {
    Exposure {
        address,
        telemetry_path: config.telemetry_path.clone(),
        allow_unauthenticated: config.allow_unauthenticated,
        hostnames: config.hostnames.iter().cloned().chain(hostname()).collect(),
    }
}

fn load_settings(config: &Config) -> LoadSettings {
    LoadSettings {
        ring_bytes: config.ring_bytes,
        max_listeners: config.max_listeners,
        dropped_ack_cache_capacity: config.dropped_ack_cache_capacity,
        event_allowance: config.event_rate.map(|rate| EventAllowance { rate, burst: config.event_burst }),
        attach: config.attach,
        features: Features {
            queue_depth: config.queue_depth,
            accept_wait: config.accept_wait,
            ..Features::default()
        },
        log_level: config.bpf_log,
    }
}

fn start_log(config: &LogConfig, programs: Option<tracing::Level>) {
    let mut filter = config.level.to_env_filter();
    // Has a setting of its own, so the general log level does not hide it.
    if let Some(directive) = programs.and_then(|level| format!("netqueue_ebpf={level}").parse().ok()) {
        filter = filter.add_directive(directive);
    }
    // Colours are for terminals: in a journal or a file they are noise.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let layer = match config.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    // Fails only if a test has set a subscriber before.
    let _set = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Reloads the web configuration on SIGHUP, as POST /-/reload does.
fn reload_on_hangup(secured: Arc<AuthConfig>) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match secured.reload() {
                Ok(()) => tracing::info!("the web configuration was read again"),
                Err(error) => tracing::error!(%error, "the web configuration is not used"),
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times after which a service manager kills, in seconds, as these files set it.
    const PATIENCE: [(&str, &str); 4] = [
        (include_str!("../../deploy/systemd/netqueue.service"), "TimeoutStopSec="),
        (include_str!("../../deploy/systemd/netqueue-counts.service"), "TimeoutStopSec="),
        (include_str!("../../deploy/kubernetes/base/netqueue.yaml"), "terminationGracePeriodSeconds: "),
        (
            include_str!("../../deploy/kubernetes/chart/templates/daemonset.yaml"),
            "terminationGracePeriodSeconds: ",
        ),
    ];

    #[test]
    fn the_daemon_has_stopped_before_a_service_manager_kills_it() {
        for (file, key) in PATIENCE {
            let seconds = file.lines().find_map(|line| line.trim().strip_prefix(key)).expect(key);
            let patience = Duration::from_secs(seconds.parse().expect("a number"));
            assert!(web::DRAIN + NOTIFY + Duration::from_secs(2) <= patience, "{key}{seconds}");
        }
    }
}
