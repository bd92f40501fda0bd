//! Probe of one network namespace: its listeners and sysctls, from inside if possible.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use netqueue_domain::{Capability, Netns, Sysctls, Unknown};
use nix::sched::{CloneFlags, setns};

use super::{
    netns::Numbering,
    proc_tcp,
    sock_diag::{self, Seen},
    sysctls,
};

/// Namespace, and the paths that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Namespace.
    pub(super) netns: Netns,
    /// File that represents it, such as /proc/PID/ns/net.
    pub(super) file: PathBuf,
    /// Directory that shows it from outside, such as /proc/PID/net, if there is one.
    pub(super) shown: Option<PathBuf>,
}

/// Result of a probe.
#[derive(Debug)]
pub(super) struct Visit {
    /// Listeners of the namespace.
    pub(super) listeners: Vec<Seen>,
    /// Sysctls of the namespace.
    pub(super) sysctls: Sysctls,
}

/// Reason why a namespace could not be probed.
#[derive(Debug, thiserror::Error)]
pub(super) enum VisitError {
    /// The namespace no longer exists, or its number belongs to another one.
    #[error("it is gone")]
    Gone,
    /// The namespace can neither be entered nor read from outside.
    #[error("it can neither be entered (that needs CAP_SYS_ADMIN) nor seen from outside: {0}")]
    Closed(std::io::Error),
}

/// Thread that probes. It moves from namespace to namespace, so it is used for nothing else.
pub(super) struct NetnsProbe {
    who: Numbering,
    /// Namespace that the thread is in.
    here: Option<Netns>,
    /// Namespace in which the thread started.
    home: Option<(Netns, File)>,
}

impl NetnsProbe {
    /// Probes with the calling thread.
    #[must_use]
    pub(super) fn of_this_thread(who: Numbering) -> Self {
        const HERE: &str = "/proc/thread-self/ns/net";
        let here = super::netns::of(HERE, &*who).ok();
        Self { who, here, home: here.zip(File::open(HERE).ok()) }
    }

    /// Returns to the initial namespace: staying in another would keep it alive.
    pub(super) fn go_home(&mut self) {
        if let Some((netns, file)) = self.home.as_ref().filter(|(netns, _)| self.here != Some(*netns)) {
            self.here = setns(file, CloneFlags::CLONE_NEWNET).is_ok().then_some(*netns);
        }
    }

    /// Probes a namespace from inside, else from outside.
    ///
    /// # Errors
    /// The namespace is gone, or neither is possible.
    pub(super) fn visit(&mut self, place: &Place) -> Result<Visit, VisitError> {
        match self.enter(place) {
            Ok(()) => {
                let sysctls = sysctls::read(Path::new("/proc/sys"));
                match sock_diag::listeners() {
                    Ok(listeners) => Ok(Visit { listeners, sysctls }),
                    Err(_) => outside(Path::new("/proc/thread-self/net"), Unknown::NoSockDiag, sysctls),
                }
            }
            Err(NotEntered::Gone) => Err(VisitError::Gone),
            Err(NotEntered::Refused) => {
                let why = Unknown::Privilege(&[Capability::SysAdmin]);
                let shown = place.shown.as_deref().ok_or(VisitError::Gone)?;
                let visit = outside(shown, why, Sysctls::unknown(why))?;
                // Its processes may have left it meanwhile.
                let still = shown.parent().map(|of| super::netns::of(of.join("ns/net"), &*self.who));
                still
                    .is_some_and(|now| now.is_ok_and(|now| now == place.netns))
                    .then_some(visit)
                    .ok_or(VisitError::Gone)
            }
        }
    }

    /// Enters a namespace; returns whether that succeeded.
    pub(super) fn goes_to(&mut self, place: &Place) -> bool {
        self.enter(place).is_ok()
    }

    fn enter(&mut self, place: &Place) -> Result<(), NotEntered> {
        if self.here == Some(place.netns) {
            return Ok(());
        }
        // The file keeps the namespace alive only until it is closed, at the end of this function.
        let file = File::open(&place.file).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => NotEntered::Refused,
            _ => NotEntered::Gone,
        })?;
        self.here = None;
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|_| NotEntered::Refused)?;
        self.here = super::netns::of("/proc/thread-self/ns/net", &*self.who).ok();
        if self.here == Some(place.netns) { Ok(()) } else { Err(NotEntered::Gone) }
    }
}

enum NotEntered {
    Gone,
    Refused,
}

fn outside(directory: &Path, why: Unknown, sysctls: Sysctls) -> Result<Visit, VisitError> {
    match proc_tcp::listeners(directory, why) {
        Ok(listeners) => Ok(Visit { listeners, sysctls }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(VisitError::Gone),
        Err(error) => Err(VisitError::Closed(error)),
    }
}
