//! How things look: colours where they are wanted, signs that the terminal has, figures in few characters.

use ratatui::style::{Color, Modifier, Style};

/// Colours and signs of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Without it only bold and reversed text stand out.
    pub color: bool,
    /// Bars of ASCII characters: the terminal has no others.
    pub ascii: bool,
}

impl Paint {
    fn colored(self, color: Color, plain: Modifier) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new().add_modifier(plain) }
    }

    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The first word of a line: what it is about.
    pub fn label(self) -> Style {
        self.colored(Color::Cyan, Modifier::empty())
    }

    pub fn good(self) -> Style {
        self.colored(Color::Green, Modifier::empty())
    }

    pub fn warn(self) -> Style {
        self.colored(Color::Yellow, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    pub fn bad(self) -> Style {
        self.colored(Color::Red, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    pub fn reversed(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// For a share of something that gets full, in hundredths of a per cent.
    pub fn fill(self, hundredths: u64) -> Style {
        match hundredths {
            9_500.. => self.bad(),
            8_000.. => self.warn(),
            _ => Style::new(),
        }
    }

    /// One character for each sum, the largest the highest; nothing for nothing.
    pub fn bars(self, sums: &[u64]) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const ASCII: [char; 8] = ['_', '.', '-', '=', 'o', 'x', 'X', '#'];
        let signs = if self.ascii { ASCII } else { BLOCKS };
        let largest = sums.iter().copied().max().unwrap_or(0).max(1);
        let height = |sum: u64| (u128::from(sum) * 8).div_ceil(u128::from(largest)) as usize;
        sums.iter().map(|sum| height(*sum).checked_sub(1).map_or(' ', |at| signs[at])).collect()
    }
}

/// Drops a second, in at most six characters: `0`, `<0.1`, `9.8`, `123`, `12.3k`.
pub fn rate(count: u64, seconds: u64) -> String {
    let rate = count as f64 / seconds.max(1) as f64;
    match rate {
        _ if count == 0 => "0".to_owned(),
        ..0.05 => "<0.1".to_owned(),
        ..9.95 => trimmed(rate, ""),
        ..999.5 => format!("{rate:.0}"),
        ..999_950.0 => trimmed(rate / 1e3, "k"),
        _ => trimmed(rate / 1e6, "M"),
    }
}

/// One digit behind the point, unless it is a zero.
fn trimmed(value: f64, unit: &str) -> String {
    let text = format!("{value:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short_and_never_a_false_zero() {
        for (count, seconds, expected) in [
            (0, 60, "0"),
            (1, 60, "<0.1"),
            (6, 60, "0.1"),
            (60, 60, "1"),
            (588, 60, "9.8"),
            (12, 1, "12"),
            (999, 1, "999"),
            (1_000, 1, "1k"),
            (12_345, 1, "12.3k"),
            (999_949, 1, "999.9k"),
            (2_500_000, 1, "2.5M"),
            (7, 0, "7"),
        ] {
            assert_eq!(rate(count, seconds), expected, "{count} in {seconds} s");
            assert!(rate(count, seconds).len() <= 6);
        }
    }

    #[test]
    fn bars_grow_with_the_sums_and_one_is_not_nothing() {
        let blocks = Paint { color: false, ascii: false };
        assert_eq!(blocks.bars(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(blocks.bars(&[0, 1, 1000]), " ▁█");
        assert_eq!(blocks.bars(&[0, 0]), "  ");
        assert_eq!(blocks.bars(&[u64::MAX, 1]), "█▁");
        assert_eq!(Paint { ascii: true, ..blocks }.bars(&[0, 1, 4, 8]), " _=#");
    }

    #[test]
    fn without_colour_nothing_has_one() {
        let plain = Paint { color: false, ascii: false };
        for style in [plain.label(), plain.good(), plain.warn(), plain.bad(), plain.fill(9_900), plain.bold()]
        {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert!(plain.bad().add_modifier.contains(Modifier::BOLD), "it stands out all the same");
    }
}
