//! Sizes in bytes as typed: `500000`, `64MB`, `1GiB`, `256M`.

/// Suffixes and what they stand for; those without `i` and `B` are binary, as Kubernetes' `Mi` is.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

/// Reads a size greater than zero.
pub fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let expected = || "expected a size such as 256MiB or 1GiB".to_owned();
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    let (number, (_, unit)) = (number.parse::<u64>().map_err(|_| expected())?, known.ok_or_else(expected)?);
    number.checked_mul(*unit).filter(|size| *size > 0).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, expected) in
            [("1", 1), ("64MB", 64_000_000), ("1GiB", 1 << 30), ("256M", 256 << 20), ("2k", 2048)]
        {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "-1", "1.5G", "G", "1TB", "99999999999999999999", "18446744073709551615k"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
