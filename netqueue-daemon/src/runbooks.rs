//! Runbooks of deploy/runbooks, built into the binary so that links to them work on every host.

/// Name of a runbook, and its text in Markdown.
pub type Runbook = (&'static str, &'static str);

/// Every runbook, ordered by name.
pub const ALL: &[Runbook] = &[
    ("accept-queue-burst", include_str!("../../deploy/runbooks/accept-queue-burst.md")),
    ("accept-queue-near-limit", include_str!("../../deploy/runbooks/accept-queue-near-limit.md")),
    ("accept-queue-overflow", include_str!("../../deploy/runbooks/accept-queue-overflow.md")),
    ("accept-queue-slow", include_str!("../../deploy/runbooks/accept-queue-slow.md")),
    ("accept-queue-stalled", include_str!("../../deploy/runbooks/accept-queue-stalled.md")),
    ("accept-queue-waiting", include_str!("../../deploy/runbooks/accept-queue-waiting.md")),
    ("after-close", include_str!("../../deploy/runbooks/after-close.md")),
    ("closed-port", include_str!("../../deploy/runbooks/closed-port.md")),
    ("expired-handshakes", include_str!("../../deploy/runbooks/expired-handshakes.md")),
    ("ghost-connections", include_str!("../../deploy/runbooks/ghost-connections.md")),
    ("handshake-aborted", include_str!("../../deploy/runbooks/handshake-aborted.md")),
    ("handshakes-reset-by-peers", include_str!("../../deploy/runbooks/handshakes-reset-by-peers.md")),
    ("keepalive-race", include_str!("../../deploy/runbooks/keepalive-race.md")),
    ("limit-needs-relisten", include_str!("../../deploy/runbooks/limit-needs-relisten.md")),
    ("linger-zero", include_str!("../../deploy/runbooks/linger-zero.md")),
    ("listen-drops-spike", include_str!("../../deploy/runbooks/listen-drops-spike.md")),
    ("listener-closed", include_str!("../../deploy/runbooks/listener-closed.md")),
    ("netqueue-blind", include_str!("../../deploy/runbooks/netqueue-blind.md")),
    ("no-connection", include_str!("../../deploy/runbooks/no-connection.md")),
    ("other-drops", include_str!("../../deploy/runbooks/other-drops.md")),
    ("other-resets", include_str!("../../deploy/runbooks/other-resets.md")),
    ("out-of-memory", include_str!("../../deploy/runbooks/out-of-memory.md")),
    ("overflow-abort", include_str!("../../deploy/runbooks/overflow-abort.md")),
    ("peer-gone", include_str!("../../deploy/runbooks/peer-gone.md")),
    ("peer-closing", include_str!("../../deploy/runbooks/peer-closing.md")),
    ("reset-again", include_str!("../../deploy/runbooks/reset-again.md")),
    ("reset-storm", include_str!("../../deploy/runbooks/reset-storm.md")),
    ("reuseport-member-stalled", include_str!("../../deploy/runbooks/reuseport-member-stalled.md")),
    ("server-stopped", include_str!("../../deploy/runbooks/server-stopped.md")),
    ("syn-backlog-reserve", include_str!("../../deploy/runbooks/syn-backlog-reserve.md")),
    ("syn-flood-absorbed", include_str!("../../deploy/runbooks/syn-flood-absorbed.md")),
    ("syn-queue-drops", include_str!("../../deploy/runbooks/syn-queue-drops.md")),
    ("syn-queue-full", include_str!("../../deploy/runbooks/syn-queue-full.md")),
    ("syncookies-always", include_str!("../../deploy/runbooks/syncookies-always.md")),
    ("unknown-connection", include_str!("../../deploy/runbooks/unknown-connection.md")),
    ("unread-data", include_str!("../../deploy/runbooks/unread-data.md")),
];

/// Returns the text of the runbook with that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use netqueue_domain::diagnosis::RULES;

    fn deploy() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
    }

    /// Collects the names of the runbooks to which the alerts link.
    fn linked_by_alerts() -> BTreeSet<String> {
        let mut linked = BTreeSet::new();
        for file in fs::read_dir(deploy().join("prometheus")).expect("the alert rules are there") {
            let path = file.expect("it is listed").path();
            if path.extension().is_some_and(|extension| extension == "yml") {
                let text = fs::read_to_string(path).expect("it is text");
                let links =
                    text.split("/runbooks/").skip(1).filter_map(|rest| rest.split(['\'', '"']).next());
                linked.extend(links.map(str::to_owned));
            }
        }
        linked
    }

    #[test]
    fn every_verdict_and_every_alert_has_its_runbook_and_every_runbook_is_linked() {
        let rules = RULES.iter().map(|rule| rule.id.replace('_', "-"));
        let wanted: BTreeSet<String> = rules.chain(linked_by_alerts()).collect();
        let carried: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(carried, wanted);
        let files = fs::read_dir(deploy().join("runbooks")).expect("the runbooks are there");
        let files: BTreeSet<_> = files
            .map(|file| file.expect("it is listed").path())
            .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
            .collect();
        assert_eq!(files, carried, "each file is in the binary");
    }

    #[test]
    fn each_says_what_it_means_what_it_does_to_whom_and_how_to_mend_and_undo() {
        for (name, text) in ALL {
            for part in
                ["# ", "\n## Meaning\n", "\n## Impact\n", "\n## Confirm\n", "\n## Fix\n", "\n## Undo\n"]
            {
                let Some((_, after)) = text.split_once(part) else { panic!("{name} lacks {part:?}") };
                assert!(after.trim_start().len() > 10, "{name} says nothing under {part:?}");
            }
        }
    }
}
