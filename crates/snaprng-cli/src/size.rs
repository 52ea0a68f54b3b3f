//! How many bytes: a whole number with an optional suffix, in powers of 1024.

/// The most that one command makes, 1024 TiB: weeks of output. What is larger was mistyped.
pub(crate) const MOST: u64 = 1 << 50;

/// Bytes per unit. Decimal units (`kB`, `MB`) are refused: half the world reads them as these.
const UNITS: [(&[&str], u64); 5] = [
    (&["", "b"], 1),
    (&["k", "kib"], 1 << 10),
    (&["m", "mib"], 1 << 20),
    (&["g", "gib"], 1 << 30),
    (&["t", "tib"], 1 << 40),
];

/// Parses `32`, `64k`, `10MiB`, `3G`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err("not a size: give a whole number of bytes, as in 32, 64K or 3G".into());
    }
    let suffix = suffix.to_ascii_lowercase();
    let Some((_, unit)) = UNITS.iter().find(|(names, _)| names.contains(&suffix.as_str())) else {
        return Err("unknown unit: use K, M, G or T (KiB, MiB, GiB, TiB), powers of 1024".into());
    };
    // A number with too many digits for 64 bits is too large as well.
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit));
    bytes
        .filter(|bytes| *bytes <= MOST)
        .ok_or_else(|| "too large: one command makes at most 1024T; was it mistyped?".into())
}

/// A size for people.
pub(crate) fn human(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut names = NAMES.iter();
    let mut name = names.next();
    while value >= 1024.0 {
        let Some(larger) = names.next() else { break };
        value /= 1024.0;
        name = Some(larger);
    }
    let digits = if bytes < 1024 { 0 } else { 1 };
    format!("{value:.digits$} {}", name.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024_in_either_case() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("32"), Ok(32));
        assert_eq!(parse("32B"), Ok(32));
        assert_eq!(parse("1k"), Ok(1024));
        assert_eq!(parse("1KiB"), Ok(1024));
        assert_eq!(parse("10M"), Ok(10 << 20));
        assert_eq!(parse("3GiB"), Ok(3 << 30));
        assert_eq!(parse("1024T"), Ok(MOST));
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write_instead() {
        for text in ["", "k", "many", "-1", "+1", " 1", "0x10"] {
            let message = parse(text).expect_err(text);
            assert!(message.contains("whole number") || message.contains("unit"), "{message}");
        }
        for text in ["1kB", "1MB", "1.5M", "1e9", "5P", "1 K"] {
            assert!(parse(text).expect_err(text).contains("powers of 1024"));
        }
    }

    #[test]
    fn absurd_sizes_are_refused_and_do_not_wrap_around() {
        for text in ["1025T", "18446744073709551615", "18446744073709551616T", "99999999999999999G"]
        {
            assert!(parse(text).expect_err(text).contains("at most 1024T"));
        }
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(human(17), "17 bytes");
        assert_eq!(human(64 << 20), "64.0 MiB");
        assert_eq!(human(MOST), "1024.0 TiB");
    }
}
