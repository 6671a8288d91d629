//! What the outside world lends the core: the time and randomness. Tests lend a fake clock and a seeded source.

use std::sync::Arc;

use crate::model::Time;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Time;
}

/// Gives unpredictable bytes.
pub trait Random: Send + Sync {
    /// 32 bytes from a cryptographic source.
    fn bytes32(&self) -> [u8; 32];
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the machine is asked"
    )]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the machine's clock stands after 1970");
        Time(
            i64::try_from(since.as_micros())
                .expect("microseconds since 1970 fit 63 bits until the year 294246"),
        )
    }
}

/// The operating system's random source.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut bytes)
            .expect("without the operating system's random source no token may be made");
        bytes
    }
}

/// The two together.
#[derive(Clone)]
pub struct Seams {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Seams {
    /// The real ones.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}
