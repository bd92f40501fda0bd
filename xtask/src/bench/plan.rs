//! What is measured in a guest, in which order, and by which steps.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;
use guest_init::job::Step;

use crate::vm::{PORT, STOP_LIMIT, netqueue};

/// How programs are attached, in the words of `--attach`.
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

/// What is done, in the words of `netqueue lab cost --of`.
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

    /// Which of a round's batches counts.
    ///
    /// Of connections the middle one: each leaves a port in TIME_WAIT, so that they become dearer one by one, and the cheapest
    /// batches are the first, and few. Of the others the least disturbed one: what disturbs only ever adds to it.
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

/// What is attached while it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Nothing: the base. It is measured first and last; the middle of both counts.
    Nothing,
    /// Programs that do nothing, where netqueue's are.
    Empty(Mode),
    /// The daemon, with some of its features switched off.
    Daemon(Mode, &'static [&'static str]),
    /// A script for bpftrace, by its place in the guest.
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

    /// Whether what runs in its programs is counted as well, of [`Work::Cycle`]: netqueue's with all features, and those that do
    /// nothing in their place.
    pub(crate) const fn is_counted(self) -> bool {
        matches!(self, Self::Empty(_) | Self::Daemon(_, []))
    }
}

/// What is switched off, one after the other.
const OFF: [&[&str]; 4] =
    [&[], &["--no-accept-wait"], &["--no-queue-depth"], &["--no-accept-wait", "--no-queue-depth"]];

/// Everything measured of these modes, and of others' programs where they are there.
pub(crate) fn settings(modes: &[Mode], scripts: bool) -> Vec<Setting> {
    let of =
        |mode: Mode| std::iter::once(Setting::Empty(mode)).chain(OFF.map(|off| Setting::Daemon(mode, off)));
    let within = modes.iter().copied().flat_map(of);
    let others = SCRIPTS.into_iter().filter(|_| scripts).map(|(place, _)| Setting::Script(place));
    std::iter::once(Setting::Nothing).chain(within).chain(others).chain([Setting::Nothing]).collect()
}

/// Scripts for bpftrace: where in the guest, and where below the workspace's top.
pub(crate) const SCRIPTS: [(&str, &str); 2] =
    [("exact.bt", "xtask/src/bench/scripts/exact.bt"), ("entries.bt", "xtask/src/bench/scripts/entries.bt")];

/// Each setting is measured so often, in a namespace of its own each time: sockets lie elsewhere, and hash otherwise, and what
/// the kernel does after something was attached or detached is over at last.
pub(crate) const ROUNDS: usize = 9;

/// The steps of a guest: for each setting one run that prints [`ROUNDS`] lines for each kind of work. What comes first after
/// power-on is not like the rest, and counts nowhere.
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
            let empty = ["--empty-probes", mode.as_str()];
            cost.extend(empty);
            counted.extend(empty);
            vec![Step::Run { argv: netqueue(cost) }, Step::Run { argv: netqueue(counted) }]
        }
        Setting::Script(place) => {
            let bpftrace = ["/usr/bin/bpftrace".to_owned(), format!("/{place}")];
            vec![
                Step::Daemon { argv: bpftrace.into() },
                // Time is what instructions take here: it is compiled and attached long before.
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
