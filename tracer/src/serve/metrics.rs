//! Families of figures in the two text formats that Prometheus reads.

use std::fmt::Write as _;

/// A family: figures of one name that differ in their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As it is queried; counters end in `_total`.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Family {
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    pub fn add<const N: usize>(&mut self, labels: [(&'static str, &str); N], value: f64) {
        let labels = labels.map(|(name, value)| (name, value.to_owned())).into();
        self.samples.push(Sample { labels, value });
    }

    /// With one figure that has no labels.
    pub fn with(mut self, value: f64) -> Self {
        self.add([], value);
        self
    }
}

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// Prometheus' own, version 0.0.4.
    Text,
}

impl Format {
    /// The format for an `Accept` header.
    pub fn wanted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Families without figures are left out.
    pub fn write(self, families: &[Family]) -> String {
        let mut out = String::new();
        for family in families.iter().filter(|family| !family.samples.is_empty()) {
            self.write_family(&mut out, family);
        }
        if self == Self::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }

    /// Writing to a String cannot fail.
    fn write_family(self, out: &mut String, family: &Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // OpenMetrics names a counter's family without the suffix of its figures.
        let name = match self {
            Self::OpenMetrics => family.name.strip_suffix("_total").unwrap_or(family.name),
            Self::Text => family.name,
        };
        let _ = write!(out, "# HELP {name} {}.\n# TYPE {name} {kind}\n", family.help);
        for sample in &family.samples {
            out.push_str(family.name);
            write_labels(out, &sample.labels);
            let _ = writeln!(out, " {}", sample.value);
        }
    }
}

fn write_labels(out: &mut String, labels: &[(&'static str, String)]) {
    for (at, (name, value)) in labels.iter().enumerate() {
        out.push_str(if at == 0 { "{" } else { "," });
        let _ = write!(out, "{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> [Family; 3] {
        let mut drops = Family::counter("hubble_drop_total", "Drops");
        drops.add([("reason", "POLICY_DENIED"), ("protocol", "TCP")], 3.0);
        drops.add([("reason", "a\"b\\c\nd"), ("protocol", "UDP")], 0.0);
        [drops, Family::gauge("tracer_map_fill_ratio", "Fill").with(0.25), Family::gauge("none", "None")]
    }

    /// Lines from the description of the formats.
    #[test]
    fn both_formats() {
        let samples = "hubble_drop_total{reason=\"POLICY_DENIED\",protocol=\"TCP\"} 3\n\
                       hubble_drop_total{reason=\"a\\\"b\\\\c\\nd\",protocol=\"UDP\"} 0\n";
        let gauge = "# HELP tracer_map_fill_ratio Fill.\n# TYPE tracer_map_fill_ratio gauge\n\
                     tracer_map_fill_ratio 0.25\n";
        let text =
            format!("# HELP hubble_drop_total Drops.\n# TYPE hubble_drop_total counter\n{samples}{gauge}");
        assert_eq!(Format::Text.write(&families()), text);
        let open = format!("# HELP hubble_drop Drops.\n# TYPE hubble_drop counter\n{samples}{gauge}# EOF\n");
        assert_eq!(Format::OpenMetrics.write(&families()), open);
    }

    #[test]
    fn prometheus_gets_open_metrics_because_it_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::wanted("*/*"), Format::Text);
        assert_eq!(Format::wanted(""), Format::Text);
    }
}
