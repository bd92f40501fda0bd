//! Observes one listener in netqueue during an incident.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::expectation::Fixture;
use super::observation::Observation;
use netqueue_api::{Listener, Traffic};

/// Time limit for netqueue to agree.
const AGREE_WITHIN: Duration = Duration::from_secs(3);

/// A listener, observed since `begin`.
pub(super) struct Watch<'a> {
    fixture: &'a Fixture<'a>,
    address: SocketAddr,
    known: Observation,
}

impl<'a> Watch<'a> {
    /// Starts the observation; call this before the incident.
    pub(super) fn begin(fixture: &'a Fixture<'a>, address: SocketAddr) -> Result<Self> {
        let known = match fixture.server {
            Some(server) => Observation::of(server, fixture.netns.inode())?,
            None => Observation::default(),
        };
        Ok(Self { fixture, address, known })
    }

    /// Polls netqueue until its answer is right or time is over; returns the last answer.
    /// `None` if netqueue must not be queried.
    pub(super) fn until(&self, right: impl Fn(&Observation) -> bool) -> Result<Option<Observation>> {
        let Some(server) = self.fixture.server else { return Ok(None) };
        let deadline = Instant::now() + AGREE_WITHIN;
        loop {
            let seen = Observation::of(server, self.fixture.netns.inode())?.since(&self.known);
            if right(&seen) || Instant::now() > deadline {
                return Ok(Some(seen));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Fetches the listener's traffic; `None` if netqueue must not be queried or has no such listener.
    pub(super) fn traffic(&self) -> Result<Option<Traffic>> {
        let seen = self.until(|_| true)?;
        let rows = seen.map(|seen| seen.rows).unwrap_or_default();
        Ok(rows.into_iter().find(|row| row.is_listener_at(self.address)).and_then(|row| row.traffic))
    }

    /// Polls until one property of the listener's row is as expected; otherwise returns the deviation.
    pub(super) fn expect<T: Debug + PartialEq>(
        &self,
        when: &str,
        look: impl Fn(&Listener) -> T,
        wanted: T,
    ) -> Result<Option<String>> {
        let found =
            |seen: &Observation| seen.rows.iter().find(|row| row.is_listener_at(self.address)).map(&look);
        let Some(seen) = self.until(|seen| found(seen).as_ref() == Some(&wanted))? else { return Ok(None) };
        Ok(match found(&seen) {
            Some(said) if said == wanted => None,
            Some(said) => Some(format!("{when}: netqueue says {said:?}, expected {wanted:?}")),
            None => Some(format!("{when}: netqueue shows no listener on {}", self.address)),
        })
    }
}
