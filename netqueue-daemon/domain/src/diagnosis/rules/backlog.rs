//! Backlog of a listener in words: its size, the setting that decides it, and the way to raise it.

use super::super::{Evidence, Knob, evidence::Bound, software};

/// Describes the backlog in force and the setting that decides it, in parentheses.
pub(super) fn limit(evidence: &Evidence) -> String {
    evidence.backlog.map_or(String::new(), |backlog| format!(" (backlog {backlog}{})", decided_by(evidence)))
}

fn decided_by(evidence: &Evidence) -> String {
    match evidence.bound_by {
        Some(Bound::ListenArgument) => ", set by the listen() call".to_owned(),
        Some(Bound::Somaxconn) => ", capped by net.core.somaxconn".to_owned(),
        Some(Bound::EarlierSomaxconn) => ", capped by net.core.somaxconn before it was raised".to_owned(),
        Some(Bound::Unseen) => {
            let now =
                evidence.settings.somaxconn.map_or(String::new(), |now| format!(", somaxconn now {now}"));
            format!(", by the program's backlog or by somaxconn at its listen(): not known{now}")
        }
        None => String::new(),
    }
}

/// Returns the settings for a backlog of `proposed`: of listen(), and of somaxconn if it is lower.
pub(super) fn backlog_knobs(evidence: &Evidence, proposed: u32) -> Vec<Knob> {
    let known = software(evidence);
    let listen = Knob {
        name: known.map_or("the backlog argument of listen()".to_owned(), |known| {
            format!("the listen backlog of {}", known.names[0])
        }),
        set_by: known
            .map_or("the program's own setting; it must call listen() again", |known| known.backlog_set_by)
            .to_owned(),
        current: evidence.listen_argument.or(evidence.backlog).map(|backlog| backlog.to_string()),
        proposed: proposed.to_string(),
    };
    let enough_asked = evidence.listen_argument.is_some_and(|asked| asked >= proposed);
    let somaxconn = evidence.settings.somaxconn;
    let allowed = somaxconn.is_some_and(|most| most >= proposed);
    let sysctl = Knob {
        name: "net.core.somaxconn".to_owned(),
        set_by: "sysctl in the network namespace of the listener; the program must then call listen() again"
            .to_owned(),
        current: somaxconn.map(|most| most.to_string()),
        proposed: format!("at least {proposed}"),
    };
    let listen = (!enough_asked).then_some(listen);
    let sysctl = (!allowed).then_some(sysctl);
    listen.into_iter().chain(sysctl).collect()
}

/// Returns advice if the backlog in force is the default of the software.
pub(super) fn default_backlog(evidence: &Evidence) -> Option<String> {
    let known = software(evidence)?;
    let default = known.backlog?;
    (evidence.bound_by == Some(Bound::ListenArgument) && evidence.backlog == Some(default)).then(|| {
        format!(
            "{default} is the default backlog of {}. To change it: {}.",
            known.names[0], known.backlog_set_by
        )
    })
}

pub(super) fn software(evidence: &Evidence) -> Option<&'static software::Software> {
    evidence.software().and_then(software::of)
}
