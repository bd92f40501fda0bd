//! A map of another tool, to be written while netqueue counts.

use aya::maps::{HashMap, Map, MapData};
use netqueue_common::names;

use super::{
    attach::lift_memory_lock,
    error::{AttachError, absent, refused},
    noop,
};

/// A hash map that no program of an attached netqueue uses.
///
/// While bpf(BPF_MAP_UPDATE_ELEM) is under way on a CPU, also while its task is preempted there, the kernel
/// skips the kprobe programs of every tool on that CPU (kernel/bpf/syscall.c bpf_disable_instrumentation).
pub struct MapWriter(HashMap<MapData, u64, u32>);

impl MapWriter {
    /// Makes the map.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn new() -> Result<Self, AttachError> {
        let name = names::ACTIVE_RESETS;
        lift_memory_lock();
        let map: Map = noop::object()?.take_map(name).ok_or_else(|| absent(name))?;
        HashMap::try_from(map).map(Self).map_err(|error| refused(name, &error))
    }

    /// Writes one of a few elements.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub fn write(&mut self, value: u32) -> Result<(), AttachError> {
        self.0.insert(u64::from(value), value, 0).map_err(|error| refused(names::ACTIVE_RESETS, &error))
    }
}
