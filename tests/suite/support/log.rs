//! What a failing test prints besides its panic.

use super::place;
use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// The last runs of this test, for the report of a failure.
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Records a run.
pub(super) fn log(text: String) {
    LOG.with_borrow_mut(|log| {
        log.push(text);
        let surplus = log.len().saturating_sub(3);
        log.drain(..surplus);
    });
}

/// A failing test prints its runs, its user, the results, and its mounts.
pub(super) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let log = LOG.with_borrow(|log| log.join("\n"));
            eprintln!("\nlast runs:\n{log}\nuser:\n{}\n\nmounts:\n{}", place::ids(), place::host_mounts());
        }));
    });
}
