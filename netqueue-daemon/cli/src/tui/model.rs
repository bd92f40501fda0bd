//! The state of the screen, independent of a terminal: takes news and keys, provides what to draw.

use netqueue_api::{AccountKind, Event, Listener, Spike, Status, Verdict};
use std::{
    cmp::Ordering,
    collections::VecDeque,
    time::{Duration, Instant},
};

use clap::ValueEnum;

use super::{
    feed::{EVENTS, Look, News},
    history::History,
};
use crate::{client::ClientError, format};

/// The sort order of the table; the most troubled account comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Drops per second, then total drops
    #[default]
    Drops,
    /// Fullest accept queue first
    Fullness,
    /// Resets per second, then total resets
    Resets,
    /// Namespace, address and port
    Name,
}

/// The accounts to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Show {
    /// All accounts.
    #[default]
    Everything,
    /// Listening sockets only.
    Listeners,
    /// Accounts with drops only.
    Trouble,
}

/// The page that fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// The table, with the causes of the chosen account below.
    #[default]
    Table,
    /// A description of one account.
    Detail,
    /// The list of keys.
    Help,
}

/// The state of the connection to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// No answer has arrived yet.
    Waiting,
    /// The last poll succeeded.
    Live,
    /// The last poll failed; the numbers shown are as old as this, and the text is the error.
    Failing(Duration, String),
}

/// The whole state of the screen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) server: String,
    pub(super) sort: Sort,
    pub(super) show: Show,
    pub(super) page: Page,
    /// The search text, while the user types and afterwards.
    pub(super) filter: String,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) look: Option<Box<Look>>,
    /// Newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) history: History,
    pub(super) scroll: u16,
    /// The ID of the chosen account, which stays chosen when the order changes.
    chosen: Option<String>,
    last_answer: Option<Instant>,
    began: Option<Instant>,
    failure: Option<ClientError>,
}

impl Model {
    /// Creates the screen of the daemon at `server`, before the first answer.
    pub(super) fn new(server: String, sort: Sort) -> Self {
        Self {
            server,
            sort,
            show: Show::default(),
            page: Page::default(),
            filter: String::new(),
            typing: false,
            paused: false,
            look: None,
            events: VecDeque::new(),
            history: History::default(),
            scroll: 0,
            chosen: None,
            last_answer: None,
            began: None,
            failure: None,
        }
    }

    /// Applies a report of the feed.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Look(at, Ok(look)) => {
                self.began.get_or_insert(at);
                self.history.take(at, &look.listeners);
                self.last_answer = Some(at);
                self.failure = None;
                if !self.paused {
                    self.began_anew(&look);
                    self.happened(look.events.iter().rev().cloned());
                    self.look = Some(look);
                }
            }
            News::Look(at, Err(error)) => {
                self.began.get_or_insert(at);
                self.failure = Some(error);
            }
            News::Events(events) if !self.paused => self.happened(events),
            // The next poll after the pause delivers these events again.
            News::Events(_) => {}
        }
    }

    /// Clears the events if the daemon has restarted: a new run numbers its events anew.
    fn began_anew(&mut self, look: &Look) {
        if self.look.as_ref().is_some_and(|before| before.status.attached != look.status.attached) {
            self.events.clear();
        }
    }

    /// Adds events, given oldest first, and skips those already present.
    fn happened(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            if self.events.front().is_none_or(|newest| newest.seq < event.seq) {
                self.events.push_front(event);
            }
        }
        self.events.truncate(EVENTS);
    }

    /// The verdicts on one account, the worst first.
    pub(super) fn verdicts_on(&self, id: &str) -> impl Iterator<Item = &Verdict> {
        let all = self.look.iter().flat_map(|look| &look.verdicts);
        all.filter(move |verdict| verdict.subject.listener.as_deref() == Some(id))
    }

    /// The worst verdict of all accounts.
    pub(super) fn worst(&self) -> Option<&Verdict> {
        self.look.as_ref().and_then(|look| look.verdicts.first())
    }

    /// The spike to report: the steepest, preferably a listener's rather than its namespace's.
    pub(super) fn spike(&self) -> Option<&Spike> {
        let spikes = self.look.iter().flat_map(|look| &look.spikes);
        spikes.max_by_key(|spike| (spike.scope == "listener", spike.peak_per_second))
    }

    /// The state of the connection to the daemon at `now`.
    pub(super) fn link(&self, now: Instant) -> Link {
        match (&self.failure, self.last_answer.or(self.began)) {
            (Some(error), Some(since)) => Link::Failing(now.duration_since(since), error.to_string()),
            (None, Some(_)) if self.look.is_some() => Link::Live,
            _ => Link::Waiting,
        }
    }

    /// The daemon's status, once an answer has arrived.
    pub(super) fn status(&self) -> Option<&Status> {
        self.look.as_ref().map(|look| &look.status)
    }

    /// The accounts to show, sorted.
    pub(super) fn rows(&self) -> Vec<&Listener> {
        let Some(look) = &self.look else { return Vec::new() };
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<_> = look
            .listeners
            .iter()
            .filter(|listener| match self.show {
                Show::Everything => true,
                Show::Listeners => listener.kind == AccountKind::Listener,
                Show::Trouble => listener.drops.total > 0,
            })
            .filter(|listener| {
                wanted.is_empty()
                    || [format::listener(listener).as_str(), &listener.process, listener.kind.as_str()]
                        .iter()
                        .any(|text| text.to_lowercase().contains(&wanted))
            })
            .collect();
        rows.sort_by(|a, b| self.order(a, b).then_with(|| by_name(a, b)));
        rows
    }

    fn order(&self, a: &Listener, b: &Listener) -> Ordering {
        let descending = |of: &dyn Fn(&Listener) -> f64| of(b).total_cmp(&of(a));
        match self.sort {
            Sort::Drops => descending(&|one| self.history.drop_rate(&one.id))
                .then_with(|| b.drops.total.cmp(&a.drops.total))
                .then_with(|| b.resets.total.cmp(&a.resets.total)),
            Sort::Fullness => descending(&fullness),
            Sort::Resets => descending(&|one| self.history.reset_rate(&one.id))
                .then_with(|| b.resets.total.cmp(&a.resets.total)),
            Sort::Name => Ordering::Equal,
        }
    }

    /// The index of the chosen account in `rows`; 0 if it is not among them.
    pub(super) fn chosen(&self, rows: &[&Listener]) -> usize {
        let chosen = self.chosen.as_deref();
        rows.iter().position(|row| chosen == Some(row.id.as_str())).unwrap_or(0)
    }

    /// Moves the choice `by` rows down.
    pub(super) fn step(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let next = self.chosen(&rows).saturating_add_signed(by).min(last);
        self.chosen = rows.get(next).map(|row| row.id.clone());
    }
}

/// Accept queue length as a share of what fits, `limit + 1`: at 1 the kernel drops.
/// Negative if the account has no accept queue, so that it sorts last.
pub(super) fn fullness(listener: &Listener) -> f64 {
    listener.accept_queue.map_or(-1.0, |queue| f64::from(queue.length) / (f64::from(queue.limit) + 1.0))
}

fn by_name(a: &Listener, b: &Listener) -> Ordering {
    (&a.netns, a.addr, a.port, &a.id).cmp(&(&b.netns, b.addr, b.port, &b.id))
}
