//! Reads the listen() calls that the kernel side saw, where the kernel has fentry.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Btf, Ebpf,
    maps::{MapData, RingBuf},
    programs::FEntry,
};
use netqueue_common::{ListenRecord, names};
use netqueue_domain::{ListenCall, SocketInode, Timestamp};
use tokio::io::unix::AsyncFd;
use zerocopy::FromBytes;

use super::error::{in_one_line, refused};

/// The programs and their functions, in the order in which they are attached.
///
/// A call that only the second program sees is reported with the backlog that somaxconn left.
const PROGRAMS: [(&str, &str); 2] = [("nq_listen_asked", "__sys_listen"), ("nq_listen_begun", "inet_listen")];

/// The reading end of the ring buffer of listen() calls.
pub struct Listens(RingBuf<MapData>);

impl Listens {
    /// Attaches the programs. They stay attached as long as `ebpf` exists.
    ///
    /// # Errors
    /// A sentence with the reason why this kernel does not report listen() calls.
    pub(super) fn attach(ebpf: &mut Ebpf) -> Result<Self, String> {
        let btf = Btf::from_sys_fs().map_err(|error| in_one_line(&error))?;
        for (name, function) in PROGRAMS {
            let failed = |error: &(dyn std::error::Error + 'static)| refused(name, error).to_string();
            let program = ebpf.program_mut(name).ok_or_else(|| format!("{name} is not in the object"))?;
            let program: &mut FEntry = program.try_into().map_err(|error| failed(&error))?;
            program.load(function, &btf).map_err(|error| failed(&error))?;
            program.attach().map_err(|error| failed(&error))?;
        }
        let ring = ebpf.take_map(names::LISTENS).ok_or("its ring is not in the object")?;
        RingBuf::try_from(ring).map(Self).map_err(|error| in_one_line(&error))
    }

    /// Returns a descriptor that becomes ready when there is a call.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub fn wakeups(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let descriptor = self.0.as_fd().try_clone_to_owned()?;
        // SAFETY: the `AsyncFd` owns the descriptor, which is neither replaced nor closed meanwhile.
        Ok(unsafe { AsyncFd::register(descriptor) }?)
    }

    /// Takes the calls since the last time.
    ///
    /// `epoch` is the wall-clock time at which CLOCK_MONOTONIC, which stamps the calls, was zero.
    pub fn drain(&mut self, epoch: Timestamp) -> Vec<ListenCall> {
        let mut calls = Vec::new();
        while let Some(record) = self.0.next() {
            // An undecodable record cannot come from this kernel side: the ring contains nothing else.
            calls.extend(ListenRecord::read_from_bytes(&record).ok().map(|record| call(&record, epoch)));
        }
        calls
    }
}

fn call(record: &ListenRecord, epoch: Timestamp) -> ListenCall {
    ListenCall {
        at: Timestamp::from_nanos(epoch.as_nanos().saturating_add(record.time)),
        inode: SocketInode(record.inode),
        argument: record.argument,
        backlog: record.backlog.cast_unsigned(),
    }
}
