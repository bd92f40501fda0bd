//! Compares what netqueue adds to a connection and to a dropped SYN with the committed baseline.

use anyhow::Result;

use super::tally::Tally;
use crate::bench::baseline;
use crate::vm::Payload;
use crate::workspace::Workspace;

/// The step's name.
pub(crate) const NAME: &str = "instructions";

/// Counts each figure as one check.
pub(crate) fn check(workspace: &Workspace, payload: &Payload) -> Result<Tally> {
    let rows = baseline::rows(workspace, payload)?;
    let (wrong, stand) = baseline::compare(workspace, &rows)?;
    stand.iter().chain(&wrong).for_each(|line| println!("{line}"));
    let (all, failed) = (u32::try_from(stand.len())?, u32::try_from(wrong.len())?);
    Ok(Tally { passed: all - failed, failed, ..Tally::default() })
}
