//! Source of observations from the running kernel: drains the ring buffer and reads the counts.

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use netqueue_domain::{Changes, Health, LossReason, Netns, NetnsFinal, Observation, Obstacle, Timestamp};
use netqueue_kernel::{self as kernel, Attached, Drained, Listens, NetnsGenerations, Reading};
use tokio::{io::unix::AsyncFd, time::Instant};

use super::{
    Feed, Source,
    compare::{Charges, Comparison, Generations},
    schedule::Sums,
};
use crate::{
    clock,
    inventory::{
        host::Host,
        scanner::{self, ScannerHandle},
        tcp_memory::TcpMemoryWatch,
    },
};

const PROC: &str = "/proc";
/// Records taken from the ring buffer before other tasks get their turn.
const DRAIN: usize = 4096;
/// Pause between two steps while slots are being returned to the kernel side.
const HASTE: Duration = Duration::from_millis(100);

/// Attached kernel side, and what is told when its counts are read.
struct KernelSide {
    attached: Attached,
    scanner: ScannerHandle,
    undecodable_accounts: u64,
    /// Time when the inventory was last notified that something is being charged.
    stirred: Instant,
}

/// Kernel side, its comparison with the kernel's counters, and the inventory.
pub struct Live {
    kernel_side: KernelSide,
    comparison: Comparison<NetnsGenerations>,
    wakeups: AsyncFd<OwnedFd>,
    listens: Option<AsyncFd<OwnedFd>>,
    /// Changes found by the inventory and not yet applied.
    found: Vec<Changes>,
    inventory_warnings: Vec<String>,
    undecodable_records: u64,
    /// Number of listen() calls that could not be passed on to the inventory.
    listens_lost: u64,
    recycled: Instant,
    /// Obstacle that hides parts of the host from the daemon.
    hidden: Option<Obstacle>,
    tcp_memory: TcpMemoryWatch,
}

impl KernelSide {
    /// Reads the counts, and applies what changed in them.
    fn read(&mut self, feed: &mut Feed) -> Reading {
        self.attached.settle();
        let reading = self.attached.counters.read(clock::monotonic_epoch());
        self.undecodable_accounts = reading.undecodable;
        let sockets = feed.aggregator().unidentified(&reading.sockets);
        feed.tell_any(clock::now(), sockets, Observation::Sockets);
        let moved = feed.aggregator().moved(&reading.accounts);
        // A cause of these charges, such as a sysctl or an owner, may just have changed.
        if !moved.is_empty() && self.stirred.elapsed() >= scanner::PERIOD {
            self.scanner.waker.nudge();
            self.stirred = Instant::now();
        }
        feed.tell_any(clock::now(), moved, Observation::Counts);
        let closed = feed.aggregator().closed(&reading.closed);
        feed.tell_any(clock::now(), closed, Observation::Closed);
        reading
    }
}

impl Charges for KernelSide {
    fn read_sums(&mut self, feed: &mut Feed) -> Sums {
        self.read(feed).sums()
    }

    fn take_finals(&mut self) -> Vec<NetnsFinal> {
        self.attached.finals.drain()
    }
}

impl Generations for NetnsGenerations {
    fn now(&self, inode: u32) -> Netns {
        self.now(inode)
    }

    fn tells(&self, inode: u32) -> bool {
        self.tells(inode)
    }
}

impl Live {
    /// Takes over an attached kernel side.
    ///
    /// # Errors
    /// The ring buffer cannot be watched, so that the daemon would see nothing.
    pub fn new(attached: Attached, scanner: ScannerHandle, host: Host) -> io::Result<Self> {
        let wakeups = attached.ring.wakeups()?;
        let listens = attached.listens.as_ref().ok().map(Listens::wakeups).transpose()?;
        let comparison = Comparison::new(host.netns, Path::new(PROC), Arc::clone(&attached.numbers));
        Ok(Self {
            kernel_side: KernelSide { attached, scanner, undecodable_accounts: 0, stirred: Instant::now() },
            comparison,
            wakeups,
            listens,
            found: Vec::new(),
            inventory_warnings: Vec::new(),
            undecodable_records: 0,
            listens_lost: 0,
            recycled: Instant::now(),
            hidden: host.obstacle,
            tcp_memory: TcpMemoryWatch::default(),
        })
    }

    /// Applies what the inventory found.
    /// Charges up to now are read first, because they belong to the previous listeners.
    fn learn(&mut self, feed: &mut Feed, changes: Changes) {
        if !changes.listeners.is_empty() {
            self.kernel_side.read(feed);
        }
        self.inventory_warnings.clone_from(&changes.warnings);
        feed.tell(clock::now(), Observation::Listeners(changes));
    }

    /// Applies the traffic of listeners.
    fn flow(&mut self, feed: &mut Feed) {
        let traffic = self.kernel_side.attached.traffic();
        // Recorded from here on belongs to the next reading.
        self.kernel_side.attached.begin_epoch();
        let flowed = feed.aggregator().flowed(traffic);
        feed.tell_any(clock::now(), flowed, Observation::Traffic);
    }

    /// Returns slots of closed listeners to the kernel side; their counts are kept.
    fn reclaim(&mut self, feed: &mut Feed) {
        let settled = self.kernel_side.attached.reclaim();
        feed.tell_any(clock::now(), settled.into_iter().collect(), Observation::Settled);
        self.recycled = Instant::now();
    }
}

/// Waits until there is something to read; for ever if there is no descriptor.
async fn readable(descriptor: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match descriptor {
        Some(descriptor) => descriptor.readable().await.map(|mut woken| woken.clear_ready()),
        None => std::future::pending().await,
    }
}

/// Detects a step of the wall clock, so that times are shown and parsed as it is set now.
fn follow_wall_clock(feed: &mut Feed) {
    let (known, clock) = (feed.aggregator().wall_clock(), clock::wall_clock());
    if !clock.is_close_to(known) {
        let seconds = clock.seconds_after(known);
        tracing::info!(seconds, "the wall clock was stepped; intervals are not affected");
        feed.tell(clock::now(), Observation::WallClock(clock));
    }
}

impl Source for Live {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    async fn start(&mut self, feed: &mut Feed) {
        self.comparison.take_baselines(&mut self.kernel_side, feed).await;
    }

    async fn ready(&mut self) -> io::Result<()> {
        tokio::select! {
            woken = self.wakeups.readable() => woken?.clear_ready(),
            woken = readable(self.listens.as_ref()) => woken?,
            Some(changes) = self.kernel_side.scanner.changes.recv() => self.found.push(changes),
        }
        Ok(())
    }

    fn drain(&mut self, feed: &mut Feed) -> bool {
        let mut any = false;
        if let Ok(listens) = &mut self.kernel_side.attached.listens {
            self.listens_lost += self.kernel_side.scanner.waker.wake(listens.drain(clock::monotonic_epoch()));
        }
        for changes in std::mem::take(&mut self.found) {
            self.learn(feed, changes);
        }
        loop {
            let Drained { events, undecodable, more } =
                self.kernel_side.attached.ring.drain(DRAIN, clock::monotonic_epoch());
            self.undecodable_records += undecodable;
            any |= !events.is_empty();
            // A charge precedes its event: an account unknown to the aggregator has counts to read.
            if events.iter().any(|event| !feed.aggregator().knows(&event.account)) {
                let sums = self.kernel_side.read(feed).sums();
                self.comparison.begin_search(&sums);
            }
            if !events.is_empty() {
                feed.tell(clock::now(), Observation::Events(events));
            }
            if let Some(logger) = &mut self.kernel_side.attached.logger {
                logger.flush();
            }
            if !more {
                return any;
            }
        }
    }

    fn drain_urgent(&mut self, feed: &mut Feed) -> bool {
        let recycling = self.kernel_side.attached.is_reclaiming();
        if recycling && self.recycled.elapsed() >= HASTE {
            self.kernel_side.attached.survey();
            self.kernel_side.read(feed);
            self.flow(feed);
            self.reclaim(feed);
        }
        recycling
    }

    fn poll_counters(&mut self, feed: &mut Feed) {
        self.kernel_side.read(feed);
        feed.tick(clock::now());
    }

    async fn look(&mut self, feed: &mut Feed) {
        // Before the counts are read, so that a listener that was closed is closed in the next snapshot.
        self.kernel_side.attached.survey();
        follow_wall_clock(feed);
        self.reclaim(feed);
        self.comparison.reconcile(&mut self.kernel_side, feed).await;
        self.flow(feed);
        feed.tick(clock::now());
        self.kernel_side.attached.counters.keep(|netns| feed.aggregator().remembers(netns));
        let (raced, late) = feed.raced(clock::now());
        self.kernel_side.scanner.waker.watch(&self.kernel_side.scanner.raced, raced, late);
        let scanner = self.kernel_side.scanner.cost.now();
        let mut flow = self.kernel_side.attached.counters.flow();
        flow.lost[LossReason::Undecodable as usize] =
            self.undecodable_records + self.kernel_side.undecodable_accounts;
        flow.listens_lost += self.listens_lost + scanner.calls_lost;
        let trouble = self.kernel_side.attached.reclaim_trouble().map(str::to_owned);
        let inventory = self.inventory_warnings.iter().cloned();
        let late = self.kernel_side.attached.loaded_late();
        let warnings = self.comparison.warnings().chain(late).chain(trouble).chain(inventory).collect();
        let health = Health {
            probes: self.kernel_side.attached.probes(),
            features: self.kernel_side.attached.features(),
            flow,
            slots: self.kernel_side.attached.room(),
            dropped_ack_cache: self.kernel_side.attached.dropped_ack_cache(),
            scans: scanner,
            obstacles: kernel::switched_off().chain(self.hidden).collect(),
            warnings,
            caveats: self.kernel_side.attached.caveats().into_iter().collect(),
            tcp_memory: self.tcp_memory.look(Path::new(PROC), clock::now()),
        };
        feed.tell(clock::now(), Observation::Health(Box::new(health)));
    }
}
