//! `globals/node_config.h`: settings that the agent compiled into the datapath, up to 1.19.

use super::config::CtClock;
use super::file::StateError;

/// Its place in the state directory.
pub const FILE: &str = "globals/node_config.h";

/// Settings of interest; `None` where the file does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    pub ct_clock: Option<CtClock>,
    /// Jiffies per second.
    pub kernel_hz: Option<u32>,
}

/// Never fails: what is not there is not told.
pub fn parse(bytes: &[u8]) -> Result<NodeConfig, StateError> {
    let text = String::from_utf8_lossy(bytes);
    let kernel_hz = define(&text, "KERNEL_HZ").and_then(|value| value.parse().ok());
    let ct_clock = match define(&text, "ENABLE_JIFFIES") {
        Some(_) => Some(CtClock::Jiffies),
        // The agent writes the rate of jiffies either way.
        None => kernel_hz.map(|_| CtClock::Ktime),
    };
    Ok(NodeConfig { ct_clock, kernel_hz })
}

/// What stands behind `#define name`; "" if nothing does.
pub fn define<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some("#define") && words.next() == Some(name);
        is_it.then(|| words.next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_decides_and_the_rate_shows_that_the_file_would_tell() {
        for (text, clock, hz) in [
            ("#define KERNEL_HZ 250\n", Some(CtClock::Ktime), Some(250)),
            ("#define ENABLE_JIFFIES\n#define KERNEL_HZ 100\n", Some(CtClock::Jiffies), Some(100)),
            ("#define ENABLE_JIFFIES 1\n#define KERNEL_HZ 1000\n", Some(CtClock::Jiffies), Some(1000)),
            ("#define KERNEL_HZ_MAX 250\n", None, None),
            ("", None, None),
        ] {
            let found = parse(text.as_bytes()).unwrap();
            assert_eq!((found.ct_clock, found.kernel_hz), (clock, hz), "{text}");
        }
    }
}
