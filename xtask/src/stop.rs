//! Ctrl-C: stop the suite, clean up, and only then end.

use crate::run::{Context, Result};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The state of a run: whether it should end, and the process group to end then.
#[derive(Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    group: Arc<AtomicI32>,
}

impl Stop {
    /// From here on SIGINT, SIGTERM and SIGHUP do not end the program: a thread waits for them. They are blocked, and
    /// programs that are started later inherit that; the suite must not, see `Suite::command`.
    pub fn watch() -> Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().context("block signals")?;
        let stop = Self::default();
        let shared = stop.clone();
        std::thread::spawn(move || {
            while signals.wait().is_ok() {
                shared.requested.store(true, Ordering::SeqCst);
                shared.end_group(Signal::SIGTERM);
            }
        });
        Ok(stop)
    }

    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Sets the process group that a signal ends.
    pub fn guard(&self, group: u32) {
        self.group.store(group.cast_signed(), Ordering::SeqCst);
    }

    /// Ends whatever is left of the group.
    pub fn release(&self) {
        self.end_group(Signal::SIGKILL);
        self.group.store(0, Ordering::SeqCst);
    }

    fn end_group(&self, signal: Signal) {
        let group = self.group.load(Ordering::SeqCst);
        if group > 0 {
            // An error means that nothing is left to end.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}
