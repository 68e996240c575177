//! Foreign text (pod names, labels, DNS names, symbols) made harmless: for a terminal, and inside JSON strings.

use std::io::Write;

/// Appends `text` so that no terminal takes any of it for a command: ESC as `^[`, CR as `\r`, other control
/// characters in a visible form too, and so the characters that turn the writing direction.
pub fn text(out: &mut Vec<u8>, text: &str) {
    if all(text, |b| (0x20..0x7f).contains(&b)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for c in text.chars() {
        visible(out, c);
    }
}

/// Looks at every byte, also after a bad one: without early exit this becomes vector code.
#[inline]
fn all(text: &str, good: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |so_far, byte| so_far & good(byte))
}

fn visible(out: &mut Vec<u8>, c: char) {
    match c {
        '\r' => out.extend_from_slice(b"\\r"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..='\x1f' => out.extend_from_slice(&[b'^', c as u8 + b'@']),
        '\x7f' => out.extend_from_slice(b"^?"),
        c if is_hostile(c) => write_code(out, c),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// C1 control characters (terminals may obey them) and what changes the direction or the lines of text.
fn is_hostile(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends the inside of a JSON string. Escapes what JSON wants escaped; `<`, `>` and `&` as Go's encoder
/// does; and what a terminal could obey when somebody looks at the raw lines.
pub fn json(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| {
        (0x20..0x7f).contains(&b) & (b != b'"') & (b != b'\\') & (b != b'<') & (b != b'>') & (b != b'&')
    };
    if all(text, plain) {
        return out.extend_from_slice(text.as_bytes());
    }
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\x1f' | '\x7f' | '<' | '>' | '&' => write_code(out, c),
            c if is_hostile(c) => write_code(out, c),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// `\u001b`. Only for characters of at most 16 bits.
fn write_code(out: &mut Vec<u8>, c: char) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&mut Vec<u8>, &str), input: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, input);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn terminals_get_no_control_characters() {
        for (input, expected) in [
            ("shop-1", "shop-1"),
            ("\x1b[31mred\x1b[0m", "^[[31mred^[[0m"),
            ("a\rb\nc\td", "a\\rb\\nc\\td"),
            ("bell\x07del\x7f", "bell^Gdel^?"),
            ("\u{9b}31m", "\\u009b31m"),
            ("abc\u{202e}def", "abc\\u202edef"),
            ("größe 日本", "größe 日本"),
        ] {
            assert_eq!(escaped(text, input), expected);
        }
    }

    #[test]
    fn json_strings_come_back_as_they_were() {
        for input in [
            "plain",
            "\"\\/\u{8}\u{c}\n\r\t",
            "\0\x1b\x7f",
            "<a>&",
            "größe 日本 😀",
            "\u{2028}\u{9b}\u{202e}",
        ] {
            let line = format!("\"{}\"", escaped(json, input));
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), input, "{line}");
            assert!(line.bytes().all(|b| b >= 0x20 && b != 0x7f), "{line}");
        }
        assert_eq!(escaped(json, "<\x1b>"), "\\u003c\\u001b\\u003e");
    }
}
