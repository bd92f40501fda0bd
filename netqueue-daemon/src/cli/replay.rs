//! Arguments of `netqueue replay`.

use std::path::PathBuf;

use clap::Args;

use crate::{config::DaemonArgs, pipeline::Speed};

/// Recording to replay, its speed, and the daemon's own settings.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A file that `netqueue record` has written
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,
    /// Speed as a multiple of the original one, or max: as fast as possible
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    pub speed: Speed,
    /// Settings of the daemon; those of the kernel side have no effect.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Unlimited);
    }
    let times = text.parse().ok().filter(|times: &f64| (0.01..=1_000_000.0).contains(times));
    times
        .map(Speed::Times)
        .ok_or_else(|| "expected max, or a number from 0.01 to 1000000 such as 1, 10 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!(speed("2.5"), Ok(Speed::Times(2.5)));
        assert_eq!(speed("max"), Ok(Speed::Unlimited));
        for wrong in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(speed(wrong).is_err_and(|error| error.contains("expected max")), "{wrong}");
        }
    }
}
