//! Sizes and durations as people write them: `128MiB`, `30s`, `250ms`, `1h`.

use std::time::Duration;

const SIZES: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];
const TIMES: [(&str, u64); 5] = [("ms", 1), ("min", 60_000), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// A whole number of bytes, with or without a unit; 1024-based (`KiB`) and 1000-based (`kB`) are told apart.
///
/// ```
/// assert_eq!(zerostate::document::parse_bytes("128MiB"), Some(128 << 20));
/// ```
pub fn parse_bytes(text: &str) -> Option<u64> {
    scaled(text, &SIZES, 1)
}

/// A duration in whole milliseconds; a unit is needed.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
    has_unit.then(|| scaled(text, &TIMES, 0)).flatten().map(Duration::from_millis)
}

fn scaled(text: &str, units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let unit = unit.trim_start();
    let factor = if unit.is_empty() { bare } else { units.iter().find(|(name, _)| *name == unit)?.1 };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The largest binary unit that loses nothing under a tenth: `128 MiB`, `1.5 MiB`, `512 B`.
pub fn bytes_text(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut power = 0usize;
    let mut unit = 1u64;
    while power + 1 < units.len() && bytes / unit >= 1024 {
        unit = unit.saturating_mul(1024);
        power += 1;
    }
    let name = units.get(power).unwrap_or(&"B");
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    if tenths % 10 == 0 || tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// `80 ms`, `1.250 s`, `2 m 05 s`, `1 h 00 m`.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => format!("{} µs", duration.as_micros()),
        1..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{:03} s", ms / 1_000, ms % 1_000),
        60_000..3_600_000 => format!("{} m {:02} s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{} h {:02} m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_written() {
        assert_eq!(parse_bytes("65536"), Some(65_536));
        assert_eq!(parse_bytes("1 GiB"), Some(1 << 30));
        assert_eq!(parse_bytes("10MB"), Some(10_000_000));
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        for bad in ["", "MiB", "1.5MiB", "-1", "1 XiB", "99999999999999999999", "20000000000GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
        for bad in ["", "30", "s", "1.5s", "1 day", "99999999999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn texts_are_short_and_say_the_unit() {
        assert_eq!(bytes_text(128 << 20), "128 MiB");
        assert_eq!(bytes_text(1536), "1.5 KiB");
        assert_eq!(duration_text(Duration::from_millis(1_250)), "1.250 s");
        assert_eq!(duration_text(Duration::from_micros(250)), "250 µs");
    }
}
