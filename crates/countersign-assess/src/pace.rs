//! How fast a foreign registry is asked: one request a second at most, and not without end.

use std::time::Duration;

/// The most requests of one run against a foreign registry.
pub const MOST_REQUESTS: u32 = 200;

/// The time between two requests to a foreign registry.
pub const BETWEEN: Duration = Duration::from_secs(1);

/// Counts requests against the rule. Times are handed in, as durations since any fixed moment.
#[derive(Debug)]
pub struct Pace {
    between: Duration,
    left: u32,
    next: Duration,
}

impl Pace {
    /// For a registry of somebody else.
    pub fn foreign() -> Self {
        Self {
            between: BETWEEN,
            left: MOST_REQUESTS,
            next: Duration::ZERO,
        }
    }

    /// For one's own: as fast as it answers.
    pub fn own() -> Self {
        Self {
            between: Duration::ZERO,
            left: u32::MAX,
            next: Duration::ZERO,
        }
    }

    /// Takes the next request's turn; how long to wait before it is sent. `None`: this run has asked enough.
    pub fn turn(&mut self, now: Duration) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let at = self.next.max(now);
        self.next = at + self.between;
        Some(at - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_registry_is_asked_once_a_second_however_fast_it_answers() {
        let mut pace = Pace::foreign();
        let mut clock = Duration::ZERO;
        let mut sent = Vec::new();
        for answer in [5, 300, 0, 1_500, 20] {
            clock += pace.turn(clock).unwrap();
            sent.push(clock.as_millis());
            clock += Duration::from_millis(answer);
        }
        assert_eq!(sent, [0, 1_000, 2_000, 3_000, 4_500]);
        let most_in_a_second = sent
            .iter()
            .map(|at| {
                sent.iter()
                    .filter(|other| (*at..*at + 1_000).contains(other))
                    .count()
            })
            .max();
        assert_eq!(most_in_a_second, Some(1));
        // Turns that are taken at the same moment queue up.
        let mut pace = Pace::foreign();
        let waits: Vec<_> = (0..3)
            .map(|_| pace.turn(Duration::ZERO).unwrap().as_secs())
            .collect();
        assert_eq!(waits, [0, 1, 2]);
    }

    #[test]
    fn a_run_ends_at_some_time() {
        let mut pace = Pace::foreign();
        let turns = (0..1_000)
            .filter(|_| pace.turn(Duration::ZERO).is_some())
            .count();
        assert_eq!(turns, MOST_REQUESTS as usize);
        let mut own = Pace::own();
        assert_eq!(own.turn(Duration::ZERO), Some(Duration::ZERO));
        assert_eq!(own.turn(Duration::ZERO), Some(Duration::ZERO));
    }
}
