//! Times in leaves: RFC 3339, UTC, always six digits of fraction, as in `2026-11-21T05:28:00.000000Z`.

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 9999-12-31T23:59:59.999999Z.
const LAST_MICRO: i64 = 253_402_300_799_999_999;

/// Writes microseconds since 1970 UTC; `None` before 1970 or after 9999.
#[must_use]
pub fn format_time(micros: i64) -> Option<String> {
    if !(0..=LAST_MICRO).contains(&micros) {
        return None;
    }
    let seconds = micros / MICROS_PER_SECOND;
    let (year, month, day) = date_of_day(seconds / SECONDS_PER_DAY);
    let second = seconds % SECONDS_PER_DAY;
    let (hour, minute, second, fraction) = (
        second / 3600,
        second / 60 % 60,
        second % 60,
        micros % MICROS_PER_SECOND,
    );
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"
    ))
}

/// Reads exactly what [`format_time`] writes. Whoever reads a log reads a time in every entry, so nothing is allocated.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    const SEPARATORS: [(usize, u8); 7] = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (26, b'Z'),
    ];
    let bytes: &[u8; 27] = text.as_bytes().try_into().ok()?;
    if SEPARATORS.iter().any(|(at, byte)| bytes[*at] != *byte) {
        return None;
    }
    let mut wrong = false;
    let mut number = |from: usize, to: usize| {
        bytes[from..to].iter().fold(0_i64, |number, byte| {
            let digit = byte.wrapping_sub(b'0');
            wrong |= digit > 9;
            number * 10 + i64::from(digit)
        })
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let fraction = number(20, 26);
    if wrong {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = day_of_date(year, month, day)?;
    // Going back refuses days that the month does not have.
    if date_of_day(days) != (year, month, day) {
        return None;
    }
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Some(seconds * MICROS_PER_SECOND + fraction)
}

/// Proleptic Gregorian date of a day counted from 1970-01-01, for days not before it. Counts in years that begin in
/// March, so that the leap day is the last of its year, and in eras of 400 years, which all have 146,097 days.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let from_era = day + 719_468;
    let (era, day_of_era) = (from_era / 146_097, from_era % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The inverse of [`date_of_day`] for months 1 to 12; days that the month does not have run into the next.
fn day_of_date(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_and_every_day_round_trip() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_763_702_880_000_001, "2025-11-21T05:28:00.000001Z"),
            (LAST_MICRO, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(format_time(micros).as_deref(), Some(text));
            assert_eq!(parse_time(text), Some(micros));
        }
        for day in 0..LAST_MICRO / MICROS_PER_SECOND / SECONDS_PER_DAY {
            let (y, m, d) = date_of_day(day);
            assert_eq!(day_of_date(y, m, d), Some(day));
        }
        assert_eq!((format_time(-1), format_time(LAST_MICRO + 1)), (None, None));
    }

    #[test]
    fn only_the_one_spelling_is_read() {
        for bad in [
            "1969-12-31T23:59:59.999999Z",
            "2026-02-29T00:00:00.000000Z",
            "2026-06-31T00:00:00.000000Z",
            "2026-01-01T24:00:00.000000Z",
            "2026-01-01T00:00:60.000000Z",
            "2026-01-01T00:00:00.00000+Z",
            "2026-01-01 00:00:00.000000Z",
            "2026-01-01t00:00:00.000000z",
            "2026-01-01T00:00:00.000Z",
            "2026-+1-01T00:00:00.000000Z",
            "2026-13-01T00:00:00.000000Z",
            "2026-01-00T00:00:00.000000Z",
            "",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
