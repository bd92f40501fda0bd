//! Flags of the daemon and their environment variables, as given.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use super::source::Source;

/// Values of flags and environment variables, and which of both gave each.
#[derive(Clone, Debug, Default)]
pub struct DaemonArgs {
    flags: Flags,
    from_environment: HashSet<String>,
}

/// Flags, one member each. Values stay text until their source is known, so that errors can name it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Flags {
    /// TOML file with settings; flags and environment take precedence
    #[arg(long = "config.file", env = "NETQUEUE_CONFIG_FILE", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Address and port to answer HTTP on [default: 127.0.0.1:10124]
    #[arg(long = "web.listen-address", env = "NETQUEUE_WEB_LISTEN_ADDRESS", value_name = "ADDRESS:PORT")]
    pub(super) web_listen_address: Option<String>,
    /// Path of the metrics page [default: /metrics]
    #[arg(long = "web.telemetry-path", env = "NETQUEUE_WEB_TELEMETRY_PATH", value_name = "PATH")]
    pub(super) web_telemetry_path: Option<String>,
    /// YAML file with TLS and users, in the format of the Prometheus exporter-toolkit
    #[arg(long = "web.config.file", env = "NETQUEUE_WEB_CONFIG_FILE", value_name = "FILE")]
    pub(super) web_config_file: Option<String>,
    /// Serve the API to the network without authentication [default: false]
    #[arg(
        long = "web.allow-unauthenticated",
        env = "NETQUEUE_WEB_ALLOW_UNAUTHENTICATED",
        value_name = "BOOLEAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) web_allow_unauthenticated: Option<String>,
    /// Host names that clients of the API may use, separated by commas, beside localhost and its own
    #[arg(long = "web.hostnames", env = "NETQUEUE_WEB_HOSTNAMES", value_name = "NAMES")]
    pub(super) web_hostnames: Option<String>,
    /// Alertmanager that receives spike alerts: http://ADDRESS:PORT, names are not looked up
    #[arg(long = "alerts.alertmanager-url", env = "NETQUEUE_ALERTS_ALERTMANAGER_URL", value_name = "URL")]
    pub(super) alerts_alertmanager_url: Option<String>,
    /// Webhook that receives spike alerts as Alertmanager would send them: http://ADDRESS:PORT/PATH, names
    /// are not looked up
    #[arg(long = "alerts.webhook-url", env = "NETQUEUE_ALERTS_WEBHOOK_URL", value_name = "URL")]
    pub(super) alerts_webhook_url: Option<String>,
    /// Level of the log: error, warn, info, debug, trace, or directives such as info,hyper=warn
    /// [default: info]
    #[arg(long = "log.level", env = "NETQUEUE_LOG_LEVEL", value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// Format of the log: text or json [default: text]
    #[arg(long = "log.format", env = "NETQUEUE_LOG_FORMAT", value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
    /// Does not look for the processes that own listeners: series carry no process
    #[arg(long = "no-owners", env = "NETQUEUE_NO_OWNERS", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub(super) no_owners: Option<String>,
    /// Mode in which programs are attached: fentry, kprobe, or auto: fentry where the kernel has it
    /// [default: auto]
    #[arg(long = "attach", env = "NETQUEUE_ATTACH", value_name = "WAY")]
    pub(super) attach: Option<String>,
    /// Size of the ring buffer for events, a power of two [default: 4MiB]
    #[arg(long = "ring-size", env = "NETQUEUE_RING_SIZE", value_name = "BYTES")]
    pub(super) ring_size: Option<String>,
    /// Memory for the newest events, about 70 bytes each [default: 16MiB]
    #[arg(long = "event-memory", env = "NETQUEUE_EVENT_MEMORY", value_name = "BYTES")]
    pub(super) event_memory: Option<String>,
    /// Folder for a log of events on disk, read back at the next start
    #[arg(long = "event-log", env = "NETQUEUE_EVENT_LOG", value_name = "DIR")]
    pub(super) event_log: Option<String>,
    /// Size limit of the event log on disk, about 30 bytes an event [default: 256MiB]
    #[arg(long = "event-log-size", env = "NETQUEUE_EVENT_LOG_SIZE", value_name = "BYTES")]
    pub(super) event_log_size: Option<String>,
    /// Memory for the history of the last two days, at most 78 KB for each cause of a listener
    /// [default: 32MiB]
    #[arg(long = "history-memory", env = "NETQUEUE_HISTORY_MEMORY", value_name = "BYTES")]
    pub(super) history_memory: Option<String>,
    /// Events a second that each listener may send from each CPU, or unlimited; others are only counted
    /// [default: 100]
    #[arg(long = "event-rate", env = "NETQUEUE_EVENT_RATE", value_name = "NUMBER")]
    pub(super) event_rate: Option<String>,
    /// Events each listener may send at once from each CPU after a silence [default: 1000]
    #[arg(long = "event-burst", env = "NETQUEUE_EVENT_BURST", value_name = "NUMBER")]
    pub(super) event_burst: Option<String>,
    /// Number of listeners the kernel side distinguishes; auto sizes by the number of CPUs [default: auto]
    #[arg(long = "max-listeners", env = "NETQUEUE_MAX_LISTENERS", value_name = "NUMBER")]
    pub(super) max_listeners: Option<String>,
    /// Number of handshakes to remember whose final ACK was dropped [default: 16384]
    #[arg(
        long = "dropped-ack-cache-capacity",
        env = "NETQUEUE_DROPPED_ACK_CACHE_CAPACITY",
        value_name = "NUMBER"
    )]
    pub(super) dropped_ack_cache_capacity: Option<String>,
    /// Time that a closed listener, or a silent port without one, keeps its own counts [default: 120s]
    #[arg(long = "keep-closed", env = "NETQUEUE_KEEP_CLOSED", value_name = "TIME")]
    pub(super) keep_closed: Option<String>,
    /// Number of addresses and ports the metrics distinguish; the rest is port="other" [default: 2000]
    #[arg(long = "max-series", env = "NETQUEUE_MAX_SERIES", value_name = "NUMBER")]
    pub(super) max_series: Option<String>,
    /// Does not measure how long connections wait for accept(): spares each of them a probe
    #[arg(long = "no-accept-wait", env = "NETQUEUE_NO_ACCEPT_WAIT", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub(super) no_accept_wait: Option<String>,
    /// Does not sample the accept queue whenever a connection enters it: no peaks, no distribution
    #[arg(long = "no-queue-depth", env = "NETQUEUE_NO_QUEUE_DEPTH", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub(super) no_queue_depth: Option<String>,
    /// Log level of the eBPF programs (slows the packet path): off, error, warn, info, debug, trace
    /// [default: off]
    #[arg(long = "bpf-log", env = "NETQUEUE_BPF_LOG", value_name = "LEVEL")]
    pub(super) bpf_log: Option<String>,
}

impl DaemonArgs {
    pub(super) const fn flags(&self) -> &Flags {
        &self.flags
    }

    /// Returns the path of the configuration file, if one is named.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.flags.config_file.as_deref()
    }

    /// Returns the source of the flag `name`: the flag itself or its environment variable.
    pub(super) fn source(&self, name: &'static str) -> Source {
        if self.from_environment.contains(name) { Source::Environment(name) } else { Source::Flag(name) }
    }
}

impl Args for DaemonArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for DaemonArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let known = Flags::augment_args(Command::new(""));
        let from_environment = known
            .get_arguments()
            .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::EnvVariable))
            .filter_map(|arg| arg.get_long().map(str::to_owned))
            .collect();
        Ok(Self { flags: Flags::from_arg_matches(matches)?, from_environment })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
impl DaemonArgs {
    /// Pretends that the value of `flag` came from its environment variable.
    pub(super) fn given_by_environment(mut self, flag: &str) -> Self {
        self.from_environment.insert(flag.to_owned());
        self
    }
}
