//! Signals that stop the daemon: the first asks for an orderly end, the second insists on a quick one.
//!
//! Both are only announced here: `app` decides in which order the parts of the daemon end.

use std::io;

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::service_manager;

/// Stage of stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    Asked,
    Insisted,
}

/// Handle with which the parts of the daemon wait for the signals.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<Stage>);

impl Stop {
    /// Listens to SIGTERM and SIGINT on `runtime`, which is not kept busy by what is being stopped.
    pub(super) fn on_signals(runtime: &Handle) -> io::Result<Self> {
        let _context = runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, stage) = watch::channel(Stage::Running);
        runtime.spawn(async move {
            for next in [Stage::Asked, Stage::Insisted] {
                let signal = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                match next {
                    Stage::Insisted => tracing::warn!(signal, "again: what is in progress is cut off"),
                    Stage::Running | Stage::Asked => {
                        tracing::info!(signal, "stopping");
                        service_manager::stopping();
                    }
                }
                sender.send_replace(next);
            }
        });
        Ok(Self(stage))
    }

    /// Waits for the first signal.
    pub(super) async fn asked(self) {
        self.wait(Stage::Asked).await;
    }

    /// Waits for the second signal.
    pub(super) async fn insisted(self) {
        self.wait(Stage::Insisted).await;
    }

    async fn wait(mut self, least: Stage) {
        // An error means that the runtime of the signals is gone, which happens only at the very end.
        let _said = self.0.wait_for(|stage| *stage >= least).await;
    }
}
