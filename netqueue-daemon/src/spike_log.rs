//! Spikes in the daemon's own log: one line when a spike begins, one when it is over.

use netqueue_domain::{SpikeNotice, SpikeScope, WallClock};

/// Logs the notice, with times as the wall clock shows them.
pub fn write(notice: &SpikeNotice, clock: WallClock) {
    let spike = notice.spike();
    let (addr, port) = match spike.scope {
        SpikeScope::Account(key, _) => (key.addr(), key.port()),
        SpikeScope::Namespace(_) => (None, None),
    };
    let (addr, netns) = (addr.map(tracing::field::display), tracing::field::display(spike.scope.netns()));
    let (cause, drops, clients) = (spike.scope.cause(), spike.drops, spike.peers.connections);
    let (at_least, per_second) = (spike.peers.at_least, spike.peak_per_second);
    // Members that are `None` are omitted.
    let (what, usual_per_second, seconds) = match notice {
        SpikeNotice::Started(_) => ("spike_started", Some(spike.baseline_per_second), None),
        SpikeNotice::Ended(_) => ("spike_ended", None, Some(spike.duration().as_secs_f64())),
    };
    tracing::warn!(
        id = spike.id,
        netns,
        addr,
        port,
        cause,
        drops,
        per_second,
        clients,
        at_least,
        since = %clock.rfc3339(spike.started),
        usual_per_second,
        seconds,
        "{what}"
    );
}
