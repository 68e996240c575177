//! Label selectors: Kubernetes' syntax, with Cilium's `source:` prefix allowed before a key.
//!
//! `app=x`, `app==x`, `app!=x`, `app in (a, b)`, `app notin (a, b)`, `app`, `!app`, `app>5`, `app<5`, joined by
//! commas (all must hold). `k8s:app` asks for one source; `app` and `any:app` take any. As in Kubernetes, a
//! missing key satisfies `!=`, `notin` and `!`.

use crate::model::endpoint::Labels;

/// All requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    /// `None`: any source.
    source: Option<Box<str>>,
    key: Box<str>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<Box<str>>),
    NotIn(Vec<Box<str>>),
    Above(i64),
    Below(i64),
}

/// What is wrong with a selector.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("empty label selector")]
    Empty,
    #[error("no label key in `{0}`")]
    NoKey(String),
    #[error("cannot read `{0}`: expected key, !key, key=value, key!=value, key in (a,b) or key notin (a,b)")]
    Syntax(String),
    #[error("`{0}` compares with something that is not a number")]
    NotANumber(String),
}

impl Selector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Err(SelectorError::Empty);
        }
        split_at_commas(text).map(|part| Requirement::parse(part.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// `None` (nothing known) is the same as no label: negative requirements hold.
    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }
}

/// Splits at the commas that are not inside parentheses.
fn split_at_commas(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, SelectorError> {
        if let Some(key) = text.strip_prefix('!') {
            return Self::new(key.trim(), Test::Missing, text);
        }
        let Some(end) = text.find(|c: char| c.is_whitespace() || "=!<>(".contains(c)) else {
            return Self::new(text, Test::Exists, text);
        };
        let (key, rest) = text.split_at(end);
        Self::new(key, Test::parse(rest.trim_start(), text)?, text)
    }

    fn new(key: &str, test: Test, text: &str) -> Result<Self, SelectorError> {
        let (source, key) = match key.split_once(':') {
            Some(("any", key)) => (None, key),
            Some((source, key)) => (Some(source.into()), key),
            None => (None, key),
        };
        if key.is_empty() {
            return Err(SelectorError::NoKey(text.to_owned()));
        }
        if key.contains(|c: char| c.is_whitespace() || "=!<>()".contains(c)) {
            return Err(SelectorError::Syntax(text.to_owned()));
        }
        Ok(Self { source, key: key.into(), test })
    }

    fn matches(&self, labels: Option<&Labels>) -> bool {
        let mut values = labels.into_iter().flat_map(Labels::iter).filter_map(|label| self.value_in(label));
        match &self.test {
            Test::Exists => values.next().is_some(),
            Test::Missing => values.next().is_none(),
            Test::In(wanted) => values.any(|v| wanted.iter().any(|w| **w == *v)),
            Test::NotIn(unwanted) => values.all(|v| unwanted.iter().all(|w| **w != *v)),
            Test::Above(limit) => values.any(|v| v.parse::<i64>().is_ok_and(|v| v > *limit)),
            Test::Below(limit) => values.any(|v| v.parse::<i64>().is_ok_and(|v| v < *limit)),
        }
    }

    /// The value of `label` (`source:key=value`, or `source:key`), if it has the wanted source and key.
    fn value_in<'a>(&self, label: &'a str) -> Option<&'a str> {
        let (source, rest) = label.split_once(':').unwrap_or(("", label));
        if self.source.as_deref().is_some_and(|wanted| wanted != source) {
            return None;
        }
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        (*self.key == *key).then_some(value)
    }
}

impl Test {
    /// `rest` starts at the operator; `text` is the whole requirement, for the error.
    fn parse(rest: &str, text: &str) -> Result<Self, SelectorError> {
        let number =
            |value: &str| value.trim().parse().map_err(|_| SelectorError::NotANumber(text.to_owned()));
        if let Some(value) = rest.strip_prefix("!=") {
            Ok(Self::NotIn(vec![value.trim().into()]))
        } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
            Ok(Self::In(vec![value.trim().into()]))
        } else if let Some(value) = rest.strip_prefix('>') {
            number(value).map(Self::Above)
        } else if let Some(value) = rest.strip_prefix('<') {
            number(value).map(Self::Below)
        } else if let Some(set) = rest.strip_prefix("notin") {
            parse_set(set, text).map(Self::NotIn)
        } else if let Some(set) = rest.strip_prefix("in") {
            parse_set(set, text).map(Self::In)
        } else {
            Err(SelectorError::Syntax(text.to_owned()))
        }
    }
}

fn parse_set(set: &str, text: &str) -> Result<Vec<Box<str>>, SelectorError> {
    let inner = set.trim().strip_prefix('(').and_then(|s| s.strip_suffix(')'));
    let values = inner.ok_or_else(|| SelectorError::Syntax(text.to_owned()))?;
    Ok(values.split(',').map(|v| v.trim().into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, expected: bool) {
        let labels = Labels::new(
            ["k8s:app=shop", "k8s:tier=2", "cidr:10.0.0.0/8", "reserved:world", "container:app=old"]
                .map(String::from),
        );
        let parsed = Selector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
        assert_eq!(parsed.matches(Some(&labels)), expected, "{selector}");
    }

    #[test]
    fn equality_with_and_without_source() {
        check("app=shop", true);
        check("app==shop", true);
        check("k8s:app=shop", true);
        check("container:app=shop", false);
        check("any:app=old", true);
        check("app = shop", true);
        check("app=sho", false);
    }

    #[test]
    fn a_missing_key_satisfies_negative_tests() {
        check("app!=db", true);
        check("k8s:app!=shop", false);
        check("team!=x", true);
        check("team notin (x, y)", true);
        check("!team", true);
        check("!app", false);
        check("!k8s:app", false);
    }

    #[test]
    fn sets_existence_and_comparison() {
        check("app in (shop, db)", true);
        check("app in (db)", false);
        check("k8s:app notin (shop,db)", false);
        check("app", true);
        check("team", false);
        check("reserved:world", true);
        check("reserved:host", false);
        check("cidr:10.0.0.0/8", true);
        check("tier>1", true);
        check("tier<2", false);
    }

    #[test]
    fn commas_join_requirements() {
        check("app in (shop,db),tier=2", true);
        check("app=shop,tier=3", false);
    }

    #[test]
    fn unknown_labels_are_no_labels() {
        assert!(Selector::parse("!app").unwrap().matches(None));
        assert!(!Selector::parse("app").unwrap().matches(None));
    }

    #[test]
    fn broken_selectors_are_refused() {
        assert_eq!(Selector::parse(" "), Err(SelectorError::Empty));
        assert_eq!(Selector::parse("=x"), Err(SelectorError::NoKey("=x".into())));
        assert_eq!(Selector::parse("k8s:=x"), Err(SelectorError::NoKey("k8s:=x".into())));
        assert_eq!(Selector::parse("a,"), Err(SelectorError::NoKey(String::new())));
        assert_eq!(Selector::parse("tier>many"), Err(SelectorError::NotANumber("tier>many".into())));
        for bad in ["app in shop", "app in (shop", "app is shop", "app ( x )", "! a b"] {
            assert!(matches!(Selector::parse(bad), Err(SelectorError::Syntax(_))), "{bad}");
        }
    }
}
