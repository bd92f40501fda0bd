//! Response types of the HTTP API, defined once for the daemon that writes and the clients that read.
//!
//! Clients ignore members they do not recognise. A member that an older daemon does not send takes its
//! default (`serde(default)`), so that a newer client can read that daemon's responses.

#![forbid(unsafe_code)]

mod beside;
mod diagnosis;
mod difference;
mod envelope;
mod event;
mod kinds;
mod listener;
mod owner_state;
mod socket;
mod spike;
mod status;
mod timeseries;
mod traffic;
mod words;

pub use beside::Beside;
pub use diagnosis::{
    Cause, Counterfactual, Diagnosis, Fact, Knob, ListeningProcess, Scope, Subject, Verdict, Window,
};
pub use envelope::{Coverage, Envelope, Gap, Page, Problem};
pub use event::{Ended, Event, Events, Lost, Peer, PeerCount, Peers};
pub use kinds::{AccountKind, EventKind, Impact};
pub use listener::{
    DropCount, Drops, EventShare, Ghosts, Handshakes, Listener, ListenerDetail, Listeners, Part, Queue,
    ResetCount, Resets,
};
pub use owner_state::{OwnerState, ProcessState};
pub use socket::{Limit, Owner, Reuseport, Socket, Unknown};
pub use spike::{Spike, SpikeClients, Spikes};
pub use status::{
    Balance, DroppedAckCache, EventFiles, EventFlow, Memory, NamespaceSearch, NotCompared, Probe,
    Reconciliation, Slots, Status,
};
pub use timeseries::{Series, Timeseries};
pub use traffic::{Bucket, Distribution, QueuePeak, Traffic};
