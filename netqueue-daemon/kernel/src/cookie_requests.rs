//! Requests SYN cookies from the kernel in a listener's name, for the lab.
//!
//! XDP and tc programs that protect against floods do so through the helper `bpf_tcp_gen_syncookie`.

use aya::{
    Ebpf,
    programs::{Program, ProgramError, SchedClassifier, TestRun as _, TestRunOptions},
};

use super::{
    attach::lift_memory_lock,
    error::{AttachError, refused},
    noop,
};

const PROGRAM: &str = "nq_cookie_helper";

/// The loaded program.
pub struct CookieRequests(Ebpf);

impl CookieRequests {
    /// Loads the program.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn load() -> Result<Self, AttachError> {
        lift_memory_lock();
        let mut ebpf = noop::object()?;
        let program: &mut SchedClassifier = ebpf
            .program_mut(PROGRAM)
            .ok_or(ProgramError::UnexpectedProgramType)
            .and_then(TryInto::try_into)
            .map_err(|error| refused(PROGRAM, &error))?;
        program.load().map_err(|error| refused(PROGRAM, &error))?;
        Ok(Self(ebpf))
    }

    /// Requests a cookie `times` times for this IPv4 SYN, in the calling thread's network namespace.
    ///
    /// Returns whether a listener was found for it.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn ask(&self, frame: &[u8], times: u32) -> Result<bool, AttachError> {
        let Some(Program::SchedClassifier(program)) = self.0.program(PROGRAM) else {
            return Err(refused(PROGRAM, &ProgramError::UnexpectedProgramType));
        };
        let options = TestRunOptions { data_in: Some(frame), repeat: times, ..TestRunOptions::new() };
        let ran = program.test_run(options).map_err(|error| refused(PROGRAM, &error))?;
        Ok(ran.return_value == 0)
    }
}
