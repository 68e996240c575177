//! `--sort`: rows kept as they will be printed, in the order of one column's text. Digits in a text count as
//! numbers, so that `10.0.0.9` comes before `10.0.0.10` and `-3` before `2`. With a limit no more rows than
//! that are kept at any time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A finished row and its place in the order.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    key: Box<[u8]>,
    /// Rows that are equal stay in the order of their coming.
    arrival: u64,
    descending: bool,
    row: Box<[u8]>,
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = natural(&self.key, &other.key);
        let by_key = if self.descending { by_key.reverse() } else { by_key };
        by_key.then(self.arrival.cmp(&other.arrival))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rows to print in the end.
#[derive(Debug)]
pub(super) struct Sorter {
    /// The last in order on top, to be thrown out first.
    kept: BinaryHeap<Kept>,
    limit: usize,
    descending: bool,
    arrivals: u64,
}

impl Sorter {
    pub fn new(descending: bool, limit: Option<usize>) -> Self {
        Self { kept: BinaryHeap::new(), limit: limit.unwrap_or(usize::MAX), descending, arrivals: 0 }
    }

    pub fn push(&mut self, key: &[u8], row: &[u8]) {
        self.arrivals += 1;
        if self.kept.len() >= self.limit && self.kept.peek().is_some_and(|last| !self.is_before(key, last)) {
            return;
        }
        let (arrival, descending) = (self.arrivals, self.descending);
        self.kept.push(Kept { key: key.into(), arrival, descending, row: row.into() });
        if self.kept.len() > self.limit {
            self.kept.pop();
        }
    }

    fn is_before(&self, key: &[u8], last: &Kept) -> bool {
        let wanted = if self.descending { Ordering::Greater } else { Ordering::Less };
        natural(key, &last.key) == wanted
    }

    /// The rows in order.
    pub fn into_rows(self) -> impl Iterator<Item = Box<[u8]>> {
        self.kept.into_sorted_vec().into_iter().map(|kept| kept.row)
    }
}

/// Compares runs of digits as numbers, and a leading minus as their sign.
pub(super) fn natural(a: &[u8], b: &[u8]) -> Ordering {
    match (is_negative(a), is_negative(b)) {
        (true, true) => return unsigned(&b[1..], &a[1..]),
        (true, false) if b.first().is_some_and(u8::is_ascii_digit) => return Ordering::Less,
        (false, true) if a.first().is_some_and(u8::is_ascii_digit) => return Ordering::Greater,
        _ => {}
    }
    unsigned(a, b)
}

fn is_negative(text: &[u8]) -> bool {
    matches!(text, [b'-', digit, ..] if digit.is_ascii_digit())
}

fn unsigned(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (x, y) = (take_number(&mut a), take_number(&mut b));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
        } else {
            if x != y {
                return x.cmp(y);
            }
            (a, b) = (&a[1..], &b[1..]);
        }
    }
}

/// The digits in front, without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().position(|b| *b != b'0').unwrap_or(digits.len());
    &digits[zeros..]
}
