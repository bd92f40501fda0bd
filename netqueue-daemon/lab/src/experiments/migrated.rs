//! A worker that restarts with net.ipv4.tcp_migrate_req=1.
//! The kernel hands its queues over to another socket of the reuseport group.

use netqueue_api::EventKind;
use std::time::Duration;

use anyhow::Result;

use super::wait_for;
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, QueueState, Scenario,
    Share, cause, stage,
};
use crate::raw::FakePeers;
use crate::sockets::{Listener, PATIENCE};
use crate::sysctl;
use crate::verdict::Skip;

pub(super) const MIGRATED: Experiment = Experiment {
    number: "37",
    name: "migrated-queue",
    incident: "tcp_migrate_req=1: a SO_REUSEPORT listener with 4 connections queued and 4 handshakes under way is closed, its successor \
               has listen(3)",
    verdict: "no connection is reset: the successor has the queue, and with it a full one: the four final ACKs are its drops",
    provoke: Scenario::Inside(migrated),
};

const PORT: u16 = 8037;
const EACH: u16 = 4;

/// Sets net.ipv4.tcp_migrate_req; skips on kernels without the feature.
pub(super) fn set_migrate_req(on: bool) -> Result<()> {
    sysctl::ensure("ipv4/tcp_migrate_req", on.into())?;
    if counters::tcp_ext("TCPMigrateReqSuccess").is_err() {
        return Err(Skip::because("this kernel has the setting and not the feature (5.14)"));
    }
    Ok(())
}

fn migrated(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    set_migrate_req(true)?;
    let fake = FakePeers::create()?;
    let old = Listener::reuseport(PORT, 64)?;
    let queued = old.fill(EACH.into(), false)?;
    fake.send_syns(EACH, old.loopback())?;
    let answers = fake.syn_acks(EACH.into(), PATIENCE)?;
    // The new queue takes exactly the connections that are queued.
    let new = Listener::reuseport(PORT, i32::from(EACH) - 1)?;
    drop(old);
    new.wait_for_queue(EACH.into())?;
    for answer in &answers {
        fake.send_final_ack(answer)?;
    }
    let drops = u64::from(EACH);
    wait_for(Counter::ListenDrops, drops, Duration::from_secs(5))?;
    let moved = counters::tcp_ext("TCPMigrateReqSuccess")?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::Exactly(drops)),
            (Counter::ListenDrops, Amount::Exactly(drops)),
            (Counter::EmbryonicRsts, Amount::Exactly(0)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            address: new.address(),
            drops: vec![Share {
                cause: cause::ACCEPT_QUEUE_FULL,
                stages: stage::ACK,
                amount: Amount::Exactly(drops),
            }],
            resets: Some(vec![]),
            sole: true,
        }],
        events: Some(vec![ExpectedEvents {
            kind: EventKind::Drop,
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::ACK,
            port: PORT,
            peers: answers.iter().map(|answer| answer.to).collect(),
            at_least: EACH.into(),
            // The successor's queue, not that of the listener where the handshakes began.
            accept_queue: Some(QueueState { length: 4..=4, limit: 3 }),
            syn_queue: None,
        }]),
        measured: vec![format!("the kernel moved {moved} connections and requests (TCPMigrateReqSuccess)")],
        open: vec![Box::new((new, queued, fake))],
        ..Expectation::default()
    })
}
