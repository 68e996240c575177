//! What people type for a reason, brought to one form, and how far two words are apart.

/// Common starts of names that say nothing, the longest first.
const PREFIXES: [&str; 4] = ["SKB_DROP_REASON_", "DROP_REASON_", "SKB_", "DROP_"];

/// Capitals, digits and single underscores: `CT: Map insertion failed` becomes `CT_MAP_INSERTION_FAILED`.
pub(super) fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_uppercase());
        } else if character != '\'' && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

/// [`normal`] without the common start.
pub(super) fn bare(text: &str) -> String {
    let whole = normal(text);
    let rest = PREFIXES.iter().find_map(|prefix| whole.strip_prefix(prefix));
    rest.filter(|rest| !rest.is_empty()).map_or(whole.clone(), str::to_owned)
}

/// Edits (insert, delete, replace a character) from one word to the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_one() {
        for text in ["DROP_POLICY", "policy", "drop-policy", " Policy "] {
            assert_eq!(bare(text), "POLICY");
        }
        assert_eq!(bare("CT: Can't create entry from packet"), "CT_CANT_CREATE_ENTRY_FROM_PACKET");
        assert_eq!(bare("SKB_DROP_REASON_NO_SOCKET"), bare("no socket"));
        assert_eq!(bare("DROP_"), "DROP");
        assert_eq!(bare("§"), "");
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("A", "", 1), ("KITTEN", "SITTING", 3), ("POLICY", "POLCIY", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected));
        }
    }
}
