//! Part of the diagnosis: kernel counters that moved without being attributed.

use std::collections::HashSet;

use netqueue_api::Beside;
use netqueue_domain::{BesideFinding, Snapshot, Timestamp, beside};

/// Returns what moved from `since` on in the namespaces with these inode numbers.
pub(super) fn moved(snapshot: &Snapshot, since: Timestamp, inodes: &HashSet<u32>) -> Vec<Beside> {
    let moved = beside(snapshot, since).into_iter().filter(|one| inodes.contains(&one.netns.inode));
    moved.map(|one| beside_from(snapshot, one)).collect()
}

fn beside_from(snapshot: &Snapshot, moved: BesideFinding) -> Beside {
    let BesideFinding { netns, counter, by, last, sentence } = moved;
    Beside {
        netns: snapshot.netns_name(netns),
        netns_inode: netns.inode,
        netns_generation: netns.generation,
        counter: counter.as_str().to_owned(),
        group: counter.group().to_owned(),
        increase: by,
        last: snapshot.wall_clock.rfc3339(last),
        sentence,
    }
}
