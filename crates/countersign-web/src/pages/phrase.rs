//! How pages say sizes, counts and times. Pages are cached, so a time is a date and never "five minutes ago".

use std::fmt;

use countersign_registry::model::Time;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A day as a `<time>` element with the exact moment in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(pub(super) Time);

/// A moment, to the minute, as a `<time>` element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) Time);

/// A moment to the minute, in words alone.
pub(super) fn moment_in_words(time: Time) -> String {
    let exact = time.rfc3339();
    let shown = day_of(&exact).unwrap_or_else(|| exact.clone());
    format!("{shown}, {} UTC", exact.get(11..16).unwrap_or_default())
}

/// A time in the words of a page; for templates, which know times by reference.
pub(super) trait Told {
    /// Its day.
    fn day_told(&self) -> Day;
    /// To the minute.
    fn told(&self) -> Moment;
}

impl Told for Time {
    fn day_told(&self) -> Day {
        Day(*self)
    }

    fn told(&self) -> Moment {
        Moment(*self)
    }
}

fn day_of(time: &str) -> Option<String> {
    let month = time.get(5..7)?.parse::<usize>().ok()?;
    let name = MONTHS.get(month.checked_sub(1)?)?;
    Some(format!(
        "{} {name} {}",
        time.get(8..10)?.trim_start_matches('0'),
        time.get(0..4)?
    ))
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.rfc3339();
        let shown = day_of(&exact).unwrap_or_else(|| exact.clone());
        write!(f, "<time datetime=\"{exact}\">{shown}</time>")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.rfc3339();
        let shown = day_of(&exact).unwrap_or_else(|| exact.clone());
        let clock = exact.get(11..16).unwrap_or_default();
        write!(f, "<time datetime=\"{exact}\">{shown}, {clock} UTC</time>")
    }
}

/// A name that may be broken after its separators, for narrow screens; escaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breakable<'a>(pub(super) &'a str);

impl fmt::Display for Breakable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&#38;")?,
                '<' => f.write_str("&#60;")?,
                '>' => f.write_str("&#62;")?,
                '"' => f.write_str("&#34;")?,
                '\'' => f.write_str("&#39;")?,
                '-' | '.' | '_' | '/' => write!(f, "{c}<wbr>")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

// The first two write digits, letters and their own tags only; the third escapes.
impl askama::filters::HtmlSafe for Breakable<'_> {}
impl askama::filters::HtmlSafe for Day {}
impl askama::filters::HtmlSafe for Moment {}

/// Bytes in decimal units: `999 B`, `12.3 kB`, `4.0 MB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, in whole numbers; the last digit is cut, not rounded, so that 999,999 is not "1000.0 kB".
    let (divisor, unit) = match bytes {
        0..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    let tenths = bytes / (divisor / 10);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A number with commas between the thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: `1 file`, `2 files`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// At most `most` characters of one line, with an ellipsis when something was cut.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim_end();
    let cut = line.len() < text.trim().len();
    match line.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None if cut => format!("{line} …"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_moments_are_words_with_the_exact_time_in_the_element() {
        let time = Time(1_795_239_612_345_678);
        assert_eq!(
            Day(time).to_string(),
            "<time datetime=\"2026-11-21T05:40:12.345678Z\">21 Nov 2026</time>"
        );
        assert_eq!(
            Moment(time).to_string(),
            "<time datetime=\"2026-11-21T05:40:12.345678Z\">21 Nov 2026, 05:40 UTC</time>"
        );
        assert!(Day(Time(0)).to_string().contains(">1 Jan 1970<"));
    }

    #[test]
    fn names_break_after_separators_and_are_escaped() {
        assert_eq!(
            Breakable("a-b_1.whl").to_string(),
            "a-<wbr>b_<wbr>1.<wbr>whl"
        );
        assert_eq!(Breakable("<&>\"'").to_string(), "&#60;&#38;&#62;&#34;&#39;");
    }

    #[test]
    fn sizes_and_counts_read_well() {
        let said = [
            0,
            999,
            1_000,
            12_345,
            999_999,
            1_000_000,
            4_050_000,
            2_000_000_000,
        ]
        .map(size);
        assert_eq!(
            said,
            [
                "0 B", "999 B", "1.0 kB", "12.3 kB", "999.9 kB", "1.0 MB", "4.0 MB", "2.0 GB"
            ]
        );
        assert_eq!(
            [7, 999, 1_000, 1_234_567].map(count),
            ["7", "999", "1,000", "1,234,567"]
        );
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(0, "file", "files"), "0 files");
    }

    #[test]
    fn long_licences_are_cut_to_a_line() {
        assert_eq!(shortened("MIT", 40), "MIT");
        assert_eq!(shortened("MIT License\n\nCopyright", 40), "MIT License …");
        assert_eq!(shortened("ab cd ef", 5), "ab cd…");
    }
}
