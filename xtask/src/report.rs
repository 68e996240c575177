//! What test programs print, read back: how many tests passed, failed, or were not possible.

use std::fmt;
use std::ops::AddAssign;

/// How the tests of one run ended.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl Counts {
    /// One test that passed or failed.
    pub fn one(passed: bool) -> Self {
        Self { passed: u32::from(passed), failed: u32::from(!passed), skipped: 0 }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// The sum of all `test result: ok. 3 passed; 0 failed; 1 ignored; …` lines of `cargo test`.
pub fn of_cargo_test(output: &str) -> Counts {
    let mut sum = Counts::default();
    for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        sum += Counts {
            passed: before(line, "passed"),
            failed: before(line, "failed"),
            skipped: before(line, "ignored"),
        };
    }
    sum
}

/// The number that stands before a word.
fn before(line: &str, word: &str) -> u32 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| w.trim_end_matches([';', ',']) == word);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

/// What one run of the end-to-end tests said, taken in line by line.
#[derive(Default, Debug)]
pub struct EndToEnd {
    /// From the last line; absent when the run did not get that far.
    pub counts: Option<Counts>,
    /// `name: reason` of each test that was not possible.
    pub not_possible: Vec<String>,
    /// The lines about failed tests, with their output.
    pub failures: Vec<String>,
}

impl EndToEnd {
    pub fn take(&mut self, line: &str) {
        if let Some(skipped) = line.strip_prefix("skip  ") {
            self.not_possible.push(skipped.to_owned());
        } else if line.starts_with("FAIL  ") || line.starts_with("    | ") {
            self.failures.push(line.to_owned());
        } else if line.ends_with(" skipped") && line.contains(" passed, ") {
            let count = |word| before(line, word);
            self.counts =
                Some(Counts { passed: count("passed"), failed: count("failed"), skipped: count("skipped") });
        }
    }

    /// `2 not possible here (no kprobes; no fentry)`, each reason once; nothing if all was possible.
    pub fn not_possible_in_words(&self) -> String {
        if self.not_possible.is_empty() {
            return String::new();
        }
        let mut reasons: Vec<&str> =
            self.not_possible.iter().map(|line| line.split_once(": ").map_or("", |(_, why)| why)).collect();
        reasons.sort_unstable();
        reasons.dedup();
        format!(", {} not possible here ({})", self.not_possible.len(), reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_test_results_are_summed() {
        let output = "running 3 tests\n...\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(of_cargo_test(output), Counts { passed: 4, failed: 2, skipped: 1 });
        assert_eq!(of_cargo_test("error: could not compile"), Counts::default());
    }

    #[test]
    fn an_end_to_end_run_gives_counts_failures_and_reasons() {
        let mut report = EndToEnd::default();
        let lines = "ok    a::b  0.1 s\nskip  a::c: no fentry\nskip  a::e: no fentry\nFAIL  a::d: exit status: 1  2.0 s\n    | why\n\
                     1 passed, 1 failed, 2 skipped";
        lines.lines().for_each(|line| report.take(line));
        assert_eq!(report.counts, Some(Counts { passed: 1, failed: 1, skipped: 2 }));
        assert_eq!(report.failures, ["FAIL  a::d: exit status: 1  2.0 s", "    | why"]);
        assert_eq!(report.not_possible_in_words(), ", 2 not possible here (no fentry)");
    }

    #[test]
    fn a_run_that_breaks_off_has_no_counts() {
        let mut report = EndToEnd::default();
        report.take("ok    a::b  0.1 s");
        assert_eq!(report.counts, None);
    }
}
