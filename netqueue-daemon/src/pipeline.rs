//! The one task that owns the aggregator: it drains the ring, reads the counts, tells the time and publishes snapshots.

use std::{future::Future, io, os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{io::unix::AsyncFd, time::Instant};

use crate::{
    clock,
    domain::{Aggregator, Bracket, Changes, Health, LossReason, NamespaceBalance, Netns, Snapshot},
    inventory::{census::Census, netns::HOST_NET, netstat},
    kernel::{Attached, Drained, Reading},
    snapshots::{Publisher, Request},
    spike_log,
};

/// Records taken from the ring before anything else gets its turn.
const DRAIN: usize = 4096;
/// While events come, the ring is drained this often: the kernel side need not wake us for each.
const BUSY: Duration = Duration::from_millis(20);
/// When none come, this often.
const IDLE: Duration = Duration::from_secs(1);
/// While slots are on their way back to the kernel side, this much passes between two steps.
const HASTE: Duration = Duration::from_millis(100);
/// While events come, the counts are read this often, to tell a spike from what is ordinary.
const WATCH: Duration = Duration::from_millis(250);
/// How often a namespace's counters are compared again where they do not agree: what is under way comes to rest.
const SETTLE: u32 = 5;

/// The kernel side, the aggregator, and what connects them.
pub struct Pipeline {
    attached: Attached,
    aggregator: Aggregator,
    census: Census,
    inventory_warnings: Vec<String>,
    host: Netns,
    undecodable_records: u64,
    undecodable_accounts: u64,
    recycled: Instant,
    host_balance: Option<NamespaceBalance>,
    reconcile_error: Option<String>,
}

/// What ended a wait.
enum Turn {
    Drain,
    Learn(Changes),
    Serve(Request),
    Stop,
}

impl Pipeline {
    /// Takes over an attached kernel side and takes the baseline its counts are compared with.
    pub async fn start(attached: Attached, aggregator: Aggregator, census: Census, host: Netns) -> Self {
        let mut pipeline = Self {
            attached,
            aggregator,
            census,
            inventory_warnings: Vec::new(),
            host,
            undecodable_records: 0,
            undecodable_accounts: 0,
            recycled: Instant::now(),
            host_balance: None,
            reconcile_error: None,
        };
        pipeline.take_baseline().await;
        pipeline
    }

    /// A picture of everything, read now.
    pub async fn refresh(&mut self) -> Snapshot {
        self.drain();
        self.recycle();
        self.reconcile().await;
        self.tick();
        let mut flow = self.attached.counters.flow();
        flow.lost[LossReason::Undecodable as usize] = self.undecodable_records + self.undecodable_accounts;
        let warnings = self.reconcile_error.as_deref().into_iter().chain(self.attached.recycling_trouble());
        let warnings = warnings.chain(self.inventory_warnings.iter().map(String::as_str));
        let warnings = warnings.map(str::to_owned).collect();
        self.aggregator.set_health(Health {
            probes: self.attached.probes(),
            flow,
            slots: self.attached.room(),
            warnings,
        });
        self.aggregator.snapshot(clock::now())
    }

    /// Runs until `stop`, publishing at least once a second and for every request.
    ///
    /// # Errors
    /// The ring buffer cannot be watched; the daemon is blind then and must not go on.
    pub async fn run(
        mut self,
        mut publisher: Publisher,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let wakeups = self.attached.ring.wakeups()?;
        let mut stop = std::pin::pin!(stop);
        let (mut pause, mut published, mut watched) = (IDLE, Instant::now(), Instant::now());
        loop {
            let turn = tokio::select! {
                biased;
                () = &mut stop => Turn::Stop,
                Some(request) = publisher.request() => Turn::Serve(request),
                woken = readable(&wakeups) => { woken?; Turn::Drain }
                Some(changes) = self.census.changes.recv() => Turn::Learn(changes),
                () = tokio::time::sleep(pause) => Turn::Drain,
            };
            match turn {
                Turn::Stop => return Ok(()),
                Turn::Learn(changes) => self.learn(changes),
                Turn::Drain => {
                    pause = if self.drain() | self.hurry() { BUSY } else { IDLE };
                    if published.elapsed() >= IDLE {
                        publisher.publish(Arc::new(self.refresh().await));
                        (published, watched) = (Instant::now(), Instant::now());
                    } else if pause == BUSY && watched.elapsed() >= WATCH {
                        self.read();
                        self.tick();
                        watched = Instant::now();
                    }
                }
                Turn::Serve(request) => {
                    // Those that wait already asked before this picture is taken: it serves them too.
                    let waiting: Vec<_> = publisher.more_requests().collect();
                    let snapshot = Arc::new(self.refresh().await);
                    publisher.publish(Arc::clone(&snapshot));
                    published = Instant::now();
                    if request.is_scrape() || waiting.iter().any(Request::is_scrape) {
                        self.aggregator.scraped();
                    }
                    waiting
                        .into_iter()
                        .chain([request])
                        .for_each(|request| request.answer(Arc::clone(&snapshot)));
                }
            }
        }
    }

    /// Empties the ring. Returns whether there was anything.
    fn drain(&mut self) -> bool {
        let mut any = false;
        loop {
            let Drained { events, undecodable, more } = self.attached.ring.drain(DRAIN);
            self.undecodable_records += undecodable;
            any |= !events.is_empty();
            // A charge precedes its event: an account the aggregator does not know has counts to read.
            if events.iter().any(|event| !self.aggregator.knows(&event.account)) {
                self.read();
            }
            events.into_iter().for_each(|event| self.aggregator.observe(event));
            if let Some(logger) = &mut self.attached.logger {
                logger.flush();
            }
            if !more {
                return any;
            }
        }
    }

    /// Takes over what the inventory found. What was charged up to now is read first: it belongs to who was known before.
    fn learn(&mut self, mut changes: Changes) {
        if !changes.listeners.is_empty() {
            self.read();
        }
        self.inventory_warnings = std::mem::take(&mut changes.warnings);
        self.aggregator.learn(changes, clock::now());
    }

    /// Tells the aggregator the time, and the log what it answers.
    fn tick(&mut self) {
        self.aggregator.tick(clock::now()).iter().for_each(spike_log::write);
    }

    fn read(&mut self) -> Reading {
        let reading = self.attached.counters.read();
        let now = clock::now();
        for (key, socket) in &reading.sockets {
            self.aggregator.identify(*key, *socket, now);
        }
        self.aggregator.count(reading.accounts.iter().copied(), now);
        self.aggregator.close(reading.closed.iter().copied());
        self.undecodable_accounts = reading.undecodable;
        reading
    }

    /// Slots whose owners are gone go back to the kernel side, what they had counted stays.
    fn recycle(&mut self) {
        for (account, counts) in self.attached.recycle() {
            self.aggregator.settle(account, counts, clock::now());
        }
        self.recycled = Instant::now();
    }

    /// Does so between two pictures where slots are under way or few are left; returns whether that is so.
    fn hurry(&mut self) -> bool {
        let recycling = self.attached.is_recycling();
        if recycling && self.recycled.elapsed() >= HASTE {
            self.read();
            self.recycle();
        }
        recycling
    }

    /// The kernel's counters between two readings of ours; `None` where they cannot be read, which is said.
    fn bracket(&mut self) -> Option<Bracket> {
        let before = self.read().sum(self.host);
        let kernel = netstat::read(HOST_NET);
        let after = self.read().sum(self.host);
        self.reconcile_error =
            kernel.as_ref().err().map(|error| format!("the host's counters are not compared: {error}"));
        kernel.ok().map(|kernel| Bracket { before, kernel, after })
    }

    async fn take_baseline(&mut self) {
        const ATTEMPTS: u32 = 20;
        for _ in 0..ATTEMPTS {
            let Some(bracket) = self.bracket() else { return };
            if self.aggregator.set_baseline(self.host, &bracket) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tracing::warn!("drops go on while netqueue starts: the residual may be off by what moved meanwhile");
    }

    /// Compares the host's counters. A drop under way, counted by the kernel and not yet charged, is waited for; a
    /// residual that stays is published, and not waited for again.
    async fn reconcile(&mut self) {
        for attempt in 0..SETTLE {
            let Some(bracket) = self.bracket() else { return };
            let balance = self.aggregator.reconcile(self.host, &bracket);
            let settled = balance.as_ref().is_none_or(|now| {
                now.is_exact() || self.host_balance.as_ref().is_some_and(|last| now.same_residual(last))
            });
            self.host_balance = balance;
            if settled {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1 << attempt)).await;
        }
    }
}

async fn readable(wakeups: &AsyncFd<OwnedFd>) -> io::Result<()> {
    wakeups.readable().await?.clear_ready();
    Ok(())
}
