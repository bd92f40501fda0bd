//! Asks the kernel for SYN cookies in a listener's name, as programs of XDP and tc do that protect against floods: for the lab.

use aya::{
    Ebpf,
    programs::{Program, ProgramError, SchedClassifier, TestRun as _, TestRunOptions},
};

use super::{
    attach::lift_memory_lock,
    empty,
    error::{AttachError, refused},
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
        let mut ebpf = empty::object()?;
        let program: &mut SchedClassifier = ebpf
            .program_mut(PROGRAM)
            .ok_or(ProgramError::UnexpectedProgramType)
            .and_then(TryInto::try_into)
            .map_err(|error| refused(PROGRAM, &error))?;
        program.load().map_err(|error| refused(PROGRAM, &error))?;
        Ok(Self(ebpf))
    }

    /// Asks so many times for a cookie for this frame, which is a SYN in IPv4, in the network namespace of the calling thread. Whether
    /// there was a listener to ask for.
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
