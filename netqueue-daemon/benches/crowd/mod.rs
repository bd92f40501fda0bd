//! A host full of listeners, as the daemon observes it.
//! The inventory has found all of them, and most were never charged.

#![allow(dead_code, reason = "each bench uses its part")]

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use netqueue_daemon::recording::{END, Header, Writer};
use netqueue_domain::{
    AccountKey, Aggregator, AggregatorSettings, CgroupInfo, Changes, Counts, DropKind, Endpoint, Family,
    Histogram, KernelCounter, Limit, Listener, Netns, Observation, Observed, Owner, QueueState, Queues,
    ResetCause, SocketId, SocketInode, Sysctls, Timestamp, Traffic, TrafficReading,
};

/// The numbers of listeners for which every figure is given.
pub(crate) const CROWDS: [u64; 3] = [0, 100, 10_000];
/// One in this many listeners has clients and charges; the others only listen.
pub(crate) const BUSY: u64 = 20;

const HOST: Netns = Netns::at_attach(4_026_531_840);
const ADDR: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The time this many seconds after netqueue attached.
pub(crate) fn second(number: u64) -> Timestamp {
    Timestamp::from_nanos((1_790_000_000 + number) * 1_000_000_000)
}

/// The account of a listener that the kernel side has charged.
pub(crate) fn key(number: u64) -> AccountKey {
    AccountKey::Listener { socket: SocketId(1 << 32 | number), at: place(number) }
}

fn place(number: u64) -> Endpoint {
    Endpoint { netns: HOST, addr: ADDR, port: u16::try_from(number).unwrap_or(u16::MAX) }
}

/// An aggregator with this many listeners and at most `series` separate series.
pub(crate) fn aggregator(listeners: u64, series: usize) -> Aggregator {
    let settings = AggregatorSettings { max_series: series, ..AggregatorSettings::of(HOST) };
    let mut aggregator = Aggregator::new(settings, second(0));
    observed(listeners).into_iter().for_each(|(at, what)| aggregator.apply(at, what));
    aggregator.tick(second(2));
    aggregator
}

/// The observations that introduce the listeners to an aggregator.
/// The inventory finds all of them, and the kernel side reports the busy ones.
pub(crate) fn observed(listeners: u64) -> Vec<(Timestamp, Observation)> {
    let found = Changes { listeners: found(listeners), ..Changes::default() };
    let busy = (0..listeners).step_by(BUSY as usize);
    let sockets = busy.map(|number| (key(number), SocketInode(number + 1))).collect();
    let mut observed =
        vec![(second(1), Observation::Listeners(found)), (second(2), Observation::Sockets(sockets))];
    observed.extend(told(listeners, 2).map(|what| (second(2), what)));
    observed
}

/// Writes these observations as a recording that `netqueue replay` reads.
pub(crate) fn record(listeners: u64, into: impl Write) -> io::Result<()> {
    let mut recording = Writer::new(into);
    recording.line(&serde_json::to_vec(&Header::new("synthetic".to_owned(), HOST, true, second(0)))?)?;
    for (time, what) in observed(listeners) {
        recording.line(&serde_json::to_vec(&Observed { time, what })?)?;
    }
    recording.line(END.as_bytes())?;
    recording.finish().map(drop)
}

/// Applies one second in which every busy listener was charged.
pub(crate) fn tell(aggregator: &mut Aggregator, listeners: u64, at: u64) {
    told(listeners, at).into_iter().for_each(|what| aggregator.apply(second(at), what));
    aggregator.tick(second(at));
}

/// The kernel side's counters and traffic of the busy listeners.
fn told(listeners: u64, at: u64) -> [Observation; 2] {
    let busy = || (0..listeners).step_by(BUSY as usize);
    let counts = busy().map(|number| (key(number), charged(at))).collect();
    let traffic = busy().map(|number| (key(number), went(at))).collect();
    [Observation::Counts(counts), Observation::Traffic(traffic)]
}

/// The listeners, as a pass of the inventory finds them.
pub(crate) fn found(listeners: u64) -> Vec<Arc<Listener>> {
    let sysctls = Arc::new(Sysctls {
        somaxconn: Ok(4096),
        max_syn_backlog: Ok(512),
        syncookies: Ok(1),
        abort_on_overflow: Ok(0),
        synack_retries: Ok(5),
        fin_timeout: Ok(60),
        tw_reuse: Ok(2),
        migrate_req: Ok(0),
    });
    let place = CgroupInfo {
        cgroup: "/system.slice/front.service".into(),
        unit: Some("front.service".into()),
        ..CgroupInfo::default()
    };
    let owner = Owner {
        pid: 4242,
        started: 1,
        comm: "front".into(),
        executable: Ok("/usr/bin/front".into()),
        place: Ok(Arc::new(place)),
        ended: false,
    };
    let owners: Arc<[Owner]> = Arc::from(vec![owner]);
    let one = |number| {
        Arc::new(Listener {
            at: self::place(number),
            inode: SocketInode(number + 1),
            cookie: Ok(number + 1),
            family: Family::Ipv4,
            interface: None,
            uid: 0,
            reuseport: None,
            limit: Limit {
                backlog: Ok(511),
                argument: Ok(511),
                somaxconn_then: Ok(4096),
                sysctls: Arc::clone(&sysctls),
            },
            owners: Ok(Arc::clone(&owners)),
            opened: Ok(second(1)),
            found: second(1),
            closed: None,
        })
    };
    (0..listeners).map(one).collect()
}

fn charged(drops: u64) -> Counts {
    Counts::from_fn(
        |kind| if kind == DropKind::AcceptQueueFullSyn { drops } else { 0 },
        |cause| if cause == ResetCause::NoListener { drops } else { 0 },
        |counter| match counter {
            KernelCounter::ListenDrops | KernelCounter::ListenOverflows | KernelCounter::OutRsts => drops,
            KernelCounter::ReqQFullDrop
            | KernelCounter::ReqQFullDoCookies
            | KernelCounter::SyncookiesSent
            | KernelCounter::SyncookiesRecv
            | KernelCounter::SyncookiesFailed
            | KernelCounter::EmbryonicRsts => 0,
        },
    )
}

fn went(connections: u64) -> TrafficReading {
    let spread = |buckets: usize| (0..buckets as u64).map(move |bucket| connections * (bucket % 5));
    let counts = Traffic {
        established: connections,
        accepted: connections,
        depth: Histogram::from_counts(Traffic::DEPTHS, spread(16), 99),
        wait: Histogram::from_sums(Traffic::WAITS, spread(60), spread(60)),
        ..Traffic::default()
    };
    let queues = Queues {
        accept: Some(QueueState { length: 3, limit: 511 }),
        syn: Some(QueueState { length: 1, limit: 511 }),
    };
    TrafficReading { counts, accept_peak: 9, queues }
}
