//! What is on the screen, without a screen: news and keys in, a picture out.

use netqueue_api::{Event, Listener, Spike, Status, Verdict};
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

/// The order of the table; the most troubled first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Dropping now, then dropped ever
    #[default]
    Drops,
    /// The fullest accept queue
    Fullness,
    /// Resets sent now, then ever
    Resets,
    /// Address and port
    Name,
}

/// Which accounts are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Show {
    /// All of them.
    #[default]
    Everything,
    /// Sockets that listen.
    Listeners,
    /// Those that dropped something.
    Trouble,
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// The table, with what is known of the chosen account below.
    #[default]
    Table,
    /// One account, explained.
    Detail,
    /// The keys.
    Help,
}

/// How well the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing was asked yet.
    Waiting,
    /// The last answer is fresh.
    Live,
    /// The last look failed; what is shown is as old as this.
    Failing(Duration, String),
}

/// The whole state.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) server: String,
    pub(super) sort: Sort,
    pub(super) show: Show,
    pub(super) page: Page,
    /// What is searched for, while and after it is typed.
    pub(super) filter: String,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) look: Option<Box<Look>>,
    /// Newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) history: History,
    pub(super) scroll: u16,
    /// The chosen account: it stays chosen when the order changes.
    chosen: Option<String>,
    last_answer: Option<Instant>,
    began: Option<Instant>,
    failure: Option<ClientError>,
}

impl Model {
    /// A screen of the daemon at `server`, before the first answer.
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

    /// Takes what there is to tell.
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
            // They are asked for again when it goes on.
            News::Events(_) => {}
        }
    }

    /// Another run of the daemon numbers its events anew.
    fn began_anew(&mut self, look: &Look) {
        if self.look.as_ref().is_some_and(|before| before.status.attached != look.status.attached) {
            self.events.clear();
        }
    }

    /// Takes events, oldest first; those it has are left out.
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

    /// The worst verdict of all.
    pub(super) fn worst(&self) -> Option<&Verdict> {
        self.look.as_ref().and_then(|look| look.verdicts.first())
    }

    /// The spike to tell of: that of a listener rather than its namespace's, the steepest.
    pub(super) fn spike(&self) -> Option<&Spike> {
        let spikes = self.look.iter().flat_map(|look| &look.spikes);
        spikes.max_by_key(|spike| (spike.scope == "listener", spike.peak_per_second))
    }

    /// How well the daemon answers.
    pub(super) fn link(&self, now: Instant) -> Link {
        match (&self.failure, self.last_answer.or(self.began)) {
            (Some(error), Some(since)) => Link::Failing(now.duration_since(since), error.to_string()),
            (None, Some(_)) if self.look.is_some() => Link::Live,
            _ => Link::Waiting,
        }
    }

    /// The daemon's status, once it answered.
    pub(super) fn status(&self) -> Option<&Status> {
        self.look.as_ref().map(|look| &look.status)
    }

    /// The accounts to show, in order.
    pub(super) fn rows(&self) -> Vec<&Listener> {
        let Some(look) = &self.look else { return Vec::new() };
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<_> = look
            .listeners
            .iter()
            .filter(|listener| match self.show {
                Show::Everything => true,
                Show::Listeners => listener.kind == "listener",
                Show::Trouble => listener.drops.total > 0,
            })
            .filter(|listener| {
                wanted.is_empty()
                    || [&format::listener(listener), &listener.process, &listener.kind]
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

    /// The place of the chosen account among `rows`; the first where it is not there.
    pub(super) fn chosen(&self, rows: &[&Listener]) -> usize {
        let chosen = self.chosen.as_deref();
        rows.iter().position(|row| chosen == Some(row.id.as_str())).unwrap_or(0)
    }

    /// Chooses another account, `by` places further down.
    pub(super) fn step(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let next = self.chosen(&rows).saturating_add_signed(by).min(last);
        self.chosen = rows.get(next).map(|row| row.id.clone());
    }
}

/// The share of its accept queue that is taken: above 1 it drops. Less than nothing where it has none.
pub(super) fn fullness(listener: &Listener) -> f64 {
    listener.accept_queue.map_or(-1.0, |queue| f64::from(queue.length) / (f64::from(queue.limit) + 1.0))
}

fn by_name(a: &Listener, b: &Listener) -> Ordering {
    (&a.netns, a.addr, a.port, &a.id).cmp(&(&b.netns, b.addr, b.port, &b.id))
}
