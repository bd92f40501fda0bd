//! Sentences for the absence of verdicts: what was looked at, and what cannot be seen from here.

use netqueue_api::Scope;

use super::{format::plural, terminal::plain};

/// Nothing was found: the sentences, and whether they are good news.
pub(super) struct NoVerdict {
    /// True if netqueue saw that nothing is the matter.
    pub(super) good: bool,
    /// First sentence.
    pub(super) headline: String,
    /// Sentences on what was looked at, and on what cannot be seen.
    pub(super) scope: Vec<String>,
}

/// Sentence on what netqueue never sees.
const UNSEEN: &str = "Cannot be seen from here: AF_UNIX sockets, packets that never arrived or that netfilter dropped or rejected, \
                      and the other end of connections.";

/// Returns why netqueue sees nothing, or `None` if it sees.
pub(super) fn blindness(scope: Option<&Scope>) -> Option<String> {
    let blind = &scope?.blind;
    let reasons: Vec<_> = blind.iter().map(|reason| plain(reason)).collect();
    (!blind.is_empty()).then(|| {
        format!(
            "netqueue cannot see whether anything is the matter: {}. `netqueue doctor` on that machine says why.",
            reasons.join(", and ")
        )
    })
}

/// Says that there is no verdict, and what that is worth; after what `moved` beside, if anything did.
pub(super) fn no_verdict(scope: Option<&Scope>, moved: bool) -> NoVerdict {
    let Some(scope) = scope else {
        let headline = "No verdict in the last quarter of an hour.".to_owned();
        return NoVerdict { good: true, headline, scope: vec![UNSEEN.to_owned()] };
    };
    if let Some(headline) = blindness(Some(scope)) {
        return NoVerdict { good: false, headline, scope: Vec::new() };
    }
    let looked = format!(
        "Looked at: {} in {}, {} compared with the kernel's own counters.",
        plural(scope.listeners, "listener"),
        plural(scope.namespaces, "network namespace"),
        if scope.compared == scope.namespaces { "all".to_owned() } else { scope.compared.to_string() },
    );
    let mut said = vec![looked, UNSEEN.to_owned()];
    let waiting = plural(scope.waiting, "connection");
    let verb = if scope.waiting == 1 { "waits" } else { "wait" };
    let (good, headline) = match (scope.waiting, scope.waits_observed) {
        (0, _) if moved => (
            true,
            "Beside that, nothing was dropped and no reset was sent that harmed a client in the last quarter of an hour."
                .to_owned(),
        ),
        (0, _) => (true, "Nothing is the matter in the last quarter of an hour.".to_owned()),
        (_, true) => (
            true,
            format!(
                "No drop and no harmful reset in the last quarter of an hour; {waiting} {verb} for accept(), none for long."
            ),
        ),
        (_, false) => (
            false,
            format!(
                "No drop and no harmful reset in the last quarter of an hour. {waiting} {verb} for accept(); for how long is not \
                 observed on this kernel."
            ),
        ),
    };
    if !scope.waits_observed {
        said.push("How long connections wait for accept() is not observed on this kernel.".to_owned());
    }
    NoVerdict { good, headline, scope: said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            namespaces: 3,
            compared: 3,
            listeners: 12,
            waiting: 0,
            waits_observed: true,
            blind: Vec::new(),
        }
    }

    #[test]
    fn an_all_clear_says_what_was_looked_at_and_what_cannot_be_seen() {
        let NoVerdict { good, headline, scope } = no_verdict(Some(&scope()), false);
        assert!(good);
        assert_eq!(headline, "Nothing is the matter in the last quarter of an hour.");
        assert_eq!(
            scope[0],
            "Looked at: 12 listeners in 3 network namespaces, all compared with the kernel's own counters."
        );
        assert!(scope[1].contains("AF_UNIX") && scope[1].contains("netfilter"), "{scope:?}");
    }

    #[test]
    fn nothing_seen_is_no_all_clear() {
        let blind =
            Scope { blind: vec!["none of its programs is attached to the kernel".to_owned()], ..scope() };
        let NoVerdict { good, headline, .. } = no_verdict(Some(&blind), false);
        assert!(!good);
        assert_eq!(
            headline,
            "netqueue cannot see whether anything is the matter: none of its programs is attached to the kernel. `netqueue doctor` \
             on that machine says why."
        );
    }

    #[test]
    fn connections_that_wait_are_mentioned() {
        let NoVerdict { good, headline, .. } = no_verdict(Some(&Scope { waiting: 2, ..scope() }), false);
        assert!(good && headline.ends_with("2 connections wait for accept(), none for long."), "{headline}");
        let unobserved = Scope { waiting: 1, waits_observed: false, ..scope() };
        let NoVerdict { good, headline, .. } = no_verdict(Some(&unobserved), false);
        assert!(!good && headline.contains("one connection waits for accept(); for how long"), "{headline}");
    }
}
