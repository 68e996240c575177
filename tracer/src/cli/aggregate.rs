//! `drops --aggregate-by`: what events are counted by.

use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};

use super::{UsageError, duration};
use crate::output::groups::GroupKey;

/// What to count by, and how often to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// At least one, each once.
    pub keys: Vec<GroupKey>,
    pub interval: Duration,
}

const DEFAULT_INTERVAL: &str = "10s";

pub(super) fn args() -> [Arg; 2] {
    [
        Arg::new("aggregate-by")
            .long("aggregate-by")
            .value_name("KEYS")
            .help("Count events by reason,kernel-reason,identity,pod,namespace,ip,port,protocol,place,direction,interface,verdict instead of showing each"),
        Arg::new("interval")
            .long("interval")
            .value_name("TIME")
            .value_parser(value_parser!(String))
            .requires("aggregate-by")
            .help("Print the counts of --aggregate-by that often, and at the end [default: 10s]"),
    ]
}

pub(super) fn grouping(matches: &ArgMatches) -> Result<Option<Grouping>, UsageError> {
    let Some(text) = matches.get_one::<String>("aggregate-by") else { return Ok(None) };
    let mut keys = Vec::new();
    for word in text.split(',').map(str::trim) {
        let key = GroupKey::ALL.into_iter().find(|key| key.name() == word);
        let names = || GroupKey::ALL.map(GroupKey::name).join(", ");
        let key = key.ok_or_else(|| {
            UsageError(format!("invalid value '{word}' for '--aggregate-by': expected some of {}", names()))
        })?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let interval = matches.get_one::<String>("interval").map_or(DEFAULT_INTERVAL, String::as_str);
    let interval = duration::parse(interval)
        .map_err(|why| UsageError(format!("invalid value '{interval}' for '--interval': {why}")))?;
    Ok(Some(Grouping { keys, interval }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Option<Grouping>, String> {
        let command = clap::Command::new("drops").no_binary_name(true).args(args());
        let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
        grouping(&matches).map_err(|error| error.0)
    }

    #[test]
    fn keys_are_taken_once_and_in_order() {
        let grouping = parsed(&["--aggregate-by", "port,reason, port", "--interval", "3s"]).unwrap().unwrap();
        assert_eq!(grouping.keys, [GroupKey::Port, GroupKey::Reason]);
        assert_eq!(grouping.interval, Duration::from_secs(3));
        assert_eq!(parsed(&["--aggregate-by", "ip"]).unwrap().unwrap().interval, Duration::from_secs(10));
        assert_eq!(parsed(&[]).unwrap(), None);
    }

    #[test]
    fn what_is_no_key_is_named_with_those_that_are() {
        let error = parsed(&["--aggregate-by", "reason,colour"]).unwrap_err();
        assert!(
            error.starts_with("invalid value 'colour' for '--aggregate-by': expected some of reason, "),
            "{error}"
        );
        assert!(parsed(&["--aggregate-by", "ip", "--interval", "0s"]).is_err());
        assert!(parsed(&["--interval", "3s"]).is_err());
    }
}
