//! Source of observations from a recording, at its original pace or faster.

use std::{future, io, thread, time::Duration};

use netqueue_domain::{Health, Observation, Observed, Timestamp};
use tokio::{sync::mpsc, time::Instant};

use super::{Feed, Source, WATCH};
use crate::recording::Reader;

/// Observations read ahead.
const AHEAD: usize = 64;
/// Observations applied before other tasks get their turn.
const TURN: usize = 64;

/// Pace of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Multiple of the original pace.
    Times(f64),
    /// As fast as possible.
    Unlimited,
}

/// Recording being replayed.
pub struct Recorded {
    observations: mpsc::Receiver<Result<Observed, String>>,
    /// Next observation, not due yet.
    next: Option<Observed>,
    speed: Speed,
    /// Time of an observation, and when it was replayed.
    anchor: Option<(Timestamp, Instant)>,
    told: Timestamp,
    ticked: Timestamp,
    /// True once an observation was applied.
    begun: bool,
    ended: bool,
    health: Health,
    /// Warnings about the recording itself, in addition to those in it.
    remarks: Vec<String>,
}

impl Recorded {
    /// Replays `reader`, whose recording is called `name`.
    #[must_use]
    pub fn new(reader: Reader, name: &str, speed: Speed) -> Self {
        let (sender, observations) = mpsc::channel(AHEAD);
        let told = reader.header().attached;
        let remark = format!("this is a replay of {name}, not of this machine");
        thread::spawn(move || {
            for observed in reader {
                // The receiver is gone: the daemon stops.
                if sender.blocking_send(observed.map_err(|error| error.to_string())).is_err() {
                    return;
                }
            }
        });
        Self {
            observations,
            next: None,
            speed,
            anchor: None,
            told,
            ticked: told,
            begun: false,
            ended: false,
            health: Health::unreported(),
            remarks: vec![remark],
        }
    }

    /// Waits for the next observation to be read; false once there are no more.
    async fn read_next(&mut self) -> bool {
        while self.next.is_none() && !self.ended {
            let read = self.observations.recv().await;
            self.keep(read);
        }
        self.next.is_some()
    }

    fn keep(&mut self, read: Option<Result<Observed, String>>) {
        match read {
            Some(Ok(observed)) => {
                self.anchor.get_or_insert_with(|| (observed.time, Instant::now()));
                self.next = Some(observed);
            }
            Some(Err(error)) => {
                tracing::warn!("{error}");
                self.remarks.push(error);
            }
            None if !self.ended => {
                tracing::info!("end of recording; serving its final state");
                self.ended = true;
            }
            None => {}
        }
    }

    /// Returns the time until the next observation is due.
    fn wait(&self, next: &Observed) -> Duration {
        match (self.speed, self.anchor) {
            (Speed::Times(times), Some((_, told))) => {
                let since = next.time.since(self.anchor.map_or(next.time, |(start, _)| start));
                since.div_f64(times).saturating_sub(told.elapsed())
            }
            (Speed::Times(_) | Speed::Unlimited, _) => Duration::ZERO,
        }
    }

    fn tell(&mut self, feed: &mut Feed, observed: Observed) {
        self.told = self.told.max(observed.time);
        match &observed.what {
            Observation::Health(health) => self.health.clone_from(health.as_ref()),
            Observation::Checkpoint(checkpoint) => {
                if self.begun {
                    let told = checkpoint.wall_clock.rfc3339(self.told);
                    self.remarks.push(format!("the recording has a gap before {told}"));
                }
                self.health.clone_from(&checkpoint.health);
            }
            _ => {}
        }
        self.begun = true;
        feed.tell(self.told, observed.what);
        if self.told.since(self.ticked) >= WATCH {
            feed.tick(self.told);
            self.ticked = self.told;
        }
    }

    fn health_with_remarks(&self) -> Observation {
        let mut health = self.health.clone();
        health.warnings.extend(self.remarks.iter().cloned());
        Observation::Health(Box::new(health))
    }
}

impl Source for Recorded {
    fn now(&self) -> Timestamp {
        match (self.speed, self.anchor) {
            (Speed::Times(times), Some((start, told))) if !self.ended => {
                let now = start.plus(told.elapsed().mul_f64(times));
                let limit = self.next.as_ref().map_or(now, |next| next.time.min(now));
                limit.max(self.told)
            }
            (Speed::Times(_) | Speed::Unlimited, _) => self.told,
        }
    }

    async fn start(&mut self, feed: &mut Feed) {
        // Applies the state with which a recording begins; what follows comes in its own time.
        if self.read_next().await
            && let Some(first) = self.next.take()
        {
            self.tell(feed, first);
        }
    }

    async fn ready(&mut self) -> io::Result<()> {
        if !self.read_next().await {
            return future::pending().await;
        }
        if let Some(next) = &self.next {
            tokio::time::sleep(self.wait(next)).await;
        }
        Ok(())
    }

    fn drain(&mut self, feed: &mut Feed) -> bool {
        let mut any = false;
        for _ in 0..TURN {
            if self.next.is_none()
                && let Ok(read) = self.observations.try_recv()
            {
                self.keep(Some(read));
            }
            match self.next.take() {
                Some(next) if self.wait(&next).is_zero() => {
                    any |= matches!(next.what, Observation::Events(_));
                    self.tell(feed, next);
                }
                Some(early) => {
                    self.next = Some(early);
                    break;
                }
                None => break,
            }
        }
        any
    }

    fn drain_urgent(&mut self, _feed: &mut Feed) -> bool {
        false
    }

    /// Does nothing: the time advances with the observations, so a spike is where it was at any pace.
    fn poll_counters(&mut self, _feed: &mut Feed) {}

    async fn look(&mut self, feed: &mut Feed) {
        feed.tell(self.told, self.health_with_remarks());
    }
}
