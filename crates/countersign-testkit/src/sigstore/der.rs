//! Distinguished encoding of ASN.1, written only: what certificates and timestamps are made of.

/// One element: tag, length, content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | digits.len() as u8);
        out.extend(digits);
    }
    out.extend_from_slice(content);
    out
}

pub(super) fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

/// A SET OF: its elements stand in the order of their encodings.
pub(super) fn set(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    element(0x31, &elements.concat())
}

/// `[number]`, explicit or of an implicitly tagged constructed type.
pub(super) fn context(number: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | number, content)
}

pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    element(0x04, content)
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    element(0x0c, text.as_bytes())
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[if value { 0xff } else { 0 }])
}

/// A bit string of whole bytes.
pub(super) fn bits(content: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], content].concat())
}

/// Named bits, of which these are set; the encoding has no trailing zero bits.
pub(super) fn named_bits(set: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; set.iter().max().map_or(0, |bit| usize::from(bit / 8) + 1)];
    for bit in set {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    let unused = bytes.last().map_or(0, |last| last.trailing_zeros() as u8);
    element(0x03, &[&[unused], &bytes[..]].concat())
}

/// A positive integer from its big-endian digits.
pub(super) fn integer(digits: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = digits
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    element(0x02, &content)
}

pub(super) fn small_integer(value: u8) -> Vec<u8> {
    integer(&[value])
}

/// An object identifier by its dotted form, of which the kit writes only well-formed ones.
pub(super) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted
        .split('.')
        .map(|arc| arc.parse().unwrap_or_default())
        .collect();
    let (first, rest) = match arcs[..] {
        [a, b, ..] => (a * 40 + b, &arcs[2..]),
        _ => (0, &arcs[..0]),
    };
    let mut content = Vec::new();
    for arc in std::iter::once(first).chain(rest.iter().copied()) {
        let mut digits = vec![(arc & 0x7f) as u8];
        let mut left = arc >> 7;
        while left > 0 {
            digits.push(0x80 | (left & 0x7f) as u8);
            left >>= 7;
        }
        content.extend(digits.iter().rev());
    }
    element(0x06, &content)
}

/// `YYYYMMDDHHMMSSZ` of seconds since 1970.
fn written(seconds: i64) -> String {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

/// `YYYY-MM-DDTHH:MM:SSZ` of seconds since 1970.
pub(super) fn rfc3339(seconds: i64) -> String {
    let text = written(seconds);
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        &text[..4],
        &text[4..6],
        &text[6..8],
        &text[8..10],
        &text[10..12],
        &text[12..14]
    )
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Counted from 1 March of the year 0, so that the day that leap years have is the last one of a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

pub(super) fn generalized_time(seconds: i64) -> Vec<u8> {
    element(0x18, written(seconds).as_bytes())
}

/// A certificate's time: two digits of the year up to 2049, four after.
pub(super) fn time(seconds: i64) -> Vec<u8> {
    let text = written(seconds);
    if text.as_str() < "2050" {
        element(0x17, &text.as_bytes()[2..])
    } else {
        generalized_time(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_encoded_as_the_standard_says() {
        assert_eq!(
            oid("1.2.840.10045.2.1"),
            hex::decode("06072a8648ce3d0201").unwrap()
        );
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(small_integer(0), [2, 1, 0]);
        assert_eq!(named_bits(&[0]), [3, 2, 7, 0x80]);
        assert_eq!(named_bits(&[5, 6]), [3, 2, 1, 6]);
        assert_eq!(element(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(element(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_262_399), "2026-11-21T11:59:59Z");
        assert_eq!(time(0)[2..], *b"700101000000Z");
    }
}
