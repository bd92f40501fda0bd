//! Meaning of netqueue's counts: accounts, causes, balances, spikes and verdicts. Pure: no clock, no
//! I/O, no kernel, no server; time is an argument and effects are return values.

#![forbid(unsafe_code)]

mod account;
mod aggregator;
mod by_name;
mod cause;
mod census;
mod counter;
mod counts;
pub mod diagnosis;
mod earlier;
mod event;
mod event_log;
pub mod glossary;
mod gone;
mod handshakes;
mod health;
mod histogram;
mod history;
mod idle;
mod joining;
mod journal;
mod limit;
mod listen_call;
mod listener;
mod namespaces;
mod observation;
mod obstacle;
mod owner;
mod peaks;
mod places;
mod recent;
mod reconcile;
mod snapshot;
mod spikes;
mod time;
mod traffic;
mod wall_clock;

pub use account::{AccountId, AccountKey, Endpoint, Netns, SocketId};
pub use aggregator::{Aggregator, IdleLimits, QueuePeaks, Settings};
pub use cause::{DropCause, DropKind, ResetCause, Stage, What};
pub use census::{Census, OwnerSearch};
pub use counter::{KernelCounter, PerCounter};
pub use counts::{Counts, Untold};
pub use earlier::{Earlier, EarlierRun, Named};
pub use event::{Event, Peer, QueueState, Queues};
pub use event_log::EventLog;
pub use gone::Keep;
pub use handshakes::Handshakes;
pub use health::{
    AttachMode, AttachWay, EventFlow, Features, Health, LedgerUse, LossReason, ProbeStatus, SlotUse,
};
pub use histogram::Histogram;
pub use history::{History, Measure, RESOLUTIONS, Resolution};
pub use idle::{IdleClosings, IdleLimit, Sighting};
pub use journal::JournalState;
pub use limit::{Limit, LimitedBy, Sysctls};
pub use listen_call::ListenCall;
pub use listener::{
    Capability, Changes, Family, Known, Listener, Reuseport, SocketInode, Unknown, printable,
};
pub use namespaces::{Farewell, NamespaceNews, NamespaceView, SearchCost};
pub use observation::{Observation, Observed, Standing};
pub use obstacle::Obstacle;
pub use owner::{Owner, Place, Runtime};
pub use peaks::Peaks;
pub use recent::{Past, Recent, Run};
pub use reconcile::{Baseline, Bracket, CounterBalance, NamespaceBalance, Reconciler, Start};
pub use snapshot::{AccountView, Snapshot};
pub use spikes::{PeerCount, Sensitivity, Spike, SpikeDetector, SpikeNotice, SpikeScope};
pub use time::Timestamp;
pub use traffic::{Peak, Traffic, TrafficReading};
pub use wall_clock::{WallClock, WallTime};
