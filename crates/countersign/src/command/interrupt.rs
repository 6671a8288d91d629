//! Who interrupts a command leaves nothing behind.

use std::process;
use std::thread;

use countersign::{Exit, Failure};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Does this when the process is interrupted (as CI systems do with a cancelled job, some seconds before they kill it)
/// or terminated, and ends it with the code that a shell gives to that.
///
/// # Errors
/// Exit 1 where signals can not be listened to.
pub fn then(last: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let deaf = |error: std::io::Error| {
        Failure::new(
            Exit::Environment,
            "signals",
            format!("Signals can not be listened to: {error}."),
        )
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(deaf)?;
    let (mut interrupted, mut terminated) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt()).map_err(deaf)?,
            signal(SignalKind::terminate()).map_err(deaf)?,
        )
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let code = runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.recv() => 130,
                    _ = terminated.recv() => 143,
                }
            });
            eprintln!("Interrupted.");
            last();
            process::exit(code);
        })
        .map(drop)
        .map_err(deaf)
}
