//! Numbers of present and possible CPUs: a virtual machine that can grow has hundreds of possible ones.

use std::{fs, path::Path};

/// The CPUs of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cpus {
    /// One more than the highest number a CPU may ever have.
    pub(super) possible: u32,
    /// One more than the highest number of a CPU that is plugged in, whether or not it is online.
    pub(super) present: u32,
}

impl Cpus {
    /// Reads the numbers of this machine.
    pub(super) fn here() -> Self {
        let possible =
            aya::util::nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1).max(1);
        let present = fs::read_to_string(Path::new("/sys/devices/system/cpu/present"));
        let present = present.ok().and_then(|list| highest(&list)).map_or(possible, |highest| highest + 1);
        Self { possible, present: present.min(possible) }
    }
}

/// Returns the highest number in a list as the kernel writes it, such as `0-3,8-11`.
fn highest(list: &str) -> Option<u32> {
    let numbers = list.trim().split([',', '-']).map(str::parse);
    numbers.collect::<Result<Vec<u32>, _>>().ok()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_of_a_list_counts() {
        assert_eq!(highest("0\n"), Some(0));
        assert_eq!(highest("0-1\n"), Some(1));
        assert_eq!(highest("0,2-3,17\n"), Some(17));
        assert_eq!(highest("\n"), None);
    }

    #[test]
    fn no_more_are_present_than_possible() {
        let cpus = Cpus::here();
        assert!((1..=cpus.possible).contains(&cpus.present), "{cpus:?}");
    }
}
