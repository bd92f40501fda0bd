//! The answers of the API, as the daemon writes them and its clients read them: one definition of each.
//!
//! Clients ignore members they do not know, and take what an older daemon does not tell as unknown (`serde(default)`).

#![forbid(unsafe_code)]

mod diagnosis;
mod envelope;
mod event;
mod listener;
mod socket;
mod spike;
mod status;
mod timeseries;
mod traffic;

pub use diagnosis::{Because, Counterfactual, Diagnosis, Fact, Knob, Process, Subject, Verdict, Window};
pub use envelope::{Coverage, Envelope, Gap, Page, Problem};
pub use event::{Ended, Event, Events, Lost, Peer, PeerCount, Peers};
pub use listener::{
    DropCount, Drops, EventShare, Ghosts, Handshakes, Listener, ListenerDetail, Listeners, Part, Queue,
    ResetCount, Resets,
};
pub use socket::{Limit, Owner, Reuseport, Socket, Unknown};
pub use spike::{Spike, SpikeClients, Spikes};
pub use status::{
    Balance, EventFiles, EventFlow, Ledger, Memory, NamespaceSearch, NotCompared, Probe, Reconciliation,
    Slots, Status,
};
pub use timeseries::{Series, Timeseries};
pub use traffic::{Bucket, Distribution, QueuePeak, Traffic};
