//! Ports on which nothing listens: those of a scan are one piece of evidence, as are very many.

use std::{collections::HashMap, net::IpAddr};

use super::{Elsewhere, Evidence, Subject};
use crate::{AccountKey, Counts, Netns, ResetCause};

/// Number of closed ports in one namespace above which they are one piece of evidence.
const PORTS: usize = 8;

/// Number of ports that nobody tries one after the other by mistake.
const SCANNED: usize = 3;

/// Returns the most packets to one port that are still a scan, of a sender that tried so many ports.
/// Nobody tries ten closed ports by mistake: a scan of those may come again.
pub(super) const fn tries(ports: usize) -> u64 {
    match ports {
        0..SCANNED => 0,
        SCANNED..10 => 2,
        _ => 4,
    }
}

/// Returns whether nothing listens on the port: all that came was refused.
pub(super) fn is_one(evidence: &Evidence) -> bool {
    matches!(evidence.subject, Subject::Account(_, AccountKey::Endpoint(_)))
        && [ResetCause::NoListener, ResetCause::NoConnection, ResetCause::Again]
            .map(|cause| evidence.resets(cause))
            .iter()
            .sum::<u64>()
            == evidence.counts.reset_total()
        && evidence.counts.drop_total() == 0
}

/// Returns the evidence of a namespace's closed ports, some of it merged.
pub(super) fn grouped(netns: Netns, ports: Vec<Evidence>) -> Vec<Evidence> {
    let (scanned, others) = split_scanned(ports);
    let mut all = if others.len() > PORTS { vec![merged(netns, &others)] } else { others };
    if !scanned.is_empty() {
        all.push(merged(netns, &scanned));
    }
    all
}

/// Separates the closed ports that only scanners tried from all others.
/// A client that cannot reach its service tries the same port again and again; a scanner tries one after another.
/// Counts may be read a moment before the event that names the sender: during a scan such a packet is the scanner's.
fn split_scanned(ports: Vec<Evidence>) -> (Vec<Evidence>, Vec<Evidence>) {
    let mut tried: HashMap<IpAddr, usize> = HashMap::new();
    let peers = ports.iter().flat_map(|port| &port.peers);
    peers.for_each(|(peer, _)| *tried.entry(*peer).or_default() += 1);
    let is_scanner =
        |(peer, times): &(IpAddr, u64)| *times <= tried.get(peer).map_or(0, |ports| tries(*ports));
    let most = tried.values().map(|ports| tries(*ports)).max().unwrap_or(0);
    ports.into_iter().partition(|port| {
        let known: u64 = port.peers.iter().map(|(_, times)| times).sum();
        let sent = port.resets(ResetCause::NoListener);
        most > 0
            && (known == sent || sent <= most)
            && sent == port.counts.reset_total()
            && !matches!(port.elsewhere, Elsewhere::OnPort(_))
            && port.peers.iter().all(is_scanner)
    })
}

/// Merges the evidence of many closed ports.
fn merged(netns: Netns, ports: &[Evidence]) -> Evidence {
    let mut counts = Counts::default();
    let mut peers: HashMap<IpAddr, u64> = HashMap::new();
    for port in ports {
        counts.add(&port.counts);
        port.peers.iter().for_each(|(peer, times)| *peers.entry(*peer).or_default() += times);
    }
    let mut peers: Vec<_> = peers.into_iter().collect();
    peers.sort_by(|(one, times), (other, more)| more.cmp(times).then(one.cmp(other)));
    let (window, sight) = ports.first().map(|port| (port.window, port.sight.clone())).unwrap_or_default();
    let base = Evidence::of(Subject::Namespace(netns), window, counts);
    Evidence { ports: ports.len() as u64, peers, sight, ..base }
}
