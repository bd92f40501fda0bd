//! A kernel that takes no more fentry programs for an IPv6 function.
//! The function and its IPv4 twin, through which IPv4 on a dual-stack listener passes, are then both watched
//! by kprobe, and each connection must count once.

use std::time::Duration;

use anyhow::Result;
use netqueue_kernel::FullTrampoline;

use crate::expectation::{Expectation, Experiment, Fixture, Scenario};
use crate::observation::Observation;
use crate::own_daemon::OwnDaemon;
use crate::sockets::{Listener, connect};
use crate::sysctl;
use crate::verdict::Skip;

pub(super) const TWINS: Experiment = Experiment {
    number: "85",
    name: "full-trampoline",
    incident: "other tools' programs fill the trampoline of tcp_v6_syn_recv_sock; a daemon starts, and 20 IPv4 clients connect to a \
               dual-stack listener",
    verdict: "20 established connections, not 40",
    provoke: Scenario::Watching(twins),
};

const CLIENTS: u64 = 20;

fn twins(fixture: &Fixture<'_>) -> Result<Expectation> {
    let full = FullTrampoline::of("tcp_v6_syn_recv_sock")
        .map_err(|error| Skip::because(format!("this kernel has no trampoline to fill: {error}")))?;
    let own = fixture.server.map(|_| OwnDaemon::start(&[])).transpose()?;
    let open = fixture.netns.run(|| {
        sysctl::defaults()?;
        let listener = Listener::dual_stack(8065, 64)?;
        let clients = (0..CLIENTS).map(|_| connect(listener.loopback_ipv4())).collect::<Result<Vec<_>>>()?;
        Ok((listener, clients))
    })?;
    let mut expectation = Expectation {
        measured: vec![format!("{} programs fill the trampoline", full.programs())],
        ..Expectation::default()
    };
    if let Some(own) = own {
        // Give the inventory time to find the listener.
        std::thread::sleep(Duration::from_secs(1));
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        let row = seen.rows.iter().find(|row| row.is_listener_at(open.0.address()));
        let established = row.and_then(|row| row.traffic.as_ref()).map(|traffic| traffic.established);
        if established != Some(CLIENTS) {
            expectation
                .problems
                .push(format!("{established:?} connections were established, right were {CLIENTS}"));
        }
    }
    expectation.open.push(Box::new((open, full)));
    Ok(expectation)
}
