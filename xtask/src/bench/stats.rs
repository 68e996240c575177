//! Samples of one quantity, and what is said of them: smallest, median, largest.

use std::fmt;

/// At least one sample.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// `None` of nothing.
    pub fn new(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(Self(sorted))
    }

    /// Ratios of samples that were taken one right after the other.
    pub fn ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Self::new(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// Of an even number the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[half] } else { f64::midpoint(self.0[half - 1], self.0[half]) }
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median() >= 100.0 {
            0
        } else if self.median() >= 10.0 {
            1
        } else {
            2
        };
        write!(f, "{:.digits$} / {:.digits$} / {:.digits$}", self.min(), self.median(), self.max())
    }
}

/// Smallest, median and largest, or a dash.
pub fn shown(samples: Option<&Samples>) -> String {
    samples.map_or_else(|| "–".to_owned(), Samples::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_by_their_middle_and_ends() {
        let samples = Samples::new([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((samples.min(), samples.median(), samples.max()), (1.0, 2.0, 3.0));
        assert_eq!(Samples::new([1.0, 2.0]).unwrap().median(), 1.5);
        assert_eq!(samples.to_string(), "1.00 / 2.00 / 3.00");
        assert!(Samples::new([]).is_none());
    }

    #[test]
    fn ratios_are_of_pairs() {
        assert_eq!(Samples::ratios(&[2.0, 9.0], &[1.0, 3.0]).unwrap().max(), 3.0);
    }
}
