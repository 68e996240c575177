//! Values as text, appended to a buffer without allocating. None of these adds quotes; JSON strings that hold
//! them need no escaping, except those of [`foreign`].

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::escape;
use super::super::json::decimal;

pub fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    decimal(out, value);
}

/// Text that somebody else wrote, made harmless for terminals.
pub fn foreign(out: &mut Vec<u8>, text: &str) {
    escape::text(out, text);
}

pub fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => address4(out, ip),
        // Writing to a Vec cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

fn address4(out: &mut Vec<u8>, ip: Ipv4Addr) {
    let [a, b, c, d] = ip.octets();
    for (byte, end) in [(a, true), (b, true), (c, true), (d, false)] {
        decimal(out, byte);
        if end {
            out.push(b'.');
        }
    }
}

/// `10.0.1.5:80` or `[fd00::5]:80`.
pub fn socket(out: &mut Vec<u8>, socket: SocketAddr) {
    match socket {
        SocketAddr::V4(v4) => address4(out, *v4.ip()),
        SocketAddr::V6(v6) => {
            out.push(b'[');
            address(out, (*v6.ip()).into());
            out.push(b']');
        }
    }
    out.push(b':');
    decimal(out, socket.port());
}

/// `0x0013`: at least `digits` digits.
pub fn hex(out: &mut Vec<u8>, value: u64, digits: usize) {
    let _ = write!(out, "{value:#0width$x}", width = digits + 2);
}

/// Bytes as they lie in memory, two digits each.
pub fn hex_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Share of `part` in `whole` in per cent with two digits, nothing of nothing being 0.
pub fn percent(out: &mut Vec<u8>, part: u64, whole: u64) {
    let hundredths = hundredths_of_percent(part, whole);
    decimal(out, hundredths / 100);
    out.push(b'.');
    let rest = (hundredths % 100) as u8;
    out.extend_from_slice(&[b'0' + rest / 10, b'0' + rest % 10]);
}

/// Rounded to the nearest.
pub fn hundredths_of_percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let exact = (u128::from(part) * 10_000 + u128::from(whole) / 2) / u128::from(whole);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// Text of our own: words, names of enumerations.
pub fn word(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// ` Name=`, for the words that people search for.
pub fn named(out: &mut Vec<u8>, name: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
}
