//! Plans the measurements in a guest: the settings, their order, and the steps.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;
use guest_init::job::Step;

use crate::vm::{PORT, STOP_LIMIT, netqueue};

/// Way of attaching programs, in the words of `--attach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Auto,
    Fentry,
    Kprobe,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// Work that is measured, in the words of `netqueue lab cost --of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Cycle,
    DroppedSyn,
    DataPacket,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Cycle, Self::DroppedSyn, Self::DataPacket];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::DroppedSyn => "dropped-syn",
            Self::DataPacket => "data-packet",
        }
    }

    /// Names the figure of a round that counts.
    ///
    /// For connections the median: each leaves a port in TIME_WAIT, so that they become dearer one by one,
    /// and the cheapest batches are the first, and few. For other work the minimum: a disturbance only ever
    /// adds instructions.
    pub(crate) const fn figure(self) -> &'static str {
        match self {
            Self::Cycle => "median",
            Self::DroppedSyn | Self::DataPacket => "minimum",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.as_str() == name)
    }
}

/// Programs attached during the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// No program: the base, measured first and last; the mean of both counts.
    Nothing,
    /// No-op programs on the functions that netqueue watches.
    Empty(Mode),
    /// The daemon, with some of its features switched off.
    Daemon(Mode, &'static [&'static str]),
    /// A script for bpftrace, by its path in the guest.
    Script(&'static str),
}

impl Setting {
    /// The column `mode`.
    pub(crate) const fn mode(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Empty(mode) | Self::Daemon(mode, _) => mode.as_str(),
            Self::Script(_) => "kprobe",
        }
    }

    /// The column `features`.
    pub(crate) fn features(self) -> String {
        match self {
            Self::Nothing => "no probe".to_owned(),
            Self::Empty(_) => "empty probes".to_owned(),
            Self::Daemon(_, []) => "all".to_owned(),
            Self::Daemon(_, off) => off.join(" ").replace("--", ""),
            Self::Script(place) => format!("bpftrace {}", place),
        }
    }

    /// Returns whether the instructions inside its programs are counted as well, for [`Work::Cycle`].
    ///
    /// True for netqueue with all features, and for the no-op programs in its place.
    pub(crate) const fn is_counted(self) -> bool {
        matches!(self, Self::Empty(_) | Self::Daemon(_, []))
    }
}

/// Combinations of features that are switched off.
const OFF: [&[&str]; 4] =
    [&[], &["--no-accept-wait"], &["--no-queue-depth"], &["--no-accept-wait", "--no-queue-depth"]];

/// Lists the settings to measure for these modes; with `scripts`, also those of bpftrace.
pub(crate) fn settings(modes: &[Mode], scripts: bool) -> Vec<Setting> {
    let of =
        |mode: Mode| std::iter::once(Setting::Empty(mode)).chain(OFF.map(|off| Setting::Daemon(mode, off)));
    let within = modes.iter().copied().flat_map(of);
    let others = SCRIPTS.into_iter().filter(|_| scripts).map(|(place, _)| Setting::Script(place));
    std::iter::once(Setting::Nothing).chain(within).chain(others).chain([Setting::Nothing]).collect()
}

/// bpftrace scripts: path in the guest, and path below the workspace's top.
pub(crate) const SCRIPTS: [(&str, &str); 2] =
    [("exact.bt", "xtask/src/bench/scripts/exact.bt"), ("entries.bt", "xtask/src/bench/scripts/entries.bt")];

/// Rounds per setting, each in its own namespace.
///
/// Sockets then lie elsewhere and hash otherwise, and the kernel finishes its work after programs were
/// attached or detached.
pub(crate) const ROUNDS: usize = 9;

/// Lists the steps of a guest: one run per setting, which prints [`ROUNDS`] lines per kind of work.
///
/// The first run after power-on differs from the rest, and counts nowhere.
pub(crate) fn job(settings: &[Setting], works: &[Work]) -> Vec<Step> {
    let unlike = Step::Run { argv: netqueue(["lab", "cost", "--cycles", "8000"]) };
    std::iter::once(unlike).chain(settings.iter().flat_map(|setting| steps(*setting, works))).collect()
}

fn steps(setting: Setting, works: &[Work]) -> Vec<Step> {
    let mut cost = vec!["lab", "cost", "--json", "--cycles", "700"];
    cost.extend(works.iter().flat_map(|work| [["--of", work.as_str()]; ROUNDS].concat()));
    let mut counted = vec!["lab", "cost", "--json", "--cycles", "1000", "--by-program"];
    match setting {
        Setting::Nothing => vec![Step::Run { argv: netqueue(cost) }],
        Setting::Empty(mode) => {
            let empty = ["--noop-probes", mode.as_str()];
            cost.extend(empty);
            counted.extend(empty);
            vec![Step::Run { argv: netqueue(cost) }, Step::Run { argv: netqueue(counted) }]
        }
        Setting::Script(place) => {
            let bpftrace = ["/usr/bin/bpftrace".to_owned(), format!("/{place}")];
            vec![
                Step::Daemon { argv: bpftrace.into() },
                // Guest time counts instructions: the script is compiled and attached long before its end.
                Step::Wait { time: Duration::from_secs(60) },
                Step::Run { argv: netqueue(cost) },
                Step::Stop { within: STOP_LIMIT },
            ]
        }
        Setting::Daemon(mode, off) => {
            let daemon = ["daemon", "--log.level=warn", "--attach", mode.as_str()];
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
            let mut steps = vec![
                Step::Daemon { argv: netqueue(daemon.iter().chain(off)) },
                Step::Ready { address, path: "/-/ready".to_owned(), within: Duration::from_secs(60) },
                Step::Run { argv: netqueue(cost) },
            ];
            steps.extend(setting.is_counted().then(|| Step::Run { argv: netqueue(counted) }));
            steps.push(Step::Stop { within: STOP_LIMIT });
            steps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_measured_before_and_after_everything() {
        let settings = settings(&[Mode::Auto, Mode::Kprobe], true);
        assert_eq!(settings.first(), Some(&Setting::Nothing));
        assert_eq!(settings.last(), Some(&Setting::Nothing));
        assert!(settings.contains(&Setting::Empty(Mode::Kprobe)));
    }

    #[test]
    fn a_switched_off_feature_is_named_without_dashes() {
        assert_eq!(Setting::Daemon(Mode::Auto, OFF[3]).features(), "no-accept-wait no-queue-depth");
    }
}
