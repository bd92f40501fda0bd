//! Meaning of netqueue's counts: accounts, causes, balances, spikes and verdicts. Pure: no clock, no
//! I/O, no kernel, no server; time is an argument and effects are return values.

#![forbid(unsafe_code)]
// A new cause, kind or state must not fall into an arm that was written before it.
#![warn(clippy::wildcard_enum_match_arm)]

mod account;
mod aggregator;
mod beside;
mod by_name;
mod cause;
mod counter;
mod counts;
pub mod diagnosis;
mod earlier;
mod event;
mod event_log;
pub mod glossary;
mod grouped;
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
pub mod netstat;
mod observation;
mod obstacle;
mod owner;
pub mod owner_state;
mod peaks;
mod reconcile;
mod retention;
mod sample;
mod scan_cost;
mod series_budget;
mod serving;
mod snapshot;
mod spikes;
mod tcp_memory;
mod time;
mod traffic;
mod wall_clock;
mod window;

pub use account::{AccountId, AccountKey, Endpoint, Netns, SocketId};
pub use aggregator::{Aggregator, AggregatorSettings, IdleLimits, QueuePeaks};
pub use beside::{Beside, BesideCounter, BesideEntry, BesideFinding, BesideValues, Moved, beside};
pub use cause::{DropCause, DropKind, ResetCause, Stage, What};
pub use counter::{KernelCounter, PerCounter};
pub use counts::{Counts, Unreported};
pub use earlier::{Earlier, EarlierRun, Named};
pub use event::{Event, Peer, QueueState, Queues};
pub use event_log::EventLog;
pub use grouped::grouped;
pub use handshakes::Handshakes;
pub use health::{
    AttachMode, AttachWay, DroppedAckCacheUse, EventFlow, Features, Health, LossReason, ProbeStatus, SlotUse,
};
pub use histogram::Histogram;
pub use history::{History, Measure, RESOLUTIONS, Resolution};
pub use idle::{IdleClosings, IdleLimit, LateData, Sighting};
pub use journal::JournalState;
pub use limit::{Limit, LimitedBy, Sysctls};
pub use listen_call::ListenCall;
pub use listener::{
    Capability, Changes, Family, Known, Listener, Reuseport, SocketInode, Unknown, printable,
};
pub use namespaces::{NamespaceNews, NamespaceView, NetnsFinal, SearchCost};
pub use observation::{Checkpoint, Observation, Observed};
pub use obstacle::Obstacle;
pub use owner::{CgroupInfo, Owner, Runtime};
pub use owner_state::{
    Activity, CgroupState, CpuQuota, Hindrance, OomKills, OwnerState, ProcessState, Throttling,
};
pub use peaks::Peaks;
pub use reconcile::{Baseline, Bracket, CounterBalance, NamespaceBalance, Reconciler, Start};
pub use retention::Keep;
pub use sample::Sample;
pub use scan_cost::{OwnerSearch, ScanCost};
pub use serving::{ConnectionResets, Serving, ends_connection, serves};
pub use snapshot::{AccountView, Snapshot};
pub use spikes::{PeerCount, Sensitivity, Spike, SpikeDetector, SpikeNotice, SpikeScope};
pub use tcp_memory::{TcpLimit, TcpMemory};
pub use time::Timestamp;
pub use traffic::{Peak, Traffic, TrafficReading};
pub use wall_clock::{WallClock, WallTime};
pub use window::{AccountWindow, Windows};
