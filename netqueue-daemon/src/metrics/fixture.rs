//! Snapshots for tests: small ones, and one incident with a bit of everything.

use std::{collections::BTreeMap, sync::Arc};

use netqueue_domain::{
    AccountId, AccountKey, AccountView, AttachMode, Beside, CgroupInfo, CounterBalance, Counts, DropCause,
    DropKind, DroppedAckCacheUse, Endpoint, EventFlow, EventLog, Family, Health, Histogram, KernelCounter,
    Limit, Listener, LossReason, NamespaceBalance, NamespaceView, Netns, Owner, Peak, PeerCount, PerCounter,
    ProbeStatus, QueueState, ResetCause, Runtime, SearchCost, SlotUse, Snapshot, SocketId, SocketInode,
    Spike, SpikeScope, Start, Sysctls, Timestamp, Traffic, Unknown, WallClock, Windows,
};

const HOST: Netns = Netns::at_attach(4_026_531_840);
const POD: Netns = Netns::at_attach(4_026_532_201);

fn at(netns: Netns, addr: &str, port: u16) -> Endpoint {
    Endpoint { netns, addr: addr.parse().expect("an address"), port }
}

pub(super) fn listener(socket: u64, addr: &str, port: u16) -> AccountKey {
    AccountKey::Listener { socket: SocketId(socket), at: at(HOST, addr, port) }
}

pub(super) fn endpoint(addr: &str, port: u16) -> AccountKey {
    AccountKey::Endpoint(at(HOST, addr, port))
}

pub(super) fn other() -> AccountKey {
    AccountKey::Other(HOST)
}

/// Makes counts of that many SYNs dropped because the accept queue was full.
pub(super) fn drops(number: u64) -> Counts {
    Counts::from_fn(|kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 }, |_| 0, |_| 0)
}

fn resets(cause: ResetCause, number: u64) -> Counts {
    Counts::from_fn(|_| 0, |of| if of == cause { number } else { 0 }, |_| 0)
}

pub(super) fn account(id: u64, key: AccountKey, counts: Counts) -> AccountView {
    let seen = Timestamp::from_nanos(1_790_000_000_000_000_000);
    AccountView { counts, ..AccountView::new(AccountId(id), key, Arc::default(), seen) }
}

pub(super) fn snapshot(accounts: Vec<AccountView>) -> Snapshot {
    Snapshot {
        taken: Timestamp::from_nanos(1_790_000_060_000_000_000),
        attached: Timestamp::from_nanos(1_790_000_000_500_000_000),
        host: HOST,
        accounts: accounts.into_iter().map(Arc::new).collect(),
        events: EventLog::new(100),
        namespaces: namespaces([]),
        search: SearchCost::default(),
        health: Health::default(),
        spikes: Arc::from([]),
        idle_limits: Arc::default(),
        wall_clock: WallClock::default(),
        recent: Windows::default(),
        beside: Beside::default(),
        journal: None,
    }
}

/// Makes a snapshot of an incident.
/// A web server that accepts too slowly, its counterpart in a pod under a SYN flood, a port that nobody
/// serves, and an account beyond the limit of series.
pub(super) fn incident() -> Snapshot {
    let mut web = account(1, listener(1, "0.0.0.0", 80), drops(24));
    web.queues.accept = Some(QueueState { length: 2, limit: 1 });
    (web.process, web.listener) = ("nginx".into(), Some(web_listener().into()));
    web.traffic = Arc::new(web_traffic());
    let mut web_member = account(2, listener(2, "0.0.0.0", 80), drops(6));
    (web_member.process, web_member.listener) = (web.process.clone(), web.listener.clone());
    web_member.counts.add(&resets(ResetCause::OverflowAbort, 2));
    let pod_key = AccountKey::Listener { socket: SocketId(3), at: at(POD, "::", 8443) };
    let flooded = Counts::from_fn(
        |kind| if kind == DropKind::AcceptQueueFullCookieAck { 7 } else { 0 },
        |_| 0,
        |counter| if counter == KernelCounter::SyncookiesSent { 900 } else { 0 },
    );
    let mut pod = account(3, pod_key, flooded);
    pod.queues.accept = Some(QueueState { length: 129, limit: 128 });
    pod.queues.syn = Some(QueueState { length: 128, limit: 128 });
    let nobody = account(4, endpoint("127.0.0.1", 81), resets(ResetCause::NoListener, 3));
    let mut one_too_many = account(5, listener(5, "127.0.0.1", 9000), drops(4));
    one_too_many.apart = false;
    let unknown = account(6, other(), drops(1));

    let mut snapshot = snapshot(vec![web, web_member, pod, nobody, one_too_many, unknown]);
    snapshot.namespaces = namespaces([balance(HOST, 1035, 35, 0), balance(POD, 7, 7, -1)]);
    snapshot.health = health();
    let web_spike = SpikeScope::Account(listener(1, "0.0.0.0", 80), DropCause::AcceptQueueFull);
    let over = Spike { ended: Some(snapshot.taken), ..spike(2, SpikeScope::Namespace(POD)) };
    snapshot.spikes = [spike(1, web_spike), over, spike(3, SpikeScope::Namespace(HOST))].into();
    snapshot
}

/// Makes the listener of an nginx in a container.
fn web_listener() -> Listener {
    let place = CgroupInfo {
        cgroup: "/system.slice/docker-0123.scope".into(),
        unit: Some("docker-0123.scope".into()),
        container: Some("0123".into()),
        runtime: Some(Runtime::Docker),
        pod: None,
    };
    let owner = Owner {
        pid: 10,
        started: 1,
        comm: "nginx".into(),
        executable: Ok("/usr/sbin/nginx".into()),
        place: Ok(place.into()),
        ended: false,
    };
    let sysctls = Sysctls { somaxconn: Ok(4096), ..Sysctls::unknown(Unknown::NotYet) };
    Listener {
        at: at(HOST, "0.0.0.0", 80),
        inode: SocketInode(900),
        cookie: Ok(1),
        family: Family::Ipv4,
        interface: None,
        uid: 0,
        reuseport: None,
        limit: Limit {
            backlog: Ok(1),
            argument: Ok(1),
            somaxconn_then: Ok(4096),
            sysctls: Arc::new(sysctls),
        },
        owners: Ok(vec![owner].into()),
        opened: Err(Unknown::BeforeAttach),
        found: Timestamp::from_nanos(1_790_000_000_000_000_000),
        closed: None,
    }
}

fn spike(id: u64, scope: SpikeScope) -> Spike {
    let seen = Timestamp::from_nanos(1_790_000_050_000_000_000);
    Spike {
        id,
        scope,
        started: seen,
        detected: seen,
        last_drop: seen,
        ended: None,
        drops: 24,
        peak_per_second: 24,
        baseline_per_second: 0.0,
        peers: PeerCount { addresses: 1, connections: 8, at_least: false },
    }
}

/// Makes the traffic of 100 clients at once, one accepted each 20 ms, three still waiting.
fn web_traffic() -> Traffic {
    let counts = |bounds: &'static [u64], of: &[(u64, u64)]| {
        let counts =
            bounds.iter().map(|bound| of.iter().find(|(le, _)| le == bound).map_or(0, |(_, count)| *count));
        counts.collect::<Vec<_>>()
    };
    let depths =
        counts(Traffic::DEPTHS, &[(1, 1), (2, 1), (4, 2), (8, 4), (16, 8), (32, 16), (64, 32), (128, 36)]);
    let waits =
        counts(Traffic::WAITS, &[(250, 1), (100_000, 5), (500_000, 20), (1_000_000, 25), (2_000_000, 46)]);
    Traffic {
        established: 100,
        accepted: 97,
        synack_retransmits: 5,
        accept_peak: Peak { since_scrape: 100, window: 129 },
        syn_peak: Peak { since_scrape: 2, window: 2 },
        depth: Histogram::from_counts(Traffic::DEPTHS, depths, 5050),
        wait: Histogram::from_counts(Traffic::WAITS, waits, 94_090_000),
        ..Traffic::default()
    }
}

fn balance(netns: Netns, kernel: u64, since_attach: i64, residual: i64) -> NamespaceBalance {
    let mut counters = PerCounter::from_fn(|_| CounterBalance::default());
    let attributed = since_attach - residual;
    let drops = CounterBalance { kernel, since_attach, attributed, residual };
    counters.set(KernelCounter::ListenDrops, drops);
    let read = Timestamp::from_nanos(1_790_000_060_000_000_000);
    let charged = PerCounter::default();
    NamespaceBalance { netns, counters, start: Start::Attach, read, last: false, slack: 0, charged }
}

fn namespaces<const N: usize>(balances: [NamespaceBalance; N]) -> Arc<BTreeMap<Netns, NamespaceView>> {
    let view = |balance: NamespaceBalance| {
        let name = if balance.netns == HOST { "host".to_owned() } else { balance.netns.to_string() };
        let view = NamespaceView {
            netns: balance.netns,
            name: name.into(),
            known: balance.read,
            ended: None,
            balance: Some(balance),
            why_not: None,
            charged_since: PerCounter::default(),
        };
        (view.netns, view)
    };
    Arc::new(balances.into_iter().map(view).collect())
}

fn health() -> Health {
    let probe = |program: &'static str, at: &'static str, attached, missed| ProbeStatus {
        program: program.into(),
        function: "tcp_v4_conn_request".into(),
        at: at.into(),
        mode: AttachMode::Kprobe,
        required: true,
        attached,
        detail: None,
        missed,
    };
    let mut flow = EventFlow { seen: 47, submitted: 40, suppressed: 5, folded: 1, ..EventFlow::default() };
    flow.lost[LossReason::RingFull as usize] = 2;
    let probes = vec![
        probe("conn_request_enter", "entry", true, Some(0)),
        probe("conn_request_leave", "return", true, None),
        probe("send_reset_enter", "entry", false, Some(4)),
    ];
    let slots = vec![
        SlotUse { kind: "listeners".into(), capacity: 4096, used: 5, given_back: 2 },
        SlotUse { kind: "endpoints".into(), capacity: 4096, used: 1, given_back: 0 },
        SlotUse { kind: "namespaces".into(), capacity: 64, used: 1, given_back: 0 },
    ];
    let dropped_ack_cache =
        DroppedAckCacheUse { capacity: 16_384, entered: 12, outstanding: 7, forgotten_at_most: 0 };
    Health { probes, flow, slots, dropped_ack_cache, ..Health::default() }
}
