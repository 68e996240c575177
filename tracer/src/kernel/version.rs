//! The running kernel's version, for the few things that can be told by nothing else.

/// Major and minor number; compares in the order of release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// `None` if uname(2) gives no numbers.
    pub fn running() -> Option<Self> {
        Self::parse(&rustix::system::uname().release().to_string_lossy())
    }

    /// From a release such as `6.1.0-56-cloud-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse().ok());
        Some(Self(numbers.next()?, numbers.next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_in_order() {
        assert_eq!(Version::parse("5.10.0-46-cloud-amd64"), Some(Version(5, 10)));
        assert_eq!(Version::parse("6.18+"), Some(Version(6, 18)));
        assert_eq!(Version::parse("next"), None);
        assert!(Version(6, 1) > Version(5, 19));
    }
}
